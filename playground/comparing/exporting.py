"""A comparison as a file: a line for each answer, as CSV for spreadsheets or as JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from playground.models import Comparison, ComparisonCell, ComparisonRound
from playground.selectors_compare import exported_rounds
from playground.spreadsheets import harmless

#: In the order of the CSV. Times in milliseconds; ``tokens_per_s`` is counted after the first token.
COLUMNS: Final = (
    "round",
    "prompt",
    "column",
    "config",
    "settings",
    "vote",
    "state",
    "answer",
    "reasoning",
    "first_token_ms",
    "tokens_per_s",
    "prompt_tokens",
    "completion_tokens",
    "duration_ms",
    "error",
)


def as_records(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One answer each, round by round, with the names of :data:`COLUMNS`."""
    for number, each in enumerate(exported_rounds(comparison), start=1):
        for cell in each.cells.all():
            yield _record(number, each, cell)


def as_csv(comparison: Comparison) -> str:
    """With a head; no cell is a formula."""
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in record.items()} for record in as_records(comparison))
    return written.getvalue()


def _record(number: int, each: ComparisonRound, cell: ComparisonCell) -> dict[str, Any]:
    answer = cell.answer
    rate = answer.tokens_per_s
    return {
        "round": number,
        "prompt": each.prompt,
        "column": cell.column.place + 1,
        "config": answer.config,
        "settings": answer.settings,
        "vote": _vote(each, cell),
        "state": answer.state,
        "answer": answer.message.content,
        "reasoning": answer.reasoning,
        "first_token_ms": answer.first_token_ms,
        "tokens_per_s": None if rate is None else round(rate, 2),
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "duration_ms": answer.duration_ms,
        "error": answer.error,
    }


def _vote(each: ComparisonRound, cell: ComparisonCell) -> str:
    """The vote as this answer has it: "best" stands at one of them only."""
    if each.vote == ComparisonRound.Vote.BEST:
        return each.vote if each.best_id == cell.column_id else ""
    return each.vote


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return harmless(value) if isinstance(value, str) else value
