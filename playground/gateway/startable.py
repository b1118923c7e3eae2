"""What the catalogue has and no ready deployment serves: names that could be started."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.utils.translation import gettext_lazy as _

from playground.exceptions import EndpointMismatchError, NotStartedError

from .endpoints import Endpoint, served_paths


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A name that clients may use. ``since`` is when this process first saw it, in epoch seconds.

    ``ready`` is False for one that a request has to start.
    """

    name: str
    configs: tuple[str, ...]
    since: int
    ready: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Startable:
    """A config without a ready run. ``may_start`` tells whether a request may start it."""

    config: str
    model: str
    protocol: str
    engine: str
    may_start: bool = False
    load_timeout_s: int = 600

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Startable:
        """From the routing table; members of newer versions are ignored. Raises TypeError."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in entry.items() if name in known})

    def serves(self, endpoint: Endpoint) -> bool:
        """Whether it would have ``endpoint``."""
        return (self.protocol, self.engine) in endpoint.served_by


class Startables:
    """All of them by name: a config's name comes before a model's, and case matters nowhere."""

    def __init__(self, startable: Iterable[Startable] = (), *, since: Mapping[str, int] | None = None) -> None:
        self._configs: dict[str, Startable] = {}
        self._models: defaultdict[str, list[Startable]] = defaultdict(list)
        for each in startable:
            if served_paths(each.protocol, each.engine):
                self._configs[each.config.casefold()] = each
                self._models[each.model.casefold()].append(each)
        #: When this process first saw each name, in epoch seconds; handed on to the next version.
        self.since: Mapping[str, int] = since or {}
        self._listed = self._list()

    def __bool__(self) -> bool:
        return bool(self._configs)

    def named(self, name: str) -> list[Startable]:
        """The configs that ``name`` means; none for an unknown name."""
        folded = name.casefold()
        config = self._configs.get(folded)
        return [config] if config is not None else self._models.get(folded, [])

    def find(self, name: str) -> ListedModel | None:
        """The entry of ``name``, whether or not a request may start it."""
        known = self.named(name)
        if not known:
            return None
        spelt = known[0].config if known[0].config.casefold() == name.casefold() else known[0].model
        return self._listed.get(spelt) or self._entry(spelt, known)

    def listed(self) -> list[ListedModel]:
        """Every name that a request may start, sorted."""
        return list(self._listed.values())

    def refuse_as_not_started(self, name: str, endpoint: Endpoint | None = None) -> None:
        """Raise NotStartedError when ``name`` means one of these, of those that serve ``endpoint`` if that is given."""
        known = [each for each in self.named(name) if endpoint is None or each.serves(endpoint)]
        if known:
            raise not_started(name, known)

    def _list(self) -> dict[str, ListedModel]:
        names: defaultdict[str, list[Startable]] = defaultdict(list)
        for each in self._configs.values():
            if each.may_start:
                names[each.config] = [each]
        for several in self._models.values():
            for each in several:
                if each.may_start and each.model.casefold() not in self._configs:
                    names[each.model].append(each)
        self.since = {name: self.since.get(name, int(time.time())) for name in names}
        return {name: self._entry(name, names[name]) for name in sorted(names)}

    def _entry(self, name: str, startable: list[Startable]) -> ListedModel:
        configs = tuple(each.config for each in startable)
        return ListedModel(name=name, configs=configs, since=self.since.get(name, 0), ready=False)


def not_started(name: str, startable: list[Startable]) -> NotStartedError:
    """What is said where nobody waits for a start."""
    return NotStartedError(
        _("%(name)s is not started. Start it in the catalogue, or with: berth start %(config)s"),
        startable=startable,
        name=name[:200],
        config=startable[0].config,
    )


def able(name: str, startable: Iterable[Startable], endpoint: Endpoint) -> list[Startable]:
    """Those that would have ``endpoint``. Raises EndpointMismatchError naming what they would have."""
    startable = list(startable)
    found = [each for each in startable if each.serves(endpoint)]
    if not found:
        paths = dict.fromkeys(path for each in startable for path in served_paths(each.protocol, each.engine))
        raise EndpointMismatchError(
            _("%(name)s (%(engine)s) does not serve %(path)s. It serves: %(able)s."),
            param="model",
            name=name[:200],
            engine=", ".join(dict.fromkeys(each.engine for each in startable)),
            path=endpoint.path,
            able=", ".join(paths),
        )
    return found
