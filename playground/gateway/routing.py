"""The routing table: which ready deployments answer to a name, and which of them is asked."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from django.utils.translation import gettext_lazy as _

from playground.exceptions import ModelNotFoundError, NothingReadyError

#: What this gateway serves so far.
SERVED_PROTOCOLS = frozenset({"openai-text"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One ready deployment; ``endpoint`` is its base URL without a path, ``keyed`` whether it asks for its own key."""

    deployment_id: int
    config: str
    model: str
    protocol: str
    engine: str
    served_name: str
    endpoint: str
    node: str
    keyed: bool = False


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A name that clients may use. ``since`` is when this process first saw it, in epoch seconds."""

    name: str
    configs: tuple[str, ...]
    since: int


class InFlight:
    """Requests now under way at each deployment. Outlives changes of the table."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def __getitem__(self, deployment_id: int) -> int:
        return self._counts[deployment_id]

    def snapshot(self) -> dict[int, int]:
        """Deployment -> requests, without those that have none."""
        return dict(self._counts)

    @contextmanager
    def held(self, deployment_id: int) -> Iterator[None]:
        """Count one request at ``deployment_id`` for as long as the block runs, however it ends."""
        self._counts[deployment_id] += 1
        try:
            yield
        finally:
            self._counts[deployment_id] -= 1
            if self._counts[deployment_id] <= 0:
                del self._counts[deployment_id]


class RoutingTable:
    """An immutable-by-replacement view of ``berth:routes``. Used from one event loop only."""

    def __init__(self) -> None:
        self.version = 0
        self.in_flight = InFlight()
        self._by_config: dict[str, list[Route]] = {}
        self._configs_of_model: dict[str, list[str]] = {}
        self._foreign: dict[str, str] = {}
        self._listed: dict[str, ListedModel] = {}
        self._folded: dict[str, str] = {}

    def replace(self, raw: str) -> None:
        """Take over the JSON of ``berth:routes``. Raises ValueError, changing nothing, when malformed."""
        version, routes = _parse(raw)
        served: defaultdict[str, list[Route]] = defaultdict(list)
        models: defaultdict[str, set[str]] = defaultdict(set)
        foreign: dict[str, str] = {}
        for route in routes:
            if route.protocol in SERVED_PROTOCOLS:
                served[route.config].append(route)
                models[route.model].add(route.config)
            else:
                foreign[route.config] = foreign[route.model] = route.protocol
        # The preferred config of a model: most ready replicas first, then by name.
        ordered = {
            model: sorted(configs, key=lambda config: (-len(served[config]), config))
            for model, configs in models.items()
        }
        self.version, self._by_config, self._configs_of_model = version, dict(served), ordered
        self._foreign = foreign
        self._listed = self._list(previous=self._listed)
        self._folded = {listed.casefold(): listed for listed in self._listed}

    def candidates(self, name: str) -> list[Route]:
        """The deployments to try for ``name``, in order.

        A config's name comes before a model's; upper and lower case matter only where both exist.
        Of a config: least requests in flight first, ties at random. Of a model: its preferred
        config's replicas, then those of its other configs.

        Raises ModelNotFoundError naming what is ready, or NothingReadyError.
        """
        name = self._known(name)
        configs = [name] if name in self._by_config else self._configs_of_model[name]
        if len(configs) == 1 and len(self._by_config[configs[0]]) == 1:
            return self._by_config[configs[0]]
        return [route for config in configs for route in self._balanced(self._by_config[config])]

    def listed(self) -> list[ListedModel]:
        """Every name that :meth:`candidates` resolves, sorted."""
        return list(self._listed.values())

    def find(self, name: str) -> ListedModel:
        """The entry of ``name``; raises as :meth:`candidates` does."""
        return self._listed[self._known(name)]

    def _known(self, name: str) -> str:
        if name in self._listed:
            return name
        folded = self._folded.get(name.casefold())
        if folded is None:
            raise self._missing(name)
        return folded

    def _balanced(self, routes: list[Route]) -> list[Route]:
        shuffled = random.sample(routes, len(routes))
        return sorted(shuffled, key=lambda route: self.in_flight[route.deployment_id])

    def _list(self, *, previous: dict[str, ListedModel]) -> dict[str, ListedModel]:
        names = {**self._configs_of_model, **{config: [config] for config in self._by_config}}
        now = int(time.time())
        return {
            name: ListedModel(
                name=name, configs=tuple(names[name]), since=previous[name].since if name in previous else now
            )
            for name in sorted(names)
        }

    def _missing(self, name: str) -> ModelNotFoundError | NothingReadyError:
        if name in self._foreign:
            return ModelNotFoundError(
                _("%(name)s speaks %(protocol)s, which this address does not serve."),
                param="model",
                name=name,
                protocol=self._foreign[name],
            )
        if not self._listed:
            return NothingReadyError(_("No model is ready. Start one in the catalogue, or with: berth start CONFIG"))
        return ModelNotFoundError(
            _("No ready model or config is called %(name)s. Ready now: %(ready)s."),
            param="model",
            name=name,
            ready=", ".join(self._listed),
        )


def _parse(raw: str) -> tuple[int, list[Route]]:
    known = [field.name for field in fields(Route)]
    try:
        document: dict[str, Any] = json.loads(raw)
        routes = [Route(**{name: entry[name] for name in known if name in entry}) for entry in document["routes"]]
        version = int(document["version"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a routing table: {error!r}") from error
    trimmed = [route for route in routes if route.endpoint]
    return version, trimmed
