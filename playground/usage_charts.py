"""Bars of the page Usage: where each rectangle lies, in a drawing of 100 units of height that is stretched to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from .selectors_usage import Moment, Span, Sums

HEIGHT: Final = 100.0
#: Units of width for each moment, and what of them a bar leaves free.
STEP: Final = 10.0
GAP: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Column:
    """Everything above one moment; ``words`` say it."""

    x: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one colour means: ``css`` names it, ``total`` is what the legend tells, ``path`` draws all of its bars."""

    css: str
    title: str
    total: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One drawing with its legend and labels. ``most`` and ``half`` are written at the upper lines."""

    name: str
    title: str
    parts: Sequence[Part]
    columns: Sequence[Column]
    marks: Sequence[str]
    most: str
    half: str
    width: str
    step: str
    summary: str


Value = float | None


@dataclass(frozen=True, kw_only=True)
class _Measure:
    css: str
    title: str
    of: Callable[[Sums], Value]


def charts(moments: Sequence[Moment], total: Sums, span: Span) -> list[Chart]:
    """Requests, tokens and the time to the first token."""
    served = _Measure(css="a", title=_("Answered"), of=lambda sums: sums.requests - sums.errors)
    client = _Measure(css="warn", title=_("Errors 4xx"), of=lambda sums: sums.client_errors)
    server = _Measure(css="bad", title=_("Errors 5xx"), of=lambda sums: sums.server_errors)
    prompt = _Measure(css="b", title=_("Prompt"), of=lambda sums: sums.prompt_tokens)
    answer = _Measure(css="a", title=_("Answer"), of=lambda sums: sums.completion_tokens)
    p95 = _Measure(css="b", title="p95", of=lambda sums: sums.p95_s)
    p50 = _Measure(css="a", title="p50", of=lambda sums: sums.p50_s)
    options: dict[str, Any] = {"moments": moments, "total": total, "span": span}
    return [
        _chart("requests", _("Requests"), (served, client, server), stacked=True, say=count_words, **options),
        _chart("tokens", _("Tokens"), (prompt, answer), stacked=True, say=count_words, **options),
        _chart("first-token", _("Time to the first token"), (p95, p50), stacked=False, say=seconds_words, **options),
    ]


def _chart(
    name: str,
    title: str,
    measures: Sequence[_Measure],
    *,
    stacked: bool,
    say: Callable[[Value], str],
    moments: Sequence[Moment],
    total: Sums,
    span: Span,
) -> Chart:
    values = [[measure.of(moment.sums) or 0.0 for measure in measures] for moment in moments]
    most = round_up(max((sum(each) if stacked else max(each) for each in values), default=0.0))
    columns = []
    paths: list[list[str]] = [[] for _measure in measures]
    for index, (moment, each) in enumerate(zip(moments, values, strict=True)):
        said = ", ".join(
            f"{measure.title} {say(measure.of(moment.sums))}"
            for measure, value in zip(measures, each, strict=True)
            if value
        )
        words = f"{moment_words(moment)}: {said or _('nothing')}"
        columns.append(Column(x=_units(index * STEP), words=words))
        _draw(paths, index, each, most, stacked=stacked)
    parts = [
        Part(css=one.css, title=one.title, total=say(one.of(total)), path="".join(path))
        for one, path in zip(measures, paths, strict=True)
    ]
    return Chart(
        name=name,
        title=title,
        parts=parts,
        columns=columns,
        marks=[mark_words(moment, span) for moment in moments[:: max(1, len(moments) // span.marks)]],
        most=say(most),
        half=say(most / 2),
        width=_units(len(moments) * STEP),
        step=_units(STEP),
        summary=", ".join([f"{title}, {span.title}", *(f"{part.title} {part.total}" for part in parts)]),
    )


def _draw(paths: list[list[str]], index: int, values: Sequence[float], most: float, *, stacked: bool) -> None:
    """Add a bar of each value to its path: a path for each colour is rendered ten times faster than rectangles."""
    below = 0.0
    for path, value in zip(paths, values, strict=True):
        if value <= 0:
            continue
        # What there is can be seen, however small beside the largest.
        height = max(1.0, value / most * HEIGHT)
        x, y = index * STEP + GAP / 2, max(0.0, HEIGHT - below - height)
        path.append(f"M{_units(x)} {_units(y)}h{_units(STEP - GAP)}v{_units(height)}h-{_units(STEP - GAP)}z")
        if stacked:
            below += height


def round_up(value: float) -> float:
    """The next round number that is not less; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(f"{int(value)}") - 1) if value >= 1 else 0.001
    while True:
        for factor in (1, 1.5, 2, 3, 4, 5, 6, 8):
            if value <= factor * power * (1 + 1e-9):
                return factor * power
        power *= 10


def moment_words(moment: Moment) -> str:
    """An hour or day in full."""
    if isinstance(moment.at, datetime):
        return date_format(timezone.localtime(moment.at), "Y-m-d H:i")
    return date_format(moment.at, "Y-m-d")


def mark_words(moment: Moment, span: Span) -> str:
    """What stands below the chart."""
    if isinstance(moment.at, datetime):
        return date_format(timezone.localtime(moment.at), "m-d" if span.whole_days else "H:i")
    return date_format(moment.at, "m-d" if span.count <= 90 else "Y-m-d")


def count_words(value: Value) -> str:
    """``950``, ``12.3 k``, ``4.56 M``: three digits that matter."""
    number = value or 0.0
    for unit in ("", " k", " M", " G"):
        if number < 1000 or unit == " G":
            return _three_digits(number) + unit
        number /= 1000
    raise AssertionError


def seconds_words(value: Value) -> str:
    """``340 ms``, ``1.25 s``; a dash for what was not measured."""
    if value is None:
        return "–"
    if value < 1:
        return f"{number_format(value * 1000, decimal_pos=0)} ms"
    return f"{_three_digits(value)} s"


def _three_digits(value: float) -> str:
    whole = value >= 100 or value == round(value)
    return number_format(value, decimal_pos=0 if whole else 1 if value >= 10 else 2)


def _units(value: float) -> str:
    """A number as SVG wants it, whatever the language of the page."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
