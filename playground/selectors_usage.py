"""What was used, by time and by key, caller, model or deployment: a few queries over roll-ups, however much it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django.db.models import QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .models import GatewayKey, UsageDay, UsageHour, UsageSeries
from .usage_buckets import FIRST_TOKEN_BOUNDS_S, FIRST_TOKEN_COLUMNS, percentile

Cube = UsageSeries.Cube
#: Of deployments, which are many in time, this many are offered in the filter.
MOST_DEPLOYMENTS: Final = 100
_COLUMNS: Final = (
    "requests",
    "client_errors",
    "server_errors",
    "prompt_tokens",
    "completion_tokens",
    "durations",
    "duration_ms",
    *FIRST_TOKEN_COLUMNS,
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time that ends now: ``count`` hours or days, drawn with ``marks`` labels.

    Of ``whole_days`` drawn by the hour, the hours of today that are to come are empty, and groups are read from days.
    """

    name: str
    title: Any
    count: int
    hourly: bool
    marks: int
    whole_days: bool = True


SPANS: Final = {
    span.name: span
    for span in (
        Span(name="24h", title=_("24 hours"), count=24, hourly=True, marks=4, whole_days=False),
        Span(name="7d", title=_("7 days"), count=168, hourly=True, marks=7),
        Span(name="30d", title=_("30 days"), count=30, hourly=False, marks=6),
        Span(name="90d", title=_("90 days"), count=90, hourly=False, marks=6),
        Span(name="1y", title=_("a year"), count=365, hourly=False, marks=5),
    )
}
#: What usage may be told apart by: the column of UsageSeries, and the cube that has only it.
DIMENSIONS: Final = {
    "model": ("model", Cube.MODEL, _("Model")),
    "key": ("key_id", Cube.KEY, _("Key")),
    "caller": ("caller", Cube.CALLER, _("Caller")),
    "deployment": ("deployment_id", Cube.DEPLOYMENT, _("Deployment")),
}


@dataclass(frozen=True, kw_only=True)
class UsageQuery:
    """What the reader asked to see. ``filters`` maps dimensions to the one value that is looked at."""

    span: Span
    by: str
    filters: Mapping[str, str | int]

    @classmethod
    def read(cls, asked: Mapping[str, str]) -> UsageQuery:
        """From an address; what makes no sense counts as not asked."""
        filters: dict[str, str | int] = {}
        for name in DIMENSIONS:
            value = asked.get(name, "").replace("\0", "").strip()[:200]
            if name in {"key", "deployment"}:
                if value.isdecimal() and len(value) < 19:
                    filters[name] = int(value)
            elif value:
                filters[name] = value
        by = asked.get("by", "")
        if by not in DIMENSIONS:
            by = next((name for name in DIMENSIONS if name not in filters), "model")
        return cls(span=SPANS.get(asked.get("span", ""), SPANS["7d"]), by=by, filters=filters)

    def cube(self, *by: str) -> UsageSeries.Cube:
        """The smallest cube that has the filters and ``by``."""
        needed = {*self.filters, *by}
        if not needed:
            return Cube.TOTAL
        return DIMENSIONS[needed.pop()][1] if len(needed) == 1 else Cube.FULL


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What was used in some time by somebody."""

    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    durations: int = 0
    duration_ms: int = 0
    first_token: tuple[int, ...] = ()

    @property
    def errors(self) -> int:
        """Requests that ended with a 4xx or 5xx."""
        return self.client_errors + self.server_errors

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def p50_s(self) -> float | None:
        """Half of the first tokens came within this many seconds."""
        return percentile(self.first_token, FIRST_TOKEN_BOUNDS_S, 0.5)

    @property
    def p95_s(self) -> float | None:
        """Nineteen of twenty first tokens came within this many seconds."""
        return percentile(self.first_token, FIRST_TOKEN_BOUNDS_S, 0.95)

    @property
    def mean_s(self) -> float | None:
        """The mean duration of a request, in seconds."""
        return self.duration_ms / self.durations / 1000 if self.durations else None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The sums of one hour or day."""

    at: datetime | date
    sums: Sums


@dataclass(frozen=True, kw_only=True)
class Group:
    """The sums of one model, key, caller or deployment. ``value`` narrows the page to it; None where it names none."""

    name: str
    value: str | int | None
    sums: Sums


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value of a filter."""

    value: str | int
    name: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Everything that the page shows."""

    query: UsageQuery
    moments: Sequence[Moment]
    total: Sums
    groups: Sequence[Group]


def usage(query: UsageQuery, now: datetime | None = None) -> Usage:
    """Sums by time and by group: three queries."""
    now = now or timezone.now()
    return Usage(
        query=query,
        moments=(moments := _moments(query, now)),
        total=_total([moment.sums for moment in moments]),
        groups=_groups(query, now),
    )


def usage_choices() -> dict[str, list[Choice]]:
    """What each filter offers, by name: two queries."""
    rows = list(UsageSeries.objects.exclude(cube__in=(Cube.FULL, Cube.TOTAL)).order_by("-deployment_id"))
    keys = _key_names()
    found: dict[str, dict[str | int, str]] = {name: {} for name in DIMENSIONS}
    for row in rows:
        name = row.cube
        value = getattr(row, DIMENSIONS[name][0])
        if value and (name != "deployment" or len(found[name]) < MOST_DEPLOYMENTS):
            found[name][value] = _name(name, value, keys, {row.deployment_id: row.config})
    return {
        name: sorted(
            (Choice(value=value, name=word) for value, word in values.items()), key=lambda one: one.name.lower()
        )
        for name, values in found.items()
    }


