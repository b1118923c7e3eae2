"""Levels as tables show them: one set of cells for the page, the command line and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from playground.models.load_test import LoadTest
from playground.spreadsheets import harmless

from .figures import Level, Spread, error_share
from .verdicts import Verdict
from .words import ended_words, error_words, gpu_words, judged_words, target_words, users_words

NONE: Final = "–"
#: From here on the generator may be what is measured.
BUSY_CPU_PERCENT: Final = 80.0
BUSY_LATE_MS: Final = 20.0
_GIB: Final = 1024**3


@dataclass(frozen=True, kw_only=True)
class Cell:
    """``title`` explains the text; ``tone`` is bad or warn where somebody should look."""

    text: str
    title: str = ""
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class SpreadCell:
    """One percentile of one time."""

    title: str
    percentile: str
    text: str


@dataclass(frozen=True, kw_only=True)
class LevelRow:
    """One level in words. ``spreads`` are time to first token, per token and in all: p50, p95 and p99 of each."""

    users: str
    title: str
    requests: str
    errors: Cell
    requests_per_s: str
    tokens_per_s: str
    stream_tokens_per_s: str
    spreads: Sequence[Sequence[SpreadCell]]
    memory: Cell
    power: Cell
    is_live: bool
    notes: Sequence[str]
    problems: Sequence[tuple[int, str]]


def level_rows(levels: Sequence[Level]) -> list[LevelRow]:
    """Each level as a row."""
    return [_row(level) for level in levels]


def _row(level: Level) -> LevelRow:
    gpu = level.get("gpu", {})
    why = gpu_words(gpu.get("reason", ""))
    memory, power = gpu.get("memory_peak_bytes"), gpu.get("power_mean_watts")
    share = error_share(level)
    sent = level["done"] + level["failed"]
    return LevelRow(
        users=f"{level['concurrency']:,}",
        title=users_words(level["concurrency"]),
        requests=f"{level['done']:,}",
        errors=Cell(
            text=f"{100 * share:.1f} %" if sent else NONE,
            title=_("%(failed)s of %(sent)s failed") % {"failed": level["failed"], "sent": sent} if sent else "",
            tone="bad" if sent and level["failed"] else "",
        ),
        requests_per_s=_number(level["requests_per_s"], 2),
        tokens_per_s=_number(level.get("tokens_per_s"), 0),
        stream_tokens_per_s=_number(_p50(level.get("stream_tokens_per_s")), 1),
        spreads=[
            _spread(_("First token, ms"), level.get("first_token_ms")),
            _spread(_("Per token, ms"), level.get("per_token_ms")),
            _spread(_("In all, ms"), level["total_ms"]),
        ],
        memory=Cell(text=NONE if memory is None else f"{memory / _GIB:.1f} GiB", title=why),
        power=Cell(text=NONE if power is None else f"{power:,.0f} W", title=why),
        is_live=not level["ended"],
        notes=_notes(level),
        problems=[(kind["count"], error_words(kind)) for kind in level["errors"]],
    )


def _notes(level: Level) -> list[str]:
    notes = [ended_words(level["ended"])]
    if level.get("estimated"):
        notes.append(_("The server counted no tokens: pieces of the stream stand for them."))
    late, cpu = level.get("late_ms") or 0.0, level.get("cpu_percent") or 0.0
    if late > BUSY_LATE_MS or cpu > BUSY_CPU_PERCENT:
        told = {"cpu": f"{cpu:.0f}", "late": f"{late:.0f}"}
        notes.append(_("The load generator itself was busy (%(cpu)s %% of a core, %(late)s ms late at p95).") % told)
        notes.append(_("The model may be faster than these figures."))
    return [note for note in notes if note]


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """One target in words; ``passed`` as in :class:`.verdicts.Verdict`."""

    title: str
    wanted: str
    measured: str
    passed: bool | None
    users: int | None


def verdict_rows(test: LoadTest) -> list[VerdictRow]:
    """What the test was to reach, and did."""
    rows = []
    for kept in test.verdicts:
        verdict = Verdict(**kept)
        measured, wanted = judged_words(verdict.measured or 0, verdict.wanted)
        rows.append(
            VerdictRow(
                title=target_words(verdict.target),
                wanted=wanted,
                measured=NONE if verdict.measured is None else measured,
                passed=verdict.passed,
                users=verdict.concurrency,
            )
        )
    return rows


def as_record(test: LoadTest) -> dict[str, Any]:
    """Everything of a test, for JSON."""
    return {
        "number": test.pk,
        "config": test.config,
        "model": test.model,
        "protocol": test.protocol,
        "engine": test.engine,
        "node": test.node.name,
        "state": test.state,
        "error": test.error,
        "requested_by": test.requested_by,
        "started_at": None if test.started_at is None else test.started_at.isoformat(),
        "ended_at": None if test.ended_at is None else test.ended_at.isoformat(),
        "settings": test.settings,
        "targets": test.targets,
        "verdicts": test.verdicts,
        "smoke": test.smoke,
        "context_tokens": test.context_tokens,
        "levels": test.levels,
    }


_PLAIN: Final = (
    "concurrency",
    "requests",
    "done",
    "failed",
    "unfinished",
    "seconds",
    "ended",
    "requests_per_s",
    "tokens_per_s",
    "prompt_tokens",
    "output_tokens",
    "estimated",
    "late_ms",
    "cpu_percent",
)
_SPREADS: Final = ("first_token_ms", "per_token_ms", "total_ms", "stream_tokens_per_s")
_GPU: Final = ("memory_peak_bytes", "power_mean_watts", "power_peak_watts", "utilization_mean_percent")


def as_csv(tests: Sequence[LoadTest]) -> str:
    """A line a level, with a line of names first."""
    written = io.StringIO()
    writer = csv.writer(written)
    spreads = [f"{name}_{each}" for name in _SPREADS for each in ("p50", "p95", "p99")]
    writer.writerow(["number", "config", "model", "engine", *_PLAIN, *spreads, *_GPU, "errors"])
    for test in tests:
        for level in test.measured:
            writer.writerow([test.pk, *map(harmless, (test.config, test.model, test.engine)), *_cells(level)])
    return written.getvalue()


def _cells(level: Level) -> Iterator[object]:
    content: dict[str, Any] = dict(level)
    yield from (content.get(name) for name in _PLAIN)
    for name in _SPREADS:
        yield from ((content.get(name) or {}).get(each) for each in ("p50", "p95", "p99"))
    yield from (content.get("gpu", {}).get(name) for name in _GPU)
    yield harmless("; ".join(f"{kind['count']} x {error_words(kind)}" for kind in level.get("errors", [])))


def _p50(spread: Spread | None) -> float | None:
    return None if spread is None else spread["p50"]


def _spread(title: str, spread: Spread | None) -> list[SpreadCell]:
    values: list[float | None] = [None] * 3 if spread is None else [spread["p50"], spread["p95"], spread["p99"]]
    return [
        SpreadCell(title=title, percentile=name, text=NONE if value is None else _milliseconds(value))
        for name, value in zip(("p50", "p95", "p99"), values, strict=True)
    ]


def _milliseconds(value: float) -> str:
    """With three figures at least, and never more than one behind the point."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}f}".removesuffix(".0")
