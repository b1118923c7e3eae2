"""Reads for the pages of the editor. Query counts are constant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Prefetch
from django.utils.translation import gettext as _

from .compose.proposal import KnownModels
from .config_values import ConfigValues
from .exceptions import NotFoundError
from .lifecycle.phases import ENDED
from .models import Attempt, CatalogueModel, Config, ConfigRevision, Deployment
from .revisions import FieldChange, diff_specs, diff_values

RUNS_SHOWN = 20
REVISIONS_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class ConfigRuns:
    """What runs of a config now, and its newest runs, live ones among them."""

    config: Config
    live: Sequence[Deployment]
    drifts: Sequence[Drift]
    runs: Sequence[PastRun]

    @property
    def deployment(self) -> Deployment | None:
        """The newest live run, else the newest run."""
        return self.live[0] if self.live else (self.runs[0].deployment if self.runs else None)


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """``to_ready`` is the time from Start to the first answer, ``load`` that of its last attempt from its launch.

    None when it never answered. ``peak_gib`` is the most GPU memory that any of its attempts was seen to hold.
    """

    deployment: Deployment
    to_ready: timedelta | None
    load: timedelta | None = None
    peak_gib: float | None = None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A live run whose frozen specification is no longer the config's."""

    deployment: Deployment
    changes: Sequence[FieldChange]


def find_any_config(name: str) -> Config:
    """The config of that name with its model, removed ones included. Raises NotFoundError naming near ones."""
    config = Config.objects.select_related("model").filter(name=name).first()
    if config is not None:
        return config
    names = Config.objects.values_list("name", flat=True)
    near = ", ".join(difflib.get_close_matches(name, names, n=3))
    told = " " + _("Near names: %(near)s.") % {"near": near} if near else ""
    raise NotFoundError(_("There is no config “%(name)s”.") % {"name": name} + told)


def config_runs(config: Config) -> ConfigRuns:
    """The runs of ``config``: three queries."""
    known = Deployment.objects.filter(config=config).select_related("node")
    live = list(known.exclude(phase__in=ENDED))
    current = config.serving_spec()
    changes = ((item, diff_specs(item.serving_spec(), current)) for item in live)
    return ConfigRuns(
        config=config,
        live=live,
        drifts=[Drift(deployment=item, changes=differing) for item, differing in changes if differing],
        runs=[
            past_run(item)
            for item in known.prefetch_related(Prefetch("attempts", Attempt.objects.defer("log")))[:RUNS_SHOWN]
        ],
    )


def past_run(deployment: Deployment) -> PastRun:
    attempts = list(deployment.attempts.all())
    answers = [attempt.ready_at for attempt in attempts if attempt.ready_at]
    loads = [attempt.ready_at - attempt.started_at for attempt in attempts if attempt.ready_at]
    peaks = [attempt.peak_memory_bytes for attempt in attempts if attempt.peak_memory_bytes is not None]
    return PastRun(
        deployment=deployment,
        to_ready=min(answers) - deployment.created_at if answers else None,
        load=loads[-1] if loads else None,
        peak_gib=max(peaks) / 1024**3 if peaks else None,
    )


def config_revisions(config: Config) -> Sequence[ConfigRevision]:
    """The newest revisions of ``config``, newest first: one query."""
    return list(config.revisions.defer("values")[:REVISIONS_SHOWN])


def revision_changes(revision: ConfigRevision) -> Sequence[FieldChange]:
    """What a revision changed against the one before it: one query."""
    before = ConfigRevision.objects.filter(config=revision.config_id, number__lt=revision.number).first()
    old = ConfigValues.from_json(before.values) if before else None
    return diff_values(old, ConfigValues.from_json(revision.values))


def changes_since(config: Config, number: int) -> Sequence[FieldChange]:
    """What others changed in ``config`` since revision ``number``; nothing when that never existed."""
    base = config.revisions.filter(number=number).first()
    return diff_values(ConfigValues.from_json(base.values), ConfigValues.of(config)) if base else []


def removed_configs() -> Sequence[Config]:
    """Configs that were taken out of the catalogue, the newest first."""
    removed = Config.objects.filter(archived_at__isnull=False).select_related("model")
    return list(removed.order_by(F("archived_at").desc()))


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model with the names of the configs that serve it."""

    model: CatalogueModel
    configs: Sequence[str]


def model_rows() -> Sequence[ModelRow]:
    """Every model with its configs: two queries."""
    models = CatalogueModel.objects.prefetch_related("configs")
    return [
        ModelRow(
            model=model,
            configs=[each.name for each in model.configs.all() if each.archived_at is None and not each.is_draft],
        )
        for model in models
    ]


def known_models() -> KnownModels:
    """The names of all models, and which one each weights repository of the catalogue belongs to: two queries."""
    served = Config.objects.exclude(weights_repository="").values_list("weights_repository", "model__name")
    return KnownModels(names=tuple(model_names()), by_repository=dict(served.order_by("-pk")))


def model_names() -> Sequence[str]:
    """The names of all models, in order: one query."""
    return list(CatalogueModel.objects.values_list("name", flat=True))
