"""Sums of requests by hour and day, for each combination and for each way that a page looks at them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from django.db import connection
from django.utils import timezone

from playground.gateway.metering import RequestRecord
from playground.models import UsageDay, UsageHour, UsageSeries
from playground.models.usage import SUM_COLUMNS
from playground.usage_buckets import DURATION_BOUNDS_S, DURATION_COLUMNS, FIRST_TOKEN_BOUNDS_S, bucket_of

Cube = UsageSeries.Cube
MOST_INT: Final = 2**31 - 1
_FIRST_TOKEN_AT: Final = SUM_COLUMNS.index("first_token_00")
_DURATION_AT: Final = SUM_COLUMNS.index(DURATION_COLUMNS[0])
#: Below SQLite's oldest limit on parameters.
_NAMES_AT_ONCE: Final = 500


class Series(NamedTuple):
    """The columns that make a series; see UsageSeries."""

    cube: str
    key_id: int = 0
    caller: str = ""
    model: str = ""
    config: str = ""
    deployment_id: int = 0
    endpoint: str = ""

    @property
    def digest(self) -> str:
        """Its name in the database."""
        return hashlib.sha1(json.dumps(self).encode(), usedforsecurity=False).hexdigest()

    def cubes(self) -> tuple[Series, ...]:
        """The series of every cube that a series of the full cube is part of."""
        return (
            self,
            Series(Cube.TOTAL.value),
            Series(Cube.KEY.value, key_id=self.key_id),
            Series(Cube.CALLER.value, caller=self.caller),
            Series(Cube.MODEL.value, model=self.model),
            Series(Cube.DEPLOYMENT.value, deployment_id=self.deployment_id, config=self.config, model=self.model),
        )


Sums = dict[tuple[Series, Any], list[int]]


def add_up(records: Iterable[RequestRecord]) -> None:
    """Add ``records`` to the hours and days. Call it in a transaction that makes sure that it happens once."""
    by_hour: Sums = {}
    by_day: Sums = {}
    for record in records:
        moment = datetime.fromtimestamp(record.at, tz=UTC)
        series = Series(
            Cube.FULL.value,
            record.key_id or 0,
            record.caller,
            record.model,
            record.config,
            record.deployment_id or 0,
            record.endpoint,
        )
        hour = moment.replace(minute=0, second=0, microsecond=0)
        _count(record, by_hour.setdefault((series, hour), [0] * len(SUM_COLUMNS)))
    zone = timezone.get_default_timezone()
    spread: Sums = {}
    for (series, hour), sums in by_hour.items():
        day = hour.astimezone(zone).date()
        for each in series.cubes():
            _add(spread, (each, hour), sums)
            _add(by_day, (each, day), sums)
    write_sums(spread, by_day)


def write_sums(by_hour: Sums, by_day: Sums) -> None:
    """Add sums to the rows that exist, and make those that do not."""
    ids = _series_ids({series for series, _at in (*by_hour, *by_day)})
    _upsert(UsageHour, by_hour, ids)
    _upsert(UsageDay, by_day, ids)


def _count(record: RequestRecord, sums: list[int]) -> None:
    first, duration = record.first_token_s, record.duration_s
    added = (
        1,
        400 <= record.status < 500,
        record.status >= 500,
        record.prompt_tokens or 0,
        record.completion_tokens or 0,
        milliseconds(record.queue_s),
        first is not None,
        milliseconds(first or 0.0),
        1,
        milliseconds(duration),
    )
    for index, value in enumerate(added):
        sums[index] += value
    if first is not None:
        sums[_FIRST_TOKEN_AT + bucket_of(first, FIRST_TOKEN_BOUNDS_S)] += 1
    sums[_DURATION_AT + bucket_of(duration, DURATION_BOUNDS_S)] += 1


def milliseconds(seconds: float) -> int:
    """Whole milliseconds that fit a column."""
    return min(max(0, round(seconds * 1000)), MOST_INT)


def _add(to: Sums, name: tuple[Series, datetime | date], sums: list[int]) -> None:
    known = to.get(name)
    to[name] = list(sums) if known is None else [one + other for one, other in zip(known, sums, strict=True)]


def _series_ids(wanted: set[Series]) -> dict[Series, int]:
    """The rows of these series, made where there are none; other workers may make the same."""
    by_digest = {series.digest: series for series in sorted(wanted)}
    ids = _known_ids(list(by_digest))
    missing = [
        UsageSeries(digest=digest, **series._asdict()) for digest, series in by_digest.items() if digest not in ids
    ]
    if missing:
        UsageSeries.objects.bulk_create(missing, batch_size=_NAMES_AT_ONCE // 10, ignore_conflicts=True)
        ids |= _known_ids([row.digest for row in missing])
    return {series: ids[digest] for digest, series in by_digest.items()}


def _known_ids(digests: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(digests), _NAMES_AT_ONCE):
        some = digests[start : start + _NAMES_AT_ONCE]
        found |= dict(UsageSeries.objects.filter(digest__in=some).values_list("digest", "pk"))
    return found


def _upsert(table: type[UsageHour] | type[UsageDay], sums: Sums, ids: dict[Series, int]) -> None:
    """One statement for each row: Django's ``update_conflicts`` replaces values, and these are to be added."""
    quote = connection.ops.quote_name
    name, columns = quote(table._meta.db_table), [quote(column) for column in SUM_COLUMNS]
    # Names come from the models alone.
    statement = (
        f"INSERT INTO {name} (series_id, at, {', '.join(columns)}) "  # noqa: S608
        f"VALUES (%s, %s{', %s' * len(columns)}) ON CONFLICT (series_id, at) DO UPDATE SET "
        + ", ".join(f"{column} = {name}.{column} + excluded.{column}" for column in columns)
    )
    field = table._meta.get_field("at")
    # In one order everywhere, so that two workers cannot wait for each other's rows.
    rows = sorted((ids[series], at, values) for (series, at), values in sums.items())
    with connection.cursor() as cursor:
        cursor.executemany(
            statement, [(pk, field.get_db_prep_save(at, connection), *values) for pk, at, values in rows]
        )
