"""Finds a docker command that builds with BuildKit: not every one does, and the first on PATH need not."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext as _

from deployments.engine_certificates import certificates
from deployments.exceptions import BuildError

from .engine import host

USUAL = ("/usr/bin", "/usr/local/bin", "/bin", "/snap/bin", "/opt/homebrew/bin")
#: Takes `--secret id=…,env=…`, and has BuildKit within it.
OLDEST = (20, 10)
#: From here on `docker build` is a plug-in's, which may be missing.
PLUGIN_SINCE = (23, 0)
ASK_S = 10
_VERSION = re.compile(r"version (\d+)\.(\d+)")
#: What reaches the client from Berth's own environment.
PASSED = (
    *("PATH", "HOME", "TMPDIR", "DOCKER_CONFIG"),
    *(name for each in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (each, each.lower())),
)


def find_client() -> str:
    """The path of the first docker command that can. Raises BuildError, which names each and what it lacks."""
    lacking = []
    for path in _candidates():
        lack = _lack(path)
        if not lack:
            return path
        lacking.append(f"{path}: {lack}")
    if not lacking:
        message = _("There is no docker command on this node. Install Docker's client (on Debian: docker.io).")
        raise BuildError(message, code="no_build_client")
    told = _("No docker command on this node builds with BuildKit (%(found)s). Install Docker's buildx plug-in.")
    raise BuildError(told % {"found": "; ".join(lacking)}, code="no_build_client")


def client_environment() -> dict[str, str]:
    """What the client needs to speak to the engine that the runtime speaks to, and nothing else of Berth's."""
    environment = {name: value for name in PASSED if (value := os.environ.get(name))}
    environment |= {
        "DOCKER_HOST": host(),
        "DOCKER_BUILDKIT": "1",
        "LANG": "C.UTF-8",
        # The engine's own BuildKit, whatever builder somebody made the default: its images land in the engine.
        "BUILDX_BUILDER": "default",
        # An attestation would make the image's id that of an index.
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }
    if found := certificates(os.environ):
        environment |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(found.folder)}
    return environment


def _candidates() -> Iterator[str]:
    seen = set()
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), *USUAL):
        path = Path(folder or ".") / "docker"
        real = os.path.realpath(path)
        if real not in seen and os.access(real, os.X_OK) and Path(real).is_file():
            seen.add(real)
            yield str(path)


def _lack(path: str) -> str:
    """What keeps this client from building with BuildKit, in a few words; empty when nothing does."""
    match = _VERSION.search(_answer(path, "--version") or "")
    if match is None:
        return _("it does not tell its version")
    version = int(match[1]), int(match[2])
    if version < OLDEST:
        return _("version %(version)s is too old") % {"version": ".".join(map(str, version))}
    if version >= PLUGIN_SINCE and _answer(path, "buildx", "version") is None:
        return _("without the buildx plug-in")
    return ""


def _answer(*argv: str) -> str | None:
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=ASK_S, check=False, env=client_environment())
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout if ran.returncode == 0 else None
