"""Speaks HTTP with model servers, for the engines alone. No proxy: they are on this host or its private network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

HEALTH_S = 5.0
REQUEST_S = 30.0
MOST_BYTES = 1 << 20
#: Between two lines of a pull: the server may be looking for a layer's mirror, or writing what it has.
LINE_S = 300.0

#: What a server that is not there raises; everything else is :class:`ServerRefusedError`.
HttpError = (httpx.HTTPError, httpx.InvalidURL)


class ServerRefusedError(Exception):
    """The server answered, but not with what was asked for; the message has its own words."""


@dataclass(frozen=True, kw_only=True)
class ModelServer:
    """A server at ``endpoint``, asked with ``key`` as a bearer token unless that is empty."""

    endpoint: str
    key: str = ""

    def get(self, path: str, *, limit_s: float = HEALTH_S) -> Any:
        """The JSON of a 2xx answer, None for other content. ``limit_s`` bounds the whole exchange."""
        return self._ask("GET", path, limit_s=limit_s)

    def post(self, path: str, body: dict[str, Any], *, limit_s: float = REQUEST_S) -> Any:
        """As :meth:`get`, with a JSON body."""
        return self._ask("POST", path, limit_s=limit_s, body=body)

    def text(self, path: str) -> str:
        """The text of a 2xx answer."""
        return self._read("GET", path, limit_s=HEALTH_S).decode(errors="replace")

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The JSON objects of an answer that comes line by line, for as long as it takes."""
        timeout = httpx.Timeout(connect=2.0, read=LINE_S, write=10.0, pool=2.0)
        with _client().stream("POST", self.endpoint + path, json=body, headers=self._headers(), timeout=timeout) as it:
            if not it.is_success:
                it.read()
                raise ServerRefusedError(f"{it.status_code}: {words(it.content)}")
            for line in it.iter_lines():
                if line.strip():
                    yield _object(line)

    def _ask(self, method: str, path: str, *, limit_s: float, body: dict[str, Any] | None = None) -> Any:
        content = self._read(method, path, limit_s=limit_s, body=body)
        try:
            return json.loads(content)
        except ValueError:
            return None

    def _read(self, method: str, path: str, *, limit_s: float, body: dict[str, Any] | None = None) -> bytes:
        url = self.endpoint + path
        deadline = time.monotonic() + limit_s
        timeout = httpx.Timeout(connect=2.0, read=limit_s, write=2.0, pool=2.0)
        content = bytearray()
        with _client().stream(method, url, json=body, headers=self._headers(), timeout=timeout) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if time.monotonic() > deadline or len(content) > MOST_BYTES:
                    raise ServerRefusedError(f"{url} did not finish its answer within {limit_s:g} s")
        if not response.is_success:
            raise ServerRefusedError(f"{response.status_code}: {words(bytes(content))}")
        return bytes(content)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


@cache
def _client() -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(connect=2.0, read=HEALTH_S, write=2.0, pool=2.0),
        # A server that was replaced at the same address must not be asked over the old connection.
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=0),
        trust_env=False,
        follow_redirects=False,
    )


def words(content: bytes) -> str:
    """What the server said, from the error formats in use, else its text."""
    text = content.decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text[:300]
    said = error.get("message") if isinstance(error, dict) else error
    return str(said)[:300]


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        raise ServerRefusedError(f"not a JSON line: {line[:200]}") from None
    if not isinstance(value, dict):
        raise ServerRefusedError(f"not a JSON object: {line[:200]}")
    return value
