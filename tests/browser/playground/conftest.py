"""One installation with a scripted server of each kind for all tests of the playground."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, StorageState

from tests.browser.conftest import new_profile, sign_in
from tests.browser.installation import Installation, installed

_HERE: Final = Path(__file__).parent


class _Server(NamedTuple):
    """A config and the script behind it."""

    name: str
    script: str
    protocol: str = "openai-text"
    engine: str = "custom"
    readiness_path: str = "/health"
    served_name: str = ""


SERVERS: Final = (
    _Server("parrot", "chatting_server.py"),
    _Server("llama", "ollama_server.py", "ollama-text", "ollama", "/api/version", "tiny-llama"),
    _Server("retoucher", "drawing_server.py", "openai-image"),
    _Server("comfy", "faking_server.py", "openai-image", "comfyui", "/system_stats", "tiny.safetensors"),
    _Server("webui", "faking_server.py", "openai-image", "sd-webui", "/internal/ping", "v1-5-pruned"),
)


#: Berth runs these engines in containers only, for which there is no image here. So they are started as "custom", and
#: once they are ready they are called what they are: from there on the gateway and the pages treat them as such.
AS_ENGINES: Final = f"""
from deployments.live import publish_routes
from deployments.models import Config, Deployment
for name, engine in {[(server.name, server.engine) for server in SERVERS]!r}:
    Config.objects.filter(name=name).update(engine=engine)
    for run in Deployment.objects.filter(config__name=name):
        Deployment.objects.filter(pk=run.pk).update(spec=dict(run.spec, engine=engine))
assert publish_routes()
"""


def catalogue() -> str:
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
        for number, server in enumerate(SERVERS)
    ]
    return yaml.safe_dump({"models": [{"name": "Scripted"}], "configs": configs}, sort_keys=False)


@pytest.fixture(scope="package")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Berth with every server ready."""
    folder = tmp_path_factory.mktemp("berth-playground")
    files = folder / "data" / "catalogue"
    files.mkdir(parents=True)
    (files / "scripted.yaml").write_text(catalogue())
    names = [server.name for server in SERVERS]
    with installed(folder) as installation:
        for name in names:
            installation.command("start", name)
        for name in names:
            started = installation.command("start", name, "--wait")
            assert started.returncode == 0, started.stderr
        called = installation.command("shell", "-c", AS_ENGINES)
        assert called.returncode == 0, called.stderr
        yield installation
        for name in names:
            installation.command("stop", name, "--wait")


@pytest.fixture(scope="package")
def signed_in(browser: Browser, berth: Installation) -> StorageState:
    """The admin's cookies, for as long as the installation."""
    return sign_in(browser, berth)


@pytest.fixture(scope="package")
def profile(browser: Browser, berth: Installation) -> Iterator[BrowserContext]:
    """One for as long as the installation."""
    with new_profile(browser) as made:
        yield made


@pytest.fixture
def elsewhere(page: Page, berth: Installation) -> list[str]:
    """Requests of the page that leave this installation."""
    asked: list[str] = []
    own = (berth.url, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else asked.append(request.url))
    return asked
