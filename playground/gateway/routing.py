"""The routing table: which ready deployments answer to a name, and which of them is asked."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from django.utils.translation import gettext_lazy as _

from playground.exceptions import EndpointMismatchError, GatewayError, ModelNotFoundError, NothingReadyError

from .endpoints import CHAT, Endpoint, served_paths
from .health import PassiveHealth
from .startable import ListedModel, Startable, Startables


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One ready deployment; ``endpoint`` is its base URL without a path, ``keyed`` whether it asks for its own key.

    ``digest`` is that of its specification, as 64 hex digits.
    ``workflow`` and ``image_defaults`` are what its config says for engines of images, as JSON, or empty.
    ``max_in_flight`` is how many requests it takes at once, None when it queues by itself.
    """

    deployment_id: int
    config: str
    model: str
    protocol: str
    engine: str
    served_name: str
    endpoint: str
    node: str
    keyed: bool = False
    max_in_flight: int | None = None
    digest: str = ""
    workflow: str = ""
    image_defaults: str = ""


class InFlight:
    """Requests now under way at each deployment. Outlives changes of the table."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.total = 0
        #: Requests sent to each deployment since this process began, for the sweep to see which are idle.
        self.served: Counter[int] = Counter()

    def __getitem__(self, deployment_id: int) -> int:
        return self._counts[deployment_id]

    def snapshot(self) -> dict[int, int]:
        """Deployment -> requests, without those that have none."""
        return dict(self._counts)

    def add(self, deployment_id: int) -> None:
        """Count one request at ``deployment_id``; :meth:`remove` ends it."""
        self._counts[deployment_id] += 1
        self.served[deployment_id] += 1
        self.total += 1

    def remove(self, deployment_id: int) -> None:
        """End what :meth:`add` began, exactly once."""
        left = self._counts[deployment_id] - 1
        self.total -= 1
        if left > 0:
            self._counts[deployment_id] = left
        else:
            del self._counts[deployment_id]

    @contextmanager
    def held(self, deployment_id: int) -> Iterator[None]:
        """Count one request at ``deployment_id`` for as long as the block runs, however it ends."""
        self.add(deployment_id)
        try:
            yield
        finally:
            self.remove(deployment_id)


class RoutingTable:
    """An immutable-by-replacement view of ``berth:routes``. Used from one event loop only."""

    def __init__(self) -> None:
        self.version = 0
        self.in_flight = InFlight()
        self.health = PassiveHealth()
        #: Called after each change.
        self.on_change: Callable[[], None] = lambda: None
        self._by_config: dict[str, list[Route]] = {}
        self._configs_of_model: dict[str, list[str]] = {}
        self._foreign: dict[str, tuple[str, str]] = {}
        self._able: dict[tuple[str, str], list[list[Route]]] = {}
        self._listed: dict[str, ListedModel] = {}
        self._folded: dict[str, str] = {}
        self.startable = Startables()

    def replace(self, raw: str) -> None:
        """Take over the JSON of ``berth:routes``. Raises ValueError, changing nothing, when malformed."""
        version, routes, startable = _parse(raw)
        served: defaultdict[str, list[Route]] = defaultdict(list)
        models: defaultdict[str, set[str]] = defaultdict(set)
        foreign: dict[str, tuple[str, str]] = {}
        for route in routes:
            if served_paths(route.protocol, route.engine):
                served[route.config].append(route)
                models[route.model].add(route.config)
            else:
                foreign[route.config] = foreign[route.model] = (route.protocol, route.engine)
        # The preferred config of a model: most ready replicas first, then by name.
        ordered = {
            model: sorted(configs, key=lambda config: (-len(served[config]), config))
            for model, configs in models.items()
        }
        self.version, self._by_config, self._configs_of_model = version, dict(served), ordered
        self._foreign = foreign
        self._able = {}
        self.health.keep_only({route.deployment_id for route in routes})
        self._listed = self._list(previous=self._listed)
        self._folded = {listed.casefold(): listed for listed in self._listed}
        self.startable = Startables(startable, since=self.startable.since)
        self.on_change()

    def candidates(self, name: str, endpoint: Endpoint = CHAT) -> list[Route]:
        """The deployments to try for ``name``, in order; only those that have ``endpoint``.

        A config's name comes before a model's; upper and lower case matter only where both exist.
        Of a config: least requests in flight first, ties at random. Of a model: its preferred
        config's replicas, then those of its other configs. Those that failed lately come last.

        Raises ModelNotFoundError naming what is ready, EndpointMismatchError naming what the config can do,
        NotStartedError for a config that is not ready, or NothingReadyError.
        """
        groups = self._able.get((name, endpoint.path))
        if groups is None:
            groups = self._able_groups(name, endpoint)
        if len(groups) == 1 and len(groups[0]) == 1:
            return groups[0]
        routes = [route for group in groups for route in self._balanced(group)]
        if self.health.troubled:
            # Sorting is stable: the order above stays among those that are well, and among those that are not.
            routes.sort(key=lambda route: self.health.rests(route.deployment_id))
        return routes

    def _able_groups(self, name: str, endpoint: Endpoint) -> list[list[Route]]:
        """The replicas of each config that ``name`` means, without those that lack ``endpoint``; remembered."""
        known = self._known(name)
        configs = [known] if known in self._by_config else self._configs_of_model[known]
        replicas = [self._by_config[config] for config in configs]
        able = [
            [route for route in group if (route.protocol, route.engine) in endpoint.served_by] for group in replicas
        ]
        groups = [group for group in able if group]
        if not groups:
            self.startable.refuse_as_not_started(known, endpoint)
            raise _mismatch(known, endpoint, [route for group in replicas for route in group])
        # Clients choose the spelling: what is remembered is bounded.
        if len(self._able) < 10_000:
            self._able[name, endpoint.path] = groups
        return groups

    def listed(self) -> list[ListedModel]:
        """Every name that :meth:`candidates` resolves, sorted."""
        return list(self._listed.values())

    def find(self, name: str) -> ListedModel:
        """The entry of ``name``, ready or not; raises ModelNotFoundError, NothingReadyError."""
        known = name if name in self._listed else self._folded.get(name.casefold())
        if known is not None:
            return self._listed[known]
        startable = self.startable.find(name)
        if startable is None:
            raise self._missing(name)
        return startable

    def listed_startable(self) -> list[ListedModel]:
        """Every further name that a request may start, sorted."""
        return [model for model in self.startable.listed() if model.name not in self._listed]

    def model_of(self, name: str) -> str:
        """The model that a name in any spelling means; a name that means nothing here stays as it is."""
        known = name if name in self._listed else self._folded.get(name.casefold(), name)
        replicas = self._by_config.get(known)
        return replicas[0].model if replicas else known

    def _known(self, name: str) -> str:
        if name in self._listed:
            return name
        folded = self._folded.get(name.casefold())
        if folded is None:
            self.startable.refuse_as_not_started(name)
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

    def _missing(self, name: str) -> GatewayError:
        if name in self._foreign:
            protocol, engine = self._foreign[name]
            return ModelNotFoundError(
                _("%(name)s speaks %(protocol)s on %(engine)s, which this address does not serve."),
                param="model",
                name=name,
                protocol=protocol,
                engine=engine,
            )
        if not self._listed and self.startable:
            return ModelNotFoundError(
                _("No model or config is called %(name)s. The catalogue lists all, GET /v1/models what can be asked."),
                param="model",
                name=name[:200],
            )
        if not self._listed:
            return NothingReadyError(_("No model is ready. Start one in the catalogue, or with: berth start CONFIG"))
        return ModelNotFoundError(
            _("No ready model or config is called %(name)s. Ready now: %(ready)s."),
            param="model",
            name=name[:200],
            ready=", ".join(self._listed),
        )


def _mismatch(name: str, endpoint: Endpoint, routes: list[Route]) -> EndpointMismatchError:
    able = dict.fromkeys(path for route in routes for path in served_paths(route.protocol, route.engine))
    return EndpointMismatchError(
        _("%(name)s (%(engine)s) does not serve %(path)s. It serves: %(able)s."),
        param="model",
        name=name,
        engine=", ".join(dict.fromkeys(route.engine for route in routes)),
        path=endpoint.path,
        able=", ".join(able),
    )


def _parse(raw: str) -> tuple[int, list[Route], list[Startable]]:
    known = [field.name for field in fields(Route)]
    try:
        document: dict[str, Any] = json.loads(raw)
        routes = [Route(**{name: entry[name] for name in known if name in entry}) for entry in document["routes"]]
        # A worker of an older version wrote none.
        startable = [Startable.from_entry(entry) for entry in document.get("startable", ())]
        version = int(document["version"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a routing table: {error!r}") from error
    trimmed = [route for route in routes if route.endpoint]
    return version, trimmed, startable
