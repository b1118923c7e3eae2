"""Where a server listens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from .errors import CannotConnectError


@dataclass(frozen=True, slots=True)
class Origin:
    """A server's scheme, host and port, what precedes every path there, and its ``Host``."""

    tls: bool
    host: str
    port: int
    prefix: str
    name: str


@lru_cache(maxsize=1024)
def origin_of(endpoint: str) -> Origin:
    """The parts of a base URL. It is the server's own word, never a client's.

    Raises CannotConnectError when it is none.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise CannotConnectError(f"not the address of a server: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise CannotConnectError("not the address of a server")
    tls = parts.scheme == "https"
    port = port or (443 if tls else 80)
    return Origin(tls=tls, host=parts.hostname, port=port, prefix=parts.path.rstrip("/"), name=parts.netloc)
