"""What a test needs from the machine beyond Python: present, left out with a sentence, or an error.

A test whose requirement is missing is skipped and the end of the run lists it.
`BERTH_REQUIRE=chromium,postgres` turns the named ones into failures: continuous integration leaves nothing
out.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

LEFT_OUT = "left out: "


def required() -> set[str]:
    """The names in BERTH_REQUIRE. Raises pytest.UsageError for one that no test can ask for."""
    names = {name.strip() for name in os.environ.get("BERTH_REQUIRE", "").split(",")} - {""}
    known = {*PROBES, *WITHOUT_PROBE}
    if unknown := names - known:
        raise pytest.UsageError(
            f"BERTH_REQUIRE names {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}."
        )
    return names


def left_out(requirement: str, reason: str) -> NoReturn:
    """Skip the running test, or fail it where BERTH_REQUIRE names `requirement`; `reason` is a sentence."""
    if requirement in required():
        pytest.fail(f"BERTH_REQUIRE names {requirement}, but: {reason}", pytrace=False)
    pytest.skip(f"{LEFT_OUT}{requirement}: {reason}")


def require(requirement: str) -> Path:
    """The path of what `requirement` names in PROBES; where it is missing, see `left_out`."""
    probe, reason = PROBES[requirement]
    path = probe()
    if path is None:
        left_out(requirement, reason)
    return path


def _program(*names: str) -> Callable[[], Path | None]:
    def find() -> Path | None:
        found = (shutil.which(name) for name in names)
        return next((Path(path) for path in found if path), None)

    return find


def _postgres_binaries() -> Path | None:
    """The folder with initdb and postgres. Debian keeps them off PATH; the newest version is taken."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders = [*reversed(packaged), *on_path]
    return next((path for path in folders if (path / "initdb").exists() and (path / "pg_ctl").exists()), None)


def _socket(path: str) -> Callable[[], Path | None]:
    return lambda: Path(path) if Path(path).is_socket() else None


# Known by trying only: the test that runs the example model fetches its weights and its server.
WITHOUT_PROBE = {"model"}

# Name -> how it is found, and what to say where it is not.
PROBES: dict[str, tuple[Callable[[], Path | None], str]] = {
    "chromium": (
        _program("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"),
        "There is no Chromium on PATH (on Debian: apt-get install chromium).",
    ),
    "docker": (
        _socket("/var/run/docker.sock"),
        "There is no Docker engine at /var/run/docker.sock.",
    ),
    "docker-registry": (
        _program("docker-registry"),
        "There is no docker-registry on PATH (on Debian: apt-get install docker-registry).",
    ),
    "gettext": (
        _program("msgfmt"),
        "There is no msgfmt on PATH (on Debian: apt-get install gettext).",
    ),
    "node": (
        _program("node"),
        "There is no node on PATH.",
    ),
    "openssl": (
        _program("openssl"),
        "There is no openssl on PATH (on Debian: apt-get install openssl).",
    ),
    "postgres": (
        _postgres_binaries,
        "There is no PostgreSQL server on this machine (on Debian: apt-get install postgresql).",
    ),
}
