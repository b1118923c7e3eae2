"""The specification of a run: frozen when a deployment is made, so that later edits do not touch it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from .images import IMAGE_VARIABLES


@dataclass(frozen=True, kw_only=True)
class ServingSpec:
    """Everything that decides what runs, from one revision of a config.

    ``entrypoint`` replaces the image's own unless empty. ``arguments`` is what follows the entry point (or
    the engine's command in the process runtime); ``${NAME}`` in ``environment`` values is substituted from the
    host's secrets at launch, so that no secret is stored here. ``volumes`` are ``name:/path`` pairs. ``image``
    names a container image, or a bundle of wheels for the process runtime.
    """

    config: str
    model: str
    protocol: str
    engine: str
    runtime: str
    image: str
    served_name: str
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    port: int = 8000
    readiness_path: str = "/health"
    gpus: int = 0
    memory_gib: float = 0
    shared_memory: str = ""
    context_tokens: int | None = None
    weights_gb: float | None = None
    load_timeout_s: int = 600
    grace_s: int = 20
    max_attempts: int = 3
    restart_unhealthy: bool = False
    stop_after_idle_minutes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; :meth:`from_json` is its inverse."""
        data = dataclasses.asdict(self)
        data["entrypoint"] = list(self.entrypoint)
        data["arguments"] = list(self.arguments)
        data["environment"] = dict(self.environment)
        data["volumes"] = list(self.volumes)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ServingSpec:
        """Rebuild from :meth:`to_json`; unknown keys of newer versions are ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        kept = {key: value for key, value in data.items() if key in known}
        kept["entrypoint"] = tuple(kept.get("entrypoint", ()))
        kept["arguments"] = tuple(kept.get("arguments", ()))
        kept["environment"] = tuple(sorted(dict(kept.get("environment", {})).items()))
        kept["volumes"] = tuple(kept.get("volumes", ()))
        return cls(**kept)

    @property
    def engine_environment(self) -> tuple[tuple[str, str], ...]:
        """What the engine gets: the settings of images are for the gateway, and longer than a variable may be."""
        return tuple((name, value) for name, value in self.environment if name not in IMAGE_VARIABLES)

    @property
    def digest(self) -> str:
        """SHA-256 in hex over the canonical JSON: equal digests mean the same run."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
