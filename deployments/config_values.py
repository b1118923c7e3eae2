"""What a person or a catalogue file decides about a config, apart from its name and history."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.db import models

from .models import CatalogueModel, Config
from .spec import ServingSpec


@dataclass(frozen=True, kw_only=True)
class ConfigValues:
    """Every editable field of a config, under the names of the columns; ``model`` by its name.

    Build it through :func:`deployments.config_checks.check_values`, which alone says what is valid.
    Units are those of :class:`deployments.models.Config`.
    """

    model: str
    protocol: str
    engine: str
    runtime: str = "docker"
    image: str
    served_name: str
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    port: int
    readiness_path: str
    gpus: int = 0
    memory_gib: float = 0.0
    shared_memory: str = ""
    context_tokens: int | None = None
    concurrent_requests: int = 1
    weights_repository: str = ""
    quantisation: str = ""
    weights_gb: float | None = None
    licence: str = ""
    licence_note: str = ""
    gated: bool = False
    notes: str = ""
    load_timeout_s: int = 900
    grace_s: int = 20
    max_attempts: int = 3
    restart_unhealthy: bool = False
    start_on_request: bool = False
    stop_after_idle_minutes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object, as ConfigRevision.values keeps it; :meth:`from_json` is its inverse."""
        data = dataclasses.asdict(self)
        data["entrypoint"] = list(self.entrypoint)
        data["arguments"] = list(self.arguments)
        data["environment"] = dict(self.environment)
        data["volumes"] = list(self.volumes)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ConfigValues:
        """Rebuild from :meth:`to_json`; unknown keys of newer versions are ignored."""
        kept = {key: value for key, value in data.items() if key in FIELD_NAMES}
        kept["entrypoint"] = tuple(kept.get("entrypoint", ()))
        kept["arguments"] = tuple(kept.get("arguments", ()))
        kept["environment"] = tuple(sorted(dict(kept.get("environment", {})).items()))
        kept["volumes"] = tuple(kept.get("volumes", ()))
        return cls(**kept)

    @classmethod
    def of(cls, config: Config) -> ConfigValues:
        """The current values of ``config``; reads its model, so select it with the config."""
        own = {name: getattr(config, name) for name in FIELD_NAMES if name != "model"}
        return cls.from_json({**own, "model": config.model.name})

    def write_to(self, config: Config, model: CatalogueModel) -> None:
        """Set the columns of ``config``, unsaved. ``model`` is the row that :attr:`model` names."""
        for name, value in self.to_json().items():
            if name != "model":
                setattr(config, name, value)
        config.model = model

    def serving_spec(self, name: str) -> ServingSpec:
        """What would run if a config called ``name`` had these values."""
        shared = {key: value for key, value in self.to_json().items() if key in _SPEC_FIELDS}
        return ServingSpec.from_json({**shared, "config": name})

    @property
    def digest(self) -> str:
        """SHA-256 in hex over all values that differ from their defaults.

        Defaults are left out so that a field which a newer version adds changes no digest.
        """
        told = {name: value for name, value in self.to_json().items() if value != _DEFAULTS.get(name, _ABSENT)}
        canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


_ABSENT = object()
_FIELDS = dataclasses.fields(ConfigValues)
FIELD_NAMES: tuple[str, ...] = tuple(field.name for field in _FIELDS)
REQUIRED: frozenset[str] = frozenset(field.name for field in _FIELDS if field.default is dataclasses.MISSING)
_SPEC_FIELDS: frozenset[str] = frozenset(field.name for field in dataclasses.fields(ServingSpec))
_DEFAULTS: dict[str, Any] = {
    **{field.name: field.default for field in _FIELDS if field.name not in REQUIRED},
    "entrypoint": [],
    "arguments": [],
    "environment": {},
    "volumes": [],
}


def column(name: str) -> models.Field[Any, Any]:
    """The column that holds a field."""
    return cast("models.Field[Any, Any]", Config._meta.get_field(name))


def field_label(name: str) -> str:
    """The translated name of a field, as forms, diffs and messages show it."""
    if name == "name":
        return str(column("name").verbose_name)
    return str(column(name).verbose_name) if name in FIELD_NAMES else name
