"""A load test as two small charts that need no script: they are printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from playground.loadtests.figures import Level
from playground.loadtests.words import figure_words

WIDTH, HEIGHT = 360, 160
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 28


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One level: its place in the drawing and what it says."""

    x: float
    y: float
    users: int
    told: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A line over the number of users, with the unit of what it shows. ``ticks`` are of the scale: place and text."""

    title: str
    marks: Sequence[Mark]
    ticks: Sequence[tuple[float, str]]

    @property
    def points(self) -> str:
        """As SVG's polyline has them."""
        return " ".join(f"{mark.x:g},{mark.y:g}" for mark in self.marks)


def charts_of(levels: Sequence[Level]) -> list[Chart]:
    """Throughput and the time to the first token; one that nothing was measured for is left out."""
    tokens = [(level["concurrency"], rate) for level in levels if (rate := level.get("tokens_per_s")) is not None]
    requests = [(level["concurrency"], level["requests_per_s"]) for level in levels if level.get("requests_per_s")]
    first = [(level["concurrency"], spread["p95"]) for level in levels if (spread := level.get("first_token_ms"))]
    drawn = [
        _chart(_("Tokens a second"), tokens) if tokens else _chart(_("Requests a second"), requests),
        _chart(_("Time to first token, p95, ms"), first),
    ]
    return [chart for chart in drawn if chart.marks]


def _chart(title: str, values: Sequence[tuple[int, float]]) -> Chart:
    if not values:
        return Chart(title=title, marks=(), ticks=())
    most = max(value for _users, value in values) or 1.0
    step = (WIDTH - LEFT - RIGHT) / max(1, len(values) - 1)
    inner = HEIGHT - TOP - BOTTOM

    def height(value: float) -> float:
        return round(TOP + inner * (1 - value / most), 1)

    marks = [
        Mark(x=round(LEFT + number * step, 1), y=height(value), users=users, told=figure_words(value))
        for number, (users, value) in enumerate(values)
    ]
    return Chart(
        title=title, marks=marks, ticks=[(height(part * most), figure_words(part * most)) for part in (0, 0.5, 1)]
    )
