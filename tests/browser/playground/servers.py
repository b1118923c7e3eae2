"""An installation of Berth with a scripted server of each kind, for whatever looks at the playground in a browser."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from tests.browser.installation import Installation, installed
from tests.installed import RUN_FOLDER

_HERE: Final = Path(__file__).parent


class Server(NamedTuple):
    """A config and the script behind it."""

    name: str
    script: str
    protocol: str = "openai-text"
    engine: str = "custom"
    readiness_path: str = "/health"
    served_name: str = ""


SERVERS: Final = (
    Server("parrot", "chatting_server.py"),
    Server("llama", "ollama_server.py", "ollama-text", "ollama", "/api/version", "tiny-llama"),
    Server("retoucher", "drawing_server.py", "openai-image"),
    Server("comfy", "faking_server.py", "openai-image", "comfyui", "/system_stats", "tiny.safetensors"),
    Server("webui", "faking_server.py", "openai-image", "sd-webui", "/internal/ping", "v1-5-pruned"),
)


def catalogue(servers: tuple[Server, ...]) -> str:
    """All of them as a file of the catalogue."""
    configs = [
        {
            "name": server.name,
            "model": "Scripted",
            "protocol": server.protocol,
            "engine": "custom",
            "runtime": "process",
            "image": "none",
            "served_name": server.served_name or server.name,
            "arguments": [sys.executable, str(_HERE / server.script), "--engine", server.engine, "--port", "{port}"],
            "port": 9000 + number,
            "readiness_path": server.readiness_path,
            "load_timeout_s": 60,
            "grace_s": 2,
        }
        for number, server in enumerate(servers)
    ]
    return yaml.safe_dump({"models": [{"name": "Scripted"}], "configs": configs}, sort_keys=False)


def as_engines(engines: list[tuple[str, str]]) -> str:
    """What calls each config's engine what it is, as Python for ``berth shell``.

    Berth runs these engines in containers only, for which there is no image here. So they are started as "custom", and
    once they are ready they are called what they are: from there on the gateway and the pages treat them as such.
    """
    return f"""
from deployments.live import publish_routes
from deployments.models import Config, Deployment
for name, engine in {engines!r}:
    Config.objects.filter(name=name).update(engine=engine)
    for run in Deployment.objects.filter(config__name=name):
        Deployment.objects.filter(pk=run.pk).update(spec=dict(run.spec, engine=engine))
publish_routes()  # nothing to do where the sweep was first
"""


@contextlib.contextmanager
def serving(folder: Path, servers: tuple[Server, ...] = SERVERS) -> Iterator[Installation]:
    """Berth in ``folder`` with each of these servers ready; all of it is stopped in the end."""
    files = folder / "data" / "catalogue"
    files.mkdir(parents=True)
    (files / "scripted.yaml").write_text(catalogue(servers))
    names = [server.name for server in servers]
    with installed(folder) as installation:
        try:
            for name in names:
                installation.command("start", name)
            for name in names:
                started = installation.command("start", name, "--wait")
                assert started.returncode == 0, started.stderr
            engines = [(server.name, server.engine) for server in servers if server.engine != "custom"]
            if engines:
                called = installation.command("shell", "-c", as_engines(engines))
                assert called.returncode == 0, called.stderr
            yield installation
        finally:
            for name in names:
                installation.command("stop", name, "--wait")


@contextlib.contextmanager
def serving_alone(servers: tuple[Server, ...]) -> Iterator[Installation]:
    """As :func:`serving`, in a folder of its own, for what is no run of tests."""
    with tempfile.TemporaryDirectory(prefix="berth-scripted-") as name:
        run = Path(name, "run")
        run.mkdir()
        os.environ[RUN_FOLDER] = str(run)
        try:
            with serving(Path(name, "installation"), servers) as installation:
                yield installation
        finally:
            del os.environ[RUN_FOLDER]
