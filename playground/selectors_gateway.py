"""What the gateway served since the first of the month, for counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.db.models import Case, F, Sum, Value, When
from django.utils import timezone

from .models import UsageDay, UsageSeries

_COLUMNS: Final = (
    "requests",
    "client_errors",
    "server_errors",
    "prompt_tokens",
    "completion_tokens",
    "queue_ms",
    "first_tokens",
    "first_token_ms",
    "durations",
    "duration_ms",
)


@dataclass(frozen=True, kw_only=True)
class GatewaySums:
    """The sums of one config and kind of request; times are milliseconds, as in UsageSums.

    ``config`` is empty where nothing served the request: what was asked for then is any text of a client.
    """

    config: str
    endpoint: str
    requests: int
    client_errors: int
    server_errors: int
    prompt_tokens: int
    completion_tokens: int
    queue_ms: int
    first_tokens: int
    first_token_ms: int
    durations: int
    duration_ms: int


def gateway_sums(today: date | None = None) -> Sequence[GatewaySums]:
    """Since the first of this month in Berth's time zone, by config and kind of request: one query.

    A counter may begin again at nothing, and must not shrink otherwise: sums over all days would, whenever an old
    day is deleted, and Prometheus would count what is left as new. This also bounds what one scrape adds up.
    """
    first = (today or timezone.localdate(timezone=timezone.get_default_timezone())).replace(day=1)
    served = Case(When(series__deployment_id__gt=0, then=F("series__config")), default=Value(""))
    rows = (
        UsageDay.objects.filter(series__cube=UsageSeries.Cube.FULL, at__gte=first)
        .order_by()
        .annotate(served=served)
        .values("served", "series__endpoint")
        .annotate(**{f"sum_{column}": Sum(column) for column in _COLUMNS})
    )
    return [
        GatewaySums(
            config=row["served"],
            endpoint=row["series__endpoint"],
            **{column: row[f"sum_{column}"] for column in _COLUMNS},
        )
        for row in rows.order_by("served", "series__endpoint")
    ]
