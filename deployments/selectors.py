"""Reads that pages, commands and the gateway share. Query counts are constant."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from django.db.models import Max, Q, QuerySet
from django.utils.translation import gettext as _

from .exceptions import NotFoundError
from .images import DEFAULTS_VARIABLE, WORKFLOW_VARIABLE
from .lifecycle.phases import ENDED, Phase
from .lifecycle.reasons import PAUSED
from .models import CatalogueModel, Config, Deployment
from .placement.fits import Fits


@dataclass(frozen=True, kw_only=True)
class CatalogueRow:
    """A config with its live deployment, else its last one, else None.

    ``fits`` tells where a start would go; None for a config that runs, and where nobody asked.
    """

    config: Config
    deployment: Deployment | None
    fits: Fits | None = None

    @property
    def is_live(self) -> bool:
        """Whether something of it runs or is on its way."""
        return self.deployment is not None and self.deployment.is_live


@dataclass(frozen=True, kw_only=True)
class ReadyEndpoint:
    """Where a ready deployment is asked; JSON of this is the gateway's routing table.

    ``digest`` is that of its specification. ``workflow`` and ``image_defaults`` are JSON from the config's environment,
    for engines of images.
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
    digest: str = ""
    workflow: str = ""
    image_defaults: str = ""


@dataclass(frozen=True, kw_only=True)
class StartableConfig:
    """A config of the catalogue that no ready run serves; JSON of this is in the gateway's routing table.

    ``may_start`` tells whether a request may start it. ``load_timeout_s`` bounds how long requests wait for it.
    """

    config: str
    model: str
    protocol: str
    engine: str
    may_start: bool
    load_timeout_s: int


def live_deployments() -> QuerySet[Deployment]:
    """Deployments that have not ended, newest first."""
    return Deployment.objects.exclude(phase__in=ENDED).select_related("config__model", "node")


def catalogue_rows() -> list[CatalogueRow]:
    """Every config in the catalogue, by name. Three queries, however many past deployments there are.

    While one run replaces another, the row is of the one that serves.
    """
    latest = Deployment.objects.values("config").annotate(
        newest=Max("pk"), live=Max("pk", filter=~Q(phase__in=ENDED)), ready=Max("pk", filter=Q(phase=Phase.READY))
    )
    wanted = [row["ready"] or row["live"] or row["newest"] for row in latest]
    found = {item.config_id: item for item in Deployment.objects.filter(pk__in=wanted).select_related("node")}
    configs = Config.objects.filter(archived_at=None, is_draft=False).select_related("model")
    return [CatalogueRow(config=config, deployment=found.get(config.pk)) for config in configs]


def ready_endpoints() -> list[ReadyEndpoint]:
    """Every deployment that answers requests, ordered by config and deployment; a paused one would never answer."""
    # Only here: a gateway reads states through this module and needs no engine, nor their HTTP client.
    from .engines import engine_named

    ready = Deployment.objects.filter(phase=Phase.READY).exclude(reason=PAUSED)
    ready = ready.select_related("node").order_by("config__name", "pk")
    # Of a run and its replacement one is in the table: they change places in one version of it.
    ready = ready.exclude(replacements__phase=Phase.READY)
    endpoints = []
    for deployment in ready:
        spec = deployment.serving_spec()
        environment = dict(spec.environment)
        endpoints.append(
            ReadyEndpoint(
                deployment_id=deployment.pk,
                config=spec.config,
                model=spec.model,
                protocol=spec.protocol,
                engine=spec.engine,
                served_name=spec.served_name,
                endpoint=deployment.endpoint,
                node=deployment.node.name if deployment.node else "",
                keyed=bool(engine_named(spec.engine).key_variable),
                digest=spec.digest,
                workflow=environment.get(WORKFLOW_VARIABLE, ""),
                image_defaults=environment.get(DEFAULTS_VARIABLE, ""),
            )
        )
    return endpoints


def startable_configs() -> list[StartableConfig]:
    """Every config in the catalogue without a ready run, by name: one query."""
    idle = Config.objects.filter(archived_at=None, is_draft=False).exclude(deployments__phase=Phase.READY)
    return [
        StartableConfig(
            config=config.name,
            model=config.model.name,
            protocol=config.protocol,
            engine=config.engine,
            may_start=config.start_on_request,
            load_timeout_s=config.load_timeout_s,
        )
        for config in idle.select_related("model").order_by("name")
    ]


def live_runs(config_name: str) -> list[Deployment]:
    """The runs of a config that have not ended, oldest first. Raises NotFoundError for an unknown config."""
    return list(live_deployments().filter(config=find_config(config_name)).order_by("pk"))


def find_config(name: str) -> Config:
    """The config of that name. Raises NotFoundError naming near ones."""
    config = Config.objects.select_related("model").filter(name=name, archived_at=None).first()
    if config is not None:
        return config
    names = list(Config.objects.filter(archived_at=None).values_list("name", flat=True))
    raise NotFoundError(_("There is no config “%(name)s”.") % {"name": name} + near_names(name, names))


def configs_serving(name: str) -> list[Config]:
    """Configs that ``name`` (a config or a model) means. Raises NotFoundError naming near ones."""
    known = Config.objects.filter(archived_at=None).select_related("model")
    found = list(known.filter(Q(name=name) | Q(model__name__iexact=name, is_draft=False)))
    if found:
        return found
    names = [*known.values_list("name", flat=True), *CatalogueModel.objects.values_list("name", flat=True)]
    raise NotFoundError(_("There is no model or config “%(name)s”.") % {"name": name} + near_names(name, names))


def near_names(name: str, names: list[str]) -> str:
    """“ Did you mean …?”, or where to find the list; begins with a space."""
    near = difflib.get_close_matches(name.lower(), sorted(set(names)), n=3, cutoff=0.5)
    if near:
        return " " + _("Did you mean %(names)s?") % {"names": ", ".join(near)}
    return " " + _("List them with: berth configs")
