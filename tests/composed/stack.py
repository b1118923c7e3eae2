"""The composed stack for a test: images built here, a project of its own, nothing left at the end."""

from __future__ import annotations

import configparser
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.composed.standins import POSTGRES, PYTHON, VALKEY, ensure_standins
from tests.docker_engine import docker_client
from tests.ports import free_port
from tests.requirements import left_out

ROOT = Path(__file__).resolve().parent.parent.parent
BERTH = "berth-test/berth:1"
SMOLLM2 = "localhost/berth/smollm2:1"
SOCKET = Path("/var/run/docker.sock")
PASSWORD = "composed-password"
#: pip's options that say where packages are.
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host")


class Stack:
    """A composed stack with ports, networks and volumes of its own."""

    def __init__(self, folder: Path) -> None:
        self.project = f"berth-test-{secrets.token_hex(3)}"
        self.web, self.gateway = free_port(), free_port()
        self.models_network = f"{self.project}-models"
        self._file = folder / "stack.env"
        settings = {
            "BERTH_DATABASE_PASSWORD": secrets.token_hex(8),
            "DOCKER_GID": SOCKET.stat().st_gid,
            "BERTH_ADMIN_PASSWORD": PASSWORD,
            "BERTH_PORT": self.web,
            "BERTH_GATEWAY_PORT": self.gateway,
            "BERTH_MODELS_NETWORK": self.models_network,
            "BERTH_IMAGE": BERTH,
            "POSTGRES_IMAGE": POSTGRES,
            "REDIS_IMAGE": VALKEY,
        }
        self._file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def compose(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run docker-compose; returns its output, and fails with it."""
        command = [*compose_command(), "--env-file", str(self._file), "-p", self.project, "-f", "docker-compose.yml"]
        return run([*command, *arguments], timeout_s=timeout_s)

    def berth(self, *arguments: str, service: str = "worker", timeout_s: float = 120) -> str:
        """A command of Berth inside a container of the stack."""
        return self.compose("exec", "-T", service, "berth", *arguments, timeout_s=timeout_s)


@contextmanager
def composed_stack(folder: Path) -> Iterator[Stack]:
    """Built and up; containers, networks and volumes are gone at the end, the images stay for the next time."""
    compose_command()
    client = docker_client()
    stack = Stack(folder)
    try:
        ensure_standins(client)
        build(BERTH, folder)
        build(SMOLLM2, folder, "--file", "images/smollm2/Dockerfile")
        try:
            try:
                stack.compose("up", "-d", "--no-build", timeout_s=180)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{stack.compose('logs', '--tail', '20')}") from None
            yield stack
        finally:
            # The models are no containers of the stack, and they hold its network.
            for container in client.containers.list(all=True):
                if stack.models_network in container.attrs["NetworkSettings"]["Networks"] and container.labels.get(
                    "berth.installation"
                ):
                    container.remove(force=True, v=True)
            stack.compose("down", "-v", "--remove-orphans")
    finally:
        client.close()


def build(tag: str, folder: Path, *options: str) -> None:
    """Build an image from the repository with the certificates and indexes that this machine uses."""
    hidden = {"ca": certificates(), "pip": _pip_settings(folder), "npm": Path.home() / ".npmrc"}
    given = [f"--secret=id={name},src={path}" for name, path in hidden.items() if path.is_file()]
    command = [docker_program(), "build", "--quiet", "--network=host", f"--build-arg=BASE={PYTHON}", *given]
    run([*command, "--tag", tag, *options, "."], timeout_s=400)


def certificates() -> Path:
    """This machine's bundle."""
    return Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")


def docker_program() -> str:
    """The engine's own client before another on PATH, which may lack BuildKit."""
    packaged = Path("/usr/bin/docker")
    found = str(packaged) if packaged.exists() else shutil.which("docker")
    if found is None:
        left_out("docker", "There is no docker client (on Debian: apt-get install docker.io).")
    return found


def compose_command() -> list[str]:
    """docker-compose 1.29 or the plugin of version 2."""
    if found := shutil.which("docker-compose"):
        return [found]
    asked = subprocess.run([docker_program(), "compose", "version"], check=False, capture_output=True)
    if asked.returncode:
        left_out("docker", "There is no docker-compose (on Debian: apt-get install docker-compose).")
    return [docker_program(), "compose"]


def run(command: list[str], *, timeout_s: float) -> str:
    """Run it in the repository, without Berth's own variables of this shell; fails with what it said."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"} or name.endswith("_proxy")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**kept, "DOCKER_BUILDKIT": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{' '.join(command[-6:])}: {done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def _pip_settings(folder: Path) -> Path:
    """What this machine tells pip about its indexes, as a file."""
    listed = run([sys.executable, "-m", "pip", "config", "list"], timeout_s=60)
    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {}
    for line in listed.splitlines():
        name, _equals, value = line.partition("=")
        if (option := name.rpartition(".")[2]) in PIP_OPTIONS:
            settings["global"][option] = value.strip("'\"")
    path = folder / "pip.conf"
    with path.open("w") as file:
        settings.write(file)
    return path
