"""What a level's requests come to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from .outcomes import LoadError, Outcome

PERCENTILES: Final = (50, 95, 99)
#: Kinds of errors that are told apart; the others are counted together.
MOST_ERRORS: Final = 20
_NUMBERS: Final = re.compile(r"\b(?:0x[0-9a-f]+|[0-9a-f-]*[0-9][0-9a-f-]*)\b", re.IGNORECASE)


class Spread(TypedDict):
    """Percentiles, and of how many."""

    p50: float
    p95: float
    p99: float
    n: int


class ErrorKind(TypedDict):
    """A kind of error: the words are those of its first one."""

    code: str
    status: int
    words: str
    count: int


class GpuFigures(TypedDict, total=False):
    """What the GPUs did meanwhile, over all of them; null with a ``reason`` where nothing is known."""

    reason: str
    gpus: int
    memory_peak_bytes: float | None
    power_mean_watts: float | None
    power_peak_watts: float | None
    utilization_mean_percent: float | None


class Level(TypedDict, total=False):
    """One level as it is kept. Times are in ms, ``seconds`` is the level's own time, rates are a second's.

    ``ended`` is one of :mod:`.level`'s ways to end. Spreads are None where nothing was measured. ``estimated`` tells
    that the server counted no tokens, and pieces of the stream stand for them. ``late_ms`` is how late the generator
    itself was (its 95th percentile), ``cpu_percent`` what it took of one core.
    """

    concurrency: int
    requests: int
    done: int
    failed: int
    unfinished: int
    seconds: float
    ended: str
    started_at: float
    requests_per_s: float
    tokens_per_s: float | None
    stream_tokens_per_s: Spread | None
    first_token_ms: Spread | None
    per_token_ms: Spread | None
    total_ms: Spread | None
    prompt_tokens: float | None
    output_tokens: float | None
    most_tokens: int | None
    estimated: bool
    errors: list[ErrorKind]
    late_ms: float | None
    cpu_percent: float | None
    gpu: GpuFigures


@dataclass(frozen=True, kw_only=True)
class Span:
    """When a level began and ended (or now is), on the clock of its outcomes."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """Never zero, for it is divided by."""
        return max(self.ended - self.began, 1e-6)


def level_figures(outcomes: Iterable[Outcome], span: Span, *, concurrency: int, makes_tokens: bool) -> Level:
    """The figures of requests that were sent within ``span``.

    A request that is still under way counts in the times with its age, as if it ended now: to leave out the slowest
    would make a server look the better, the slower it is. Of failed requests no times count, and no tokens.
    """
    sent = list(outcomes)
    done = [outcome for outcome in sent if outcome.is_done]
    failed = [outcome for outcome in sent if outcome.error is not None]
    open_ones = [outcome for outcome in sent if not outcome.ended_at and outcome.error is None]
    timed = [*done, *open_ones]
    streamed = any(outcome.first_at for outcome in timed)
    counted = [outcome for outcome in done if outcome.output_tokens is not None]
    tokens = sum(outcome.tokens for outcome in done) if makes_tokens and (counted or streamed) else None
    pauses = [pause for outcome in done if (pause := outcome.per_token_s) is not None]
    return Level(
        concurrency=concurrency,
        requests=len(sent),
        done=len(done),
        failed=len(failed),
        unfinished=len(open_ones),
        seconds=round(span.seconds, 3),
        requests_per_s=round(len(done) / span.seconds, 3),
        tokens_per_s=None if tokens is None else round(tokens / span.seconds, 2),
        stream_tokens_per_s=spread([1 / pause for pause in pauses], digits=2),
        first_token_ms=spread([1000 * ((one.first_at or span.ended) - one.sent_at) for one in timed if streamed]),
        per_token_ms=spread([1000 * pause for pause in pauses]),
        total_ms=spread([1000 * ((one.ended_at or span.ended) - one.sent_at) for one in timed]),
        prompt_tokens=_mean([one.prompt_tokens for one in done if one.prompt_tokens is not None]),
        output_tokens=_mean([one.tokens for one in done]) if tokens is not None else None,
        most_tokens=max(
            (one.prompt_tokens + one.tokens for one in done if one.prompt_tokens is not None), default=None
        ),
        estimated=makes_tokens and streamed and len(counted) < len(done),
        errors=error_kinds(one.error for one in failed if one.error is not None),
    )


def spread(values: Sequence[float], *, digits: int = 3) -> Spread | None:
    """The percentiles of ``values``, rounded; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p95, p99 = (round(percentile(ordered, each), digits) for each in PERCENTILES)
    return Spread(p50=p50, p95=p95, p99=p99, n=len(ordered))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values in rising order, between the two nearest ones in proportion (type 7 of Hyndman and Fan, as numpy's)."""
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def error_kinds(errors: Iterable[LoadError]) -> list[ErrorKind]:
    """Each kind once with its number, the most frequent first. Two that differ in numbers only are of one kind."""
    found: dict[tuple[str, int, str], ErrorKind] = {}
    for error in errors:
        name = (error.code, error.status, _NUMBERS.sub("#", error.words))
        if name not in found and len(found) >= MOST_ERRORS:
            name = ("other", 0, "")
        kind = found.setdefault(name, ErrorKind(code=name[0], status=name[1], words=error.words, count=0))
        kind["count"] += 1
    return sorted(found.values(), key=lambda kind: -kind["count"])


def error_share(level: Level) -> float:
    """Of the requests that ended, how many failed: 0 to 1; 1 when none ended."""
    ended = level.get("done", 0) + level.get("failed", 0)
    return level.get("failed", 0) / ended if ended else 1.0


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def as_json(level: Level) -> dict[str, Any]:
    """A copy to keep."""
    return dict(level)