def usage_lines(query: UsageQuery, now: datetime | None = None) -> list[tuple[datetime | date, Group]]:
    """The sums of each group in each hour or day, in order: three queries."""
    column = DIMENSIONS[query.by][0]
    rows = _rows(query, now or timezone.now(), query.by).values("at", f"series__{column}").annotate(**_sums())
    names = _group_names(query.by)
    lines = [(row["at"], _group(query.by, row[f"series__{column}"], row, names)) for row in rows]
    return sorted(lines, key=lambda line: (line[0], line[1].name))


def first_moment(span: Span, now: datetime) -> datetime | date:
    """The beginning of the first hour or day of a span that ends now."""
    if not span.whole_days:
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return hour - timedelta(hours=span.count - 1)
    if not span.hourly:
        return _first_day(span, now)
    midnight = datetime.combine(_first_day(span, now), time(), timezone.get_default_timezone())
    # In zones of half an hour a day begins within an hour of the roll-ups.
    return midnight.astimezone(UTC).replace(minute=0)


def _first_day(span: Span, now: datetime) -> date:
    days = span.count // 24 if span.hourly else span.count
    return timezone.localdate(now, timezone.get_default_timezone()) - timedelta(days=days - 1)


def _rows(query: UsageQuery, now: datetime, *by: str, by_days: bool = False) -> QuerySet[Any]:
    table = UsageDay if by_days or not query.span.hourly else UsageHour
    since = _first_day(query.span, now) if by_days else first_moment(query.span, now)
    wanted = {DIMENSIONS[name][0]: value for name, value in query.filters.items()}
    series = UsageSeries.objects.filter(cube=query.cube(*by), **wanted)
    return QuerySet(table).filter(series__in=series, at__gte=since).order_by()


def _sums() -> dict[str, Sum]:
    return {f"sum_{column}": Sum(column) for column in _COLUMNS}


def _read(row: Mapping[str, Any]) -> Sums:
    values = [row[f"sum_{column}"] for column in _COLUMNS]
    return Sums(
        requests=values[0],
        client_errors=values[1],
        server_errors=values[2],
        prompt_tokens=values[3],
        completion_tokens=values[4],
        durations=values[5],
        duration_ms=values[6],
        first_token=tuple(values[7:]),
    )


def _moments(query: UsageQuery, now: datetime) -> list[Moment]:
    found = {row["at"]: _read(row) for row in _rows(query, now).values("at").annotate(**_sums())}
    first = first_moment(query.span, now)
    step = timedelta(hours=1) if query.span.hourly else timedelta(days=1)
    empty = Sums()
    return [
        Moment(at=at, sums=found.get(at, empty)) for at in (first + step * index for index in range(query.span.count))
    ]


def _total(all_sums: Sequence[Sums]) -> Sums:
    counted = [sums for sums in all_sums if sums.requests]
    if not counted:
        return Sums()
    return Sums(
        requests=sum(sums.requests for sums in counted),
        client_errors=sum(sums.client_errors for sums in counted),
        server_errors=sum(sums.server_errors for sums in counted),
        prompt_tokens=sum(sums.prompt_tokens for sums in counted),
        completion_tokens=sum(sums.completion_tokens for sums in counted),
        durations=sum(sums.durations for sums in counted),
        duration_ms=sum(sums.duration_ms for sums in counted),
        first_token=tuple(sum(column) for column in zip(*(sums.first_token for sums in counted), strict=True)),
    )


def _groups(query: UsageQuery, now: datetime) -> list[Group]:
    column = DIMENSIONS[query.by][0]
    rows = _rows(query, now, query.by, by_days=query.span.whole_days)
    rows = rows.values(f"series__{column}").annotate(**_sums())
    names = _group_names(query.by)
    found = [_group(query.by, row[f"series__{column}"], row, names) for row in rows]
    return sorted(found, key=lambda group: (-group.sums.requests, group.name))


def _group(by: str, value: str | int, row: Mapping[str, Any], names: Mapping[int, str]) -> Group:
    return Group(name=_name(by, value, names, names), value=value or None, sums=_read(row))


def _group_names(by: str) -> dict[int, str]:
    """The names of keys, or the configs of deployments: one query, none where values speak for themselves."""
    if by == "key":
        return _key_names()
    if by == "deployment":
        return dict(UsageSeries.objects.filter(cube=Cube.DEPLOYMENT).values_list("deployment_id", "config"))
    return {}


def _key_names() -> dict[int, str]:
    return {key.pk: f"{key.name} (berth-{key.prefix}-…)" for key in GatewayKey.objects.only("name", "prefix")}


def _name(by: str, value: str | int, keys: Mapping[int, str], configs: Mapping[int, str]) -> str:
    if not value:
        return str(_NONE[by])
    if by == "key":
        return keys.get(int(value), f"#{value}")
    if by == "deployment":
        return f"{configs.get(int(value), '')} #{value}".strip()
    return str(value)


_NONE: Final = {
    "model": _("no model"),
    "key": _("without a key"),
    "caller": _("nobody"),
    "deployment": _("no deployment"),
}


def narrowed(query: UsageQuery, value: str | int) -> UsageQuery:
    """``query`` for one of its groups, told apart by the next dimension."""
    filters = {**query.filters, query.by: value}
    by = next((name for name in DIMENSIONS if name not in filters), query.by)
    return replace(query, filters=filters, by=by)
