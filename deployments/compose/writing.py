"""A run as ``docker run`` and as a Compose file that :mod:`deployments.compose.importing` reads back.

Both say what :mod:`deployments.runtimes.docker.options` gives, as far as Docker's own tools can.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from django.utils.translation import gettext as _

from deployments.config_values import ConfigValues
from deployments.exceptions import ComposeError
from deployments.models.catalogue import RuntimeName
from deployments.secret_references import referred_names, shown_value, split_references
from deployments.spec import ServingSpec
from deployments.volumes import Volume

from .extension import extension_of
from .proposal import EXTENSION

NO_NEW_PRIVILEGES = "no-new-privileges"
#: As :mod:`deployments.runtimes.docker.options` sets them for GPUs, which pin memory of the host.
ULIMITS = {"memlock": -1, "stack": 64 * 1024 * 1024}
#: Engines whose images have neither curl nor wget nor Python, but a client of their own.
_OWN_CLIENTS = {"ollama": ["CMD", "ollama", "list"]}
_ASK_WITH_PYTHON = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"


def config_as_compose(name: str, values: ConfigValues, *, origin: str = "") -> str:
    """A Compose file from which an import makes the same config. ``origin`` is told in its first line.

    Raises ComposeError for a config that runs as a process: there is no container to describe.
    """
    if values.runtime != RuntimeName.DOCKER:
        message = _("“%(name)s” runs as a process of the host and in no container, so that no Compose file can say it.")
        raise ComposeError(message % {"name": name})
    spec = values.serving_spec(name)
    secrets = sorted({used for _name, value in spec.engine_environment for used in referred_names(value)})
    head = [f"# {origin or name}, as Berth runs it. {EXTENSION} is what Compose has no words for; an import reads it."]
    head += [f"# Set {', '.join(secrets)} in the environment, or in a file .env beside this one."] if secrets else []
    return "\n".join(head) + "\n" + compose_file(spec, extension=extension_of(values))


def compose_file(spec: ServingSpec, *, extension: Mapping[str, Any] | None = None) -> str:
    """A Compose file with one service. A literal ``$`` is doubled, since Compose substitutes too."""
    service: dict[str, Any] = {"image": spec.image, "init": True, "security_opt": [NO_NEW_PRIVILEGES]}
    if spec.entrypoint:
        service["entrypoint"] = _plain(spec.entrypoint)
    if spec.arguments:
        service["command"] = _plain(spec.arguments)
    if environment := shown_environment(spec):
        service["environment"] = {name: _with_references(value) for name, value in environment}
    service["ports"] = [f"127.0.0.1:{spec.port}:{spec.port}"]
    if spec.volumes:
        service["volumes"] = _plain(spec.volumes)
    if spec.shared_memory:
        service["shm_size"] = spec.shared_memory
    if spec.gpus:
        gpu = {"driver": "nvidia", "count": spec.gpus, "capabilities": ["gpu"]}
        service["ulimits"] = dict(ULIMITS)
        service["deploy"] = {"resources": {"reservations": {"devices": [gpu]}}}
    service["healthcheck"] = _health_check(spec)
    service["restart"] = f"on-failure:{spec.max_attempts - 1}" if spec.max_attempts > 1 else "no"
    service["stop_grace_period"] = f"{spec.grace_s}s"
    if extension:
        service[EXTENSION] = _plain(dict(extension))
    document: dict[str, Any] = {"services": {spec.config: service}}
    names = [volume.source for volume in map(Volume.parse, spec.volumes) if not volume.is_host_path]
    if names:
        document["volumes"] = dict.fromkeys(names)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def docker_run(spec: ServingSpec) -> str:
    """One command for a POSIX shell, an option a line. References are left to the shell that runs it."""
    options = [["--rm"], ["--init"], ["--security-opt", NO_NEW_PRIVILEGES], ["--name", spec.config]]
    if spec.gpus:
        options.append(["--gpus", str(spec.gpus)])
        options += [["--ulimit", f"{name}={value}"] for name, value in ULIMITS.items()]
    if spec.shared_memory:
        options.append(["--shm-size", spec.shared_memory])
    options.append(["--publish", f"127.0.0.1:{spec.port}:{spec.port}"])
    options.append(["--stop-timeout", str(spec.grace_s)])
    lines = [shlex.join(option) for option in options]
    lines += [f"--env {_shell_assignment(name, value)}" for name, value in shown_environment(spec)]
    lines += [shlex.join(["--volume", volume]) for volume in spec.volumes]
    # The option takes a program without arguments; these come first of what follows the image.
    lines += [shlex.join(["--entrypoint", program]) for program in spec.entrypoint[:1]]
    lines += [spec.image, *(shlex.join(words) for words in _by_option(spec.entrypoint[1:] + spec.arguments))]
    return "docker run " + " \\\n  ".join(lines)


def shown_environment(spec: ServingSpec) -> tuple[tuple[str, str], ...]:
    """What the engine gets, with references as they are and a literal secret of an older revision hidden."""
    return tuple((name, shown_value(name, value)) for name, value in spec.engine_environment)


def _by_option(arguments: Sequence[str]) -> list[list[str]]:
    """The arguments as lines: each option begins one, and its values follow it."""
    lines: list[list[str]] = []
    for argument in arguments:
        if not lines or argument.startswith("-"):
            lines.append([])
        lines[-1].append(argument)
    return lines


def _health_check(spec: ServingSpec) -> dict[str, Any]:
    """The readiness path, asked from within the container with whatever the image has."""
    url = shlex.quote(f"http://127.0.0.1:{spec.port}{spec.readiness_path}")
    tries = (f"curl -fsSo /dev/null {url}", f"wget -qO /dev/null {url}", f"python3 -c '{_ASK_WITH_PYTHON}' {url}")
    script = " || ".join(tries).replace("$", "$$")
    test = _OWN_CLIENTS.get(spec.engine, ["CMD-SHELL", script])
    return {"test": list(test), "interval": "30s", "timeout": "10s", "start_period": f"{spec.load_timeout_s}s"}


def _shell_assignment(name: str, value: str) -> str:
    """``NAME=value`` for a shell: literal text quoted, each ``${REFERENCE}`` within double quotes."""
    pieces = [f'"${{{text}}}"' if reference else shlex.quote(text) for text, reference in split_references(value)]
    return f"{name}={''.join(pieces)}"


def _with_references(value: str) -> str:
    return "".join(
        f"${{{text}}}" if reference else text.replace("$", "$$") for text, reference in split_references(value)
    )


def _plain(value: Any) -> Any:
    """``value`` with every ``$`` of its texts doubled."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
