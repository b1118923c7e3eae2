"""TLS to a container engine elsewhere, by the variables that Docker's own client reads. Without Django or Docker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Where the certificates are to be, and which of them are not there."""

    folder: Path
    missing: tuple[str, ...]


def certificates(environment: Mapping[str, str]) -> Certificates | None:
    """The certificates that the engine is asked with; None when it is asked without TLS.

    As with Docker's own client any value of DOCKER_TLS_VERIFY but the empty one counts, and the folder is
    DOCKER_CERT_PATH or ``~/.docker``. A socket of this host needs none, whatever is set.
    """
    is_elsewhere = environment.get("DOCKER_HOST", "").startswith(("tcp://", "https://"))
    if not (is_elsewhere and environment.get("DOCKER_TLS_VERIFY")):
        return None
    folder = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    # Not Path.is_file, which raises for a folder that may not be entered.
    return Certificates(folder=folder, missing=tuple(name for name in FILES if not os.path.isfile(folder / name)))  # noqa: PTH113
