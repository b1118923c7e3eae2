"""What makes this installation itself: its id and its secret key, made once in the data folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path


def installation_id(data_dir: Path) -> str:
    """Eight hex digits that mark everything this installation owns on a host."""
    return _once(data_dir / "installation", lambda: secrets.token_hex(4))


def secret_key(data_dir: Path) -> str:
    """Django's SECRET_KEY. Every process and node of one installation needs the same file."""
    return _once(data_dir / "secret.key", lambda: secrets.token_urlsafe(50))


def node_name(data_dir: Path) -> str:
    """This host's name as it was at the first start: a new host name must not strand what runs here."""
    return _once(data_dir / "node", socket.gethostname)


def _once(path: Path, make: Callable[[], str]) -> str:
    """Read ``path``, or make it atomically: of two processes, the one that comes second reads the first's."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(make())
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_text().strip()
