"""From what catalogue files say to valid values, with every problem of every file reported at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import models

from deployments.config_checks import check_values
from deployments.config_names import check_config_name, check_model_name
from deployments.config_values import ConfigValues
from deployments.exceptions import CatalogueError
from deployments.models import CatalogueModel

from .reading import CatalogueFiles, Entry

MODEL_FIELDS = (
    "description",
    "parameters_b",
    "native_context_tokens",
    "layers",
    "kv_heads",
    "head_dimension",
    "vision",
)


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Valid models (their columns by name) and configs, by name."""

    models: dict[str, dict[str, Any]]
    configs: dict[str, ConfigValues]


def check_catalogue(files: CatalogueFiles, *, known_models: Collection[str]) -> Catalogue:
    """Check all entries. ``known_models`` are models that the database has besides those of the files.

    Raises CatalogueError with one line for each problem, as ``file:line: config NAME: field: reason``.
    """
    problems = list(files.problems)
    found_models: dict[str, dict[str, Any]] = {}
    for name, entry in _by_name(files.models, "model", problems).items():
        found_models[name] = _checked_model(entry, problems)
    configs: dict[str, ConfigValues] = {}
    names = {*known_models, *found_models}
    for name, entry in _by_name(files.configs, "config", problems).items():
        problems.extend(_told(entry, "config", "name", reason) for reason in check_config_name(name))
        checked = check_values(entry.values, models=names)
        problems.extend(
            _told(entry, "config", problem.field, problem.message, item=problem.item) for problem in checked.problems
        )
        if checked.values is not None:
            configs[name] = checked.values
    if problems:
        raise CatalogueError("\n".join(dict.fromkeys(problems)))
    return Catalogue(models=found_models, configs=configs)


def _by_name(entries: list[Entry], kind: str, problems: list[str]) -> dict[str, Entry]:
    """Entries by name. One of a later folder replaces that of an earlier one; twice in one folder is a problem."""
    found: dict[str, Entry] = {}
    for entry in entries:
        first = found.get(entry.name)
        if first is not None and first.folder == entry.folder:
            reason = f"the same name stands in {first.file}:{first.line('')}"
            problems.append(_told(entry, kind, "name", reason))
        found[entry.name] = entry
    return found


def _checked_model(entry: Entry, problems: list[str]) -> dict[str, Any]:
    problems.extend(_told(entry, "model", "name", reason) for reason in check_model_name(entry.name))
    values: dict[str, Any] = {}
    for key, value in entry.values.items():
        if key not in MODEL_FIELDS:
            known = ", ".join(("name", *MODEL_FIELDS))
            problems.append(_told(entry, "model", key, f"There is no such field. Known fields: {known}."))
            continue
        try:
            column = cast("models.Field[Any, Any]", CatalogueModel._meta.get_field(key))
            values[key] = column.clean(value, None)
        except ValidationError as error:
            problems.extend(_told(entry, "model", key, text) for text in error.messages)
    return values


def _told(entry: Entry, kind: str, field: str, reason: str, *, item: int | str | None = None) -> str:
    return f"{entry.file}:{entry.line(field, item)}: {kind} {entry.name}: {field}: {reason}"
