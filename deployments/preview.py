"""What a config would run, readable: as argv and environment, as ``docker run`` and as Compose."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass

from .compose.writing import compose_file, docker_run, shown_environment
from .engines import engine_named
from .exceptions import LaunchError
from .images.settings import ImageSettings, image_settings
from .models.catalogue import RuntimeName
from .secret_references import referred_names
from .spec import ServingSpec
from .volumes import Volume


@dataclass(frozen=True, kw_only=True)
class EnvironmentLine:
    """A variable as a page shows it. ``unset`` are the secrets it refers to that this host has not set."""

    name: str
    value: str
    refers_to: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunPreview:
    """``docker_run`` and ``compose`` are text to copy, empty in the process runtime; ``command`` is always set.

    ``images`` is what the gateway makes of requests for images; None for engines of other kinds.
    """

    runtime: str
    image: str
    argv: tuple[str, ...]
    environment: tuple[EnvironmentLine, ...]
    mounts: tuple[tuple[str, str], ...]
    command: str
    docker_run: str = ""
    compose: str = ""
    images: ImageSettings | None = None


def preview_run(spec: ServingSpec, *, secrets: Collection[str]) -> RunPreview:
    """What starting ``spec`` would run; ``secrets`` are the names of those that this host has set."""
    in_container = spec.runtime == RuntimeName.DOCKER
    argv = (*spec.entrypoint, *spec.arguments) if in_container else (*_process_command(spec), *spec.arguments)
    return RunPreview(
        runtime=spec.runtime,
        image=spec.image,
        argv=argv,
        environment=tuple(
            EnvironmentLine(
                name=name,
                value=value,
                refers_to=tuple(referred_names(value)),
                unset=tuple(used for used in referred_names(value) if used not in secrets),
            )
            for name, value in shown_environment(spec)
        ),
        mounts=tuple((volume.source, volume.target) for volume in map(Volume.parse, spec.volumes)),
        command=shlex.join(argv),
        docker_run=docker_run(spec) if in_container else "",
        compose=compose_file(spec) if in_container else "",
        images=image_settings(dict(spec.environment), spec.engine),
    )


def _process_command(spec: ServingSpec) -> tuple[str, ...]:
    try:
        return engine_named(spec.engine).process_command(spec)
    except LaunchError:
        return ()
