"""Loads the catalogue files into the database, without ever overwriting what a person edited."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from deployments.actors import EDIT_CATALOGUE, Actor
from deployments.audit import record_audit
from deployments.config_values import ConfigValues
from deployments.models import CatalogueModel, Config
from deployments.services.revisions import write_revision

from .checking import Catalogue, check_catalogue
from .reading import BUILT_IN, CatalogueFiles, read_catalogue


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Names of configs. ``kept`` differ from their file because a person edited, made or removed them."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    models_created: tuple[str, ...] = ()
    models_updated: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.created or self.updated or self.models_created or self.models_updated)


def own_folder() -> Path:
    """Where an installation keeps catalogue files of its own; they may replace built-in entries."""
    return Path(settings.BERTH_DATA_DIR) / "catalogue"


def load_catalogue(actor: Actor, *, folders: list[Path] | None = None) -> LoadReport:
    """Bring new and changed entries of the files into the database. Repeatable: a second run writes nothing.

    A config that nobody touched since the files last wrote it follows its file, as a revision by ``actor``;
    one that a person edited stays, and so does one that left the files. Everything is checked first and
    written in one transaction. Raises CatalogueError naming every problem by file and line, or
    NotAllowedError.
    """
    actor.require(EDIT_CATALOGUE)
    files = read_catalogue([BUILT_IN, own_folder()] if folders is None else folders)
    try:
        return _load(files, actor)
    except IntegrityError:
        # Another process loaded the same files meanwhile: see what is left to do.
        return _load(files, actor)


def _load(files: CatalogueFiles, actor: Actor) -> LoadReport:
    plan = _plan(files)
    if not plan.report.changed:
        return plan.report
    with transaction.atomic():
        # Planned again inside the transaction, which holds the lock on SQLite.
        plan = _plan(files)
        _write(plan, actor)
        return plan.report


@dataclass(frozen=True, kw_only=True)
class _Plan:
    report: LoadReport
    catalogue: Catalogue
    models: dict[str, CatalogueModel]
    configs: dict[str, Config]
    files: dict[str, str]


def _plan(files: CatalogueFiles) -> _Plan:
    """What to do, from two queries."""
    models = {model.name: model for model in CatalogueModel.objects.all()}
    configs = {config.name: config for config in Config.objects.select_related("model")}
    catalogue = check_catalogue(files, known_models=models)
    sorts: dict[str, list[str]] = {"created": [], "updated": [], "kept": [], "unchanged": []}
    for name, values in catalogue.configs.items():
        sorts[_sort(configs.get(name), values)].append(name)
    report = LoadReport(
        **{sort: tuple(names) for sort, names in sorts.items()},
        models_created=tuple(name for name in catalogue.models if name not in models),
        models_updated=tuple(name for name, values in catalogue.models.items() if _follows(models.get(name), values)),
    )
    return _Plan(
        report=report,
        catalogue=catalogue,
        models=models,
        configs=configs,
        files={entry.name: Path(entry.file).name for entry in files.models},
    )


def _sort(config: Config | None, values: ConfigValues) -> str:
    if config is None:
        return "created"
    if config.catalogue_digest == values.digest:
        return "unchanged"
    untouched = config.archived_at is None and config.catalogue_digest == ConfigValues.of(config).digest
    return "updated" if untouched else "kept"


def _follows(model: CatalogueModel | None, values: dict[str, Any]) -> bool:
    """Whether a model still follows its file, which a person's edit ends, and differs from it."""
    return (
        model is not None
        and bool(model.catalogue_file)
        and any(getattr(model, key) != value for key, value in values.items())
    )


def _write(plan: _Plan, actor: Actor) -> None:
    for name in plan.report.models_created:
        model = CatalogueModel(name=name, catalogue_file=plan.files[name], **plan.catalogue.models[name])
        model.save()
        plan.models[name] = model
    for name in plan.report.models_updated:
        model = plan.models[name]
        for key, value in plan.catalogue.models[name].items():
            setattr(model, key, value)
        model.save()
    for name in (*plan.report.created, *plan.report.updated):
        values = plan.catalogue.configs[name]
        config = plan.configs.get(name) or Config(name=name)
        config.catalogue_digest = values.digest
        write_revision(config, values, plan.models[values.model], actor=actor)
    record_audit(
        actor,
        "catalogue.load",
        "catalogue",
        created=list(plan.report.created),
        updated=list(plan.report.updated),
        models=[*plan.report.models_created, *plan.report.models_updated],
    )
