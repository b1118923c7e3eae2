"""Whom a load test asks: a config through the gateway, as its users do, or a deployment's own server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from playground.gateway.endpoints import endpoint_at
from playground.gateway.http1.origin import Origin, origin_of

from .asking import Kind

#: Tokens of Berth's own live for a minute.
_RENEW_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """``url`` is the gateway's or the server's; ``model`` what to call the model there.

    ``config`` is its place in the gateway's paths. ``token`` makes a bearer token, or gives an empty text for none.
    """

    url: str
    model: str
    config: str
    engine: str
    direct: bool
    token: Callable[[], str] = field(default=str)

    @property
    def origin(self) -> Origin:
        """Raises CannotConnectError when ``url`` is none."""
        return origin_of(self.url)

    def path(self, kind: Kind, *, stream: bool) -> str:
        """Where it is asked."""
        path = kind.path(stream)
        found = endpoint_at(path)
        if self.direct and found is not None:
            return found[0].upstream_path
        return path.replace("CONFIG", self.config)

    def head(self, path: str, *, size: int, method: str = "POST") -> bytes:
        """The head of a request of ``size`` bytes, with its empty line."""
        origin, token = self.origin, self.token()
        lines = [f"{method} {origin.prefix}{path} HTTP/1.1", f"host: {origin.name}", "accept-encoding: identity"]
        if method == "POST":
            lines += ["content-type: application/json", f"content-length: {size}"]
        if token:
            lines.append(f"authorization: Bearer {token}")
        if any(character in line for line in lines for character in "\r\n"):
            raise ValueError("a line end within a header")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class RenewedToken:
    """A token that is made again before it ends: tokens are for one request, and a test sends thousands."""

    def __init__(self, make: Callable[[], str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._token = ""
        self._until = 0.0

    def __call__(self) -> str:
        """The token of now."""
        now = self._clock()
        if now >= self._until:
            self._token, self._until = self._make(), now + _RENEW_S
        return self._token
