"""What a config would run, readable: as argv and environment, as ``docker run`` and as Compose."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import yaml

from .engines import engine_named
from .exceptions import LaunchError
from .images.settings import ImageSettings, image_settings
from .models.catalogue import RuntimeName
from .secret_references import referred_names, shown_value, split_references
from .spec import ServingSpec
from .volumes import Volume

NO_NEW_PRIVILEGES = "no-new-privileges"
#: As :mod:`deployments.runtimes.docker.options` sets them for GPUs, which pin memory of the host.
ULIMITS = {"memlock": -1, "stack": 64 * 1024 * 1024}


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
    shown = tuple((name, shown_value(name, value)) for name, value in spec.engine_environment)
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
            for name, value in shown
        ),
        mounts=tuple((volume.source, volume.target) for volume in map(Volume.parse, spec.volumes)),
        command=shlex.join(argv),
        docker_run=_docker_run(spec, shown) if in_container else "",
        compose=_compose(spec, shown) if in_container else "",
        images=image_settings(dict(spec.environment), spec.engine),
    )


def _process_command(spec: ServingSpec) -> tuple[str, ...]:
    try:
        return engine_named(spec.engine).process_command(spec)
    except LaunchError:
        return ()


def _docker_run(spec: ServingSpec, environment: tuple[tuple[str, str], ...]) -> str:
    """One command for a POSIX shell, an option a line. References are left to the shell that runs it."""
    options = [["--rm"], ["--init"], ["--security-opt", NO_NEW_PRIVILEGES], ["--name", spec.config]]
    if spec.gpus:
        options.append(["--gpus", str(spec.gpus)])
        options += [["--ulimit", f"{name}={value}"] for name, value in ULIMITS.items()]
    if spec.shared_memory:
        options.append(["--shm-size", spec.shared_memory])
    options.append(["--publish", f"127.0.0.1:{spec.port}:{spec.port}"])
    lines = [shlex.join(option) for option in options]
    lines += [f"--env {_shell_assignment(name, value)}" for name, value in environment]
    lines += [shlex.join(["--volume", volume]) for volume in spec.volumes]
    # The option takes a program without arguments; these come first of what follows the image.
    lines += [shlex.join(["--entrypoint", program]) for program in spec.entrypoint[:1]]
    lines += [spec.image, *(shlex.join(words) for words in _by_option(spec.entrypoint[1:] + spec.arguments))]
    return "docker run " + " \\\n  ".join(lines)


def _by_option(arguments: tuple[str, ...]) -> list[list[str]]:
    """The arguments as lines: each option begins one, and its values follow it."""
    lines: list[list[str]] = []
    for argument in arguments:
        if not lines or argument.startswith("-"):
            lines.append([])
        lines[-1].append(argument)
    return lines


def _shell_assignment(name: str, value: str) -> str:
    """``NAME=value`` for a shell: literal text quoted, each ``${REFERENCE}`` within double quotes."""
    pieces = [f'"${{{text}}}"' if reference else shlex.quote(text) for text, reference in split_references(value)]
    return f"{name}={''.join(pieces)}"


def _compose(spec: ServingSpec, environment: tuple[tuple[str, str], ...]) -> str:
    """A Compose file with one service. A literal ``$`` is doubled, since Compose substitutes too."""
    service: dict[str, Any] = {"image": spec.image, "init": True, "security_opt": [NO_NEW_PRIVILEGES]}
    if spec.entrypoint:
        service["entrypoint"] = [part.replace("$", "$$") for part in spec.entrypoint]
    if spec.arguments:
        service["command"] = [argument.replace("$", "$$") for argument in spec.arguments]
    if environment:
        service["environment"] = {name: _compose_value(value) for name, value in environment}
    service["ports"] = [f"127.0.0.1:{spec.port}:{spec.port}"]
    if spec.volumes:
        service["volumes"] = list(spec.volumes)
    if spec.shared_memory:
        service["shm_size"] = spec.shared_memory
    if spec.gpus:
        gpu = {"driver": "nvidia", "count": spec.gpus, "capabilities": ["gpu"]}
        service["ulimits"] = dict(ULIMITS)
        service["deploy"] = {"resources": {"reservations": {"devices": [gpu]}}}
    document: dict[str, Any] = {"services": {spec.config: service}}
    names = [volume.source for volume in map(Volume.parse, spec.volumes) if not volume.is_host_path]
    if names:
        document["volumes"] = dict.fromkeys(names)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def _compose_value(value: str) -> str:
    return "".join(
        f"${{{text}}}" if reference else text.replace("$", "$$") for text, reference in split_references(value)
    )
