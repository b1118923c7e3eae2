"""Search and filter chips of the catalogue, as GET parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _

from deployments.lifecycle.phases import Phase
from deployments.selectors import CatalogueRow

from .states import ON_ITS_WAY


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A filter that can be switched on or off by following ``href``. ``count`` rows would show."""

    label: str
    href: str
    count: int
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A group of chips; chosen chips of one group widen, groups narrow."""

    name: str
    title: str
    chips: Sequence[Chip]


@dataclass(frozen=True, kw_only=True)
class CatalogueQuery:
    """What the reader asked to see. Unknown values match nothing and harm nothing."""

    text: str = ""
    chosen: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_params(cls, params: QueryDict) -> CatalogueQuery:
        """From ``?q=…&protocol=…&engine=…&gpus=…&state=…``, each but ``q`` repeatable."""
        chosen = tuple((name, value) for name in FACETS for value in dict.fromkeys(params.getlist(name)))
        return cls(text=params.get("q", "").strip()[:200], chosen=chosen)

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is searched or filtered."""
        return bool(self.text or self.chosen)

    def values(self, name: str) -> frozenset[str]:
        """The chosen values of one group."""
        return frozenset(value for facet, value in self.chosen if facet == name)

    def toggled(self, name: str, value: str) -> str:
        """The query string with one chip switched."""
        pair = (name, value)
        chosen = tuple(c for c in self.chosen if c != pair) if pair in self.chosen else (*self.chosen, pair)
        return replace(self, chosen=chosen).query_string

    @property
    def query_string(self) -> str:
        """``?…`` for a link; ``?`` alone clears."""
        return "?" + urlencode([*([("q", self.text)] if self.text else []), *self.chosen])

    def matches(self, row: CatalogueRow, *, but: str = "") -> bool:
        """Whether ``row`` shows, leaving out the group ``but``."""
        if not _found(row, self.text):
            return False
        names = {facet for facet, _value in self.chosen if facet != but}
        return all(FACETS[name](row) in self.values(name) for name in names)


def _found(row: CatalogueRow, text: str) -> bool:
    config = row.config
    searched = f"{config.name} {config.model.name} {config.weights_repository}".casefold()
    return all(word in searched for word in text.casefold().split())


def state_of(row: CatalogueRow) -> str:
    """The row's group among the state chips."""
    if row.deployment is None:
        return "off"
    phase = Phase(row.deployment.phase)
    if phase in ON_ITS_WAY or phase in {Phase.BACKOFF, Phase.STOPPING}:
        return "moving"
    return "off" if phase == Phase.STOPPED else str(phase)


FACETS: dict[str, Callable[[CatalogueRow], str]] = {
    "state": state_of,
    "protocol": lambda row: row.config.protocol,
    "engine": lambda row: row.config.engine,
    "gpus": lambda row: str(row.config.gpus),
}


def facets_of(rows: Sequence[CatalogueRow], query: CatalogueQuery) -> list[Facet]:
    """The groups of chips for ``rows``: every value that occurs, and chosen ones that no longer do."""
    return [_facet(name, rows, query) for name in FACETS]


def _facet(name: str, rows: Sequence[CatalogueRow], query: CatalogueQuery) -> Facet:
    value_of = FACETS[name]
    shown = Counter(value_of(row) for row in rows if query.matches(row, but=name))
    values = {value_of(row) for row in rows} | query.values(name)
    chips = [
        Chip(
            label=_label(name, value),
            href=query.toggled(name, value),
            count=shown[value],
            chosen=value in query.values(name),
        )
        for value in _ordered(name, values)
    ]
    titles = {"state": _("State"), "protocol": _("Protocol"), "engine": _("Engine"), "gpus": _("GPUs")}
    return Facet(name=name, title=titles[name], chips=chips)


def _ordered(name: str, values: Iterable[str]) -> list[str]:
    order = ("ready", "moving", "unhealthy", "failed", "off")
    if name == "state":
        return sorted(values, key=lambda value: (order.index(value) if value in order else len(order), value))
    return sorted(values, key=lambda value: (int(value) if value.isdecimal() else 0, value))


def _label(name: str, value: str) -> str:
    if name == "gpus":
        return _("no GPU") if value == "0" else value
    words = {
        "ready": _("ready"),
        "moving": _("on its way"),
        "unhealthy": _("unhealthy"),
        "failed": _("failed"),
    }
    return {**words, "off": _("not running")}.get(value, value)
