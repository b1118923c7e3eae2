"""The numbers beside the charts, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from .selectors_usage import Sums, Usage
from .usage_charts import count_words, seconds_words


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number over the charts."""

    title: str
    value: str
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. ``share`` is its part of all requests in percent, ``url`` narrows the page to it."""

    name: str
    url: str
    share: str
    requests: str
    errors: str
    has_errors: bool
    prompt: str
    answer: str
    p50: str
    p95: str
    mean: str


def tiles(total: Sums) -> list[Tile]:
    """The sums of the whole span."""
    return [
        Tile(title=_("Requests"), value=count_words(total.requests)),
        Tile(title=_("Tokens"), value=count_words(total.tokens)),
        Tile(title=_("Errors"), value=_share_words(total.errors, total.requests), tone="bad" if total.errors else ""),
        Tile(title=_("First token, p50 / p95"), value=f"{seconds_words(total.p50_s)} / {seconds_words(total.p95_s)}"),
    ]


def table_rows(usage: Usage, address: Callable[[str | int], str]) -> Sequence[Row]:
    """The groups as lines, busiest first."""
    return [
        Row(
            name=group.name,
            url="" if group.value is None else address(group.value),
            share=f"{100 * group.sums.requests / max(1, usage.total.requests):.1f}",
            requests=number_format(group.sums.requests, force_grouping=True),
            errors=_share_words(group.sums.errors, group.sums.requests),
            has_errors=bool(group.sums.errors),
            prompt=count_words(group.sums.prompt_tokens),
            answer=count_words(group.sums.completion_tokens),
            p50=seconds_words(group.sums.p50_s),
            p95=seconds_words(group.sums.p95_s),
            mean=seconds_words(group.sums.mean_s),
        )
        for group in usage.groups
    ]


def _share_words(part: int, whole: int) -> str:
    """``12 (0.4 %)``."""
    if not part:
        return "0"
    return f"{number_format(part, force_grouping=True)} ({number_format(100 * part / whole, decimal_pos=1)} %)"
