"""Runs as one chart shows them: each with a hue, a marker and a dash of its own, the same wherever it appears. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from playground.models.load_test import LoadTest

HUES: Final = 12
MARKERS: Final = ("circle", "square", "triangle", "diamond", "cross", "plus")
DASHES: Final = ("solid", "dashed", "dotted", "dash-dot")
#: Runs one after the other have hues far apart: five twelfths of the circle.
_STEP: Final = 5


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a run is drawn; colour is never the only difference."""

    hue: str
    marker: str
    dash: str


def style_of(number: int) -> Style:
    """Of the run with this number: two within 48 never look the same."""
    return Style(
        hue=f"hue-{number * _STEP % HUES}",
        marker=MARKERS[number % len(MARKERS)],
        dash=DASHES[(number + number // HUES) % len(DASHES)],
    )


def chart_lines(tests: Sequence[LoadTest]) -> list[dict[str, Any]]:
    """For the page's module: each run's levels that are over, with what its charts draw."""
    lines = []
    for test in tests:
        style = style_of(test.pk)
        levels = [level for level in test.measured if level["done"]]
        lines.append(
            {
                "number": test.pk,
                "name": str(test),
                "hue": style.hue,
                "marker": style.marker,
                "dash": style.dash,
                "users": [level["concurrency"] for level in levels],
                "tokens_per_s": [level.get("tokens_per_s") for level in levels],
                "requests_per_s": [level["requests_per_s"] for level in levels],
                "first_token_ms": [_p95(level.get("first_token_ms")) for level in levels],
                "total_ms": [_p95(level.get("total_ms")) for level in levels],
            }
        )
    return lines


def _p95(spread: Any) -> float | None:
    return None if spread is None else float(spread["p95"])
