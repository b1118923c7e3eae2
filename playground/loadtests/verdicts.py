"""Whether a load test met its targets. Pure: the delivery's Test step and the page call the same function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from .figures import Level, error_share

#: A level with more errors than this carries nobody.
MOST_ERRORS_SHARE: Final = 0.01

TargetName = Literal[
    "requests_per_s", "concurrent_users", "first_token_ms", "tokens_per_s", "stream_tokens_per_s", "context_length"
]
TARGETS: Final[tuple[TargetName, ...]] = (
    "requests_per_s",
    "concurrent_users",
    "first_token_ms",
    "tokens_per_s",
    "stream_tokens_per_s",
    "context_length",
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One target: ``wanted`` and what was ``measured``, in its own unit.

    ``passed`` is None where nothing was measured that could tell. ``concurrency`` is the level that tells, None for
    none.
    """

    target: TargetName
    wanted: float
    measured: float | None
    passed: bool | None
    concurrency: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For the row."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def verdicts(
    targets: Mapping[str, Any], levels: Sequence[Level], *, context_tokens: int | None = None
) -> list[Verdict]:
    """Pass or fail for each of :data:`TARGETS` that ``targets`` sets (to a number above zero).

    Only levels with at most 1 % of errors and nothing unfinished count. Requests a second and tokens a second (of all
    streams together) are the best of them; the tokens a second of one stream are their median, of the level at which
    the time to the first token is told; users at once the highest of them, and it has to hold the time to the
    first token where that is a target too. The time to the first token is the 95th percentile at the wanted number of
    users (at the next level above it; the highest level counts as failed where none reached it), without such a
    target at the lowest level. The context is the longest prompt with its answer that was answered whole: of any
    request, or ``context_tokens``.
    """
    wanted = {name: float(targets[name]) for name in TARGETS if _is_set(targets.get(name))}
    good = [level for level in levels if is_good(level)]
    return [_VERDICTS[name](wanted, good, context_tokens) for name in TARGETS if name in wanted]


def is_good(level: Level) -> bool:
    """Whether what was measured at this level is the model serving, and not failing."""
    return bool(level.get("done")) and error_share(level) <= MOST_ERRORS_SHARE and not level.get("unfinished")


Wanted = Mapping[TargetName, float]


def _requests(wanted: Wanted, good: Sequence[Level], _context: int | None) -> Verdict:
    return _best("requests_per_s", wanted, good, [level.get("requests_per_s") for level in good])


def _tokens(wanted: Wanted, good: Sequence[Level], _context: int | None) -> Verdict:
    return _best("tokens_per_s", wanted, good, [level.get("tokens_per_s") for level in good])


def _stream(wanted: Wanted, good: Sequence[Level], _context: int | None) -> Verdict:
    name: TargetName = "stream_tokens_per_s"
    known = [(level["concurrency"], spread["p50"]) for level in good if (spread := level.get("stream_tokens_per_s"))]
    if not known:
        return Verdict(target=name, wanted=wanted[name], measured=None, passed=None)
    users = wanted.get("concurrent_users", 0)
    reached = [each for each in known if each[0] >= users]
    concurrency, rate = min(reached) if reached else max(known)
    passed = rate >= wanted[name] and bool(reached)
    return Verdict(target=name, wanted=wanted[name], measured=rate, passed=passed, concurrency=concurrency)


def _best(name: TargetName, wanted: Wanted, good: Sequence[Level], values: Sequence[float | None]) -> Verdict:
    known = [(value, level["concurrency"]) for value, level in zip(values, good, strict=True) if value is not None]
    if not known:
        return Verdict(target=name, wanted=wanted[name], measured=None, passed=None)
    value, concurrency = max(known)
    return Verdict(
        target=name, wanted=wanted[name], measured=value, passed=value >= wanted[name], concurrency=concurrency
    )


def _users(wanted: Wanted, good: Sequence[Level], _context: int | None) -> Verdict:
    name: TargetName = "concurrent_users"
    most_ms = wanted.get("first_token_ms")
    held = [level for level in good if most_ms is None or (first := _first_token(level)) is None or first <= most_ms]
    if not good:
        return Verdict(target=name, wanted=wanted[name], measured=None, passed=None)
    most = max((level["concurrency"] for level in held), default=0)
    return Verdict(
        target=name, wanted=wanted[name], measured=most, passed=most >= wanted[name], concurrency=most or None
    )


def _first(wanted: Wanted, good: Sequence[Level], _context: int | None) -> Verdict:
    name: TargetName = "first_token_ms"
    timed = [(level["concurrency"], first) for level in good if (first := _first_token(level)) is not None]
    if not timed:
        return Verdict(target=name, wanted=wanted[name], measured=None, passed=None)
    users = wanted.get("concurrent_users", 0)
    reached = [each for each in timed if each[0] >= users]
    concurrency, first = min(reached) if reached else max(timed)
    passed = first <= wanted[name] and bool(reached)
    return Verdict(target=name, wanted=wanted[name], measured=first, passed=passed, concurrency=concurrency)


def _context(wanted: Wanted, good: Sequence[Level], context: int | None) -> Verdict:
    name: TargetName = "context_length"
    known = [tokens for level in good if (tokens := level.get("most_tokens")) is not None]
    longest = max([*known, *([] if context is None else [context])], default=None)
    if longest is None:
        return Verdict(target=name, wanted=wanted[name], measured=None, passed=None)
    # Neither prompts nor answers come out to the token; what is left of a twentieth was asked for.
    passed = longest >= 0.95 * wanted[name]
    return Verdict(target=name, wanted=wanted[name], measured=longest, passed=passed)


def _first_token(level: Level) -> float | None:
    spread = level.get("first_token_ms")
    return None if spread is None else spread["p95"]


def _is_set(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


_VERDICTS: Final = {
    "requests_per_s": _requests,
    "concurrent_users": _users,
    "first_token_ms": _first,
    "tokens_per_s": _tokens,
    "stream_tokens_per_s": _stream,
    "context_length": _context,
}
