"""The gateway's side towards the models' servers: one client for the process, and whom to ask next."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Final

import aiohttp
from django.utils.translation import gettext_lazy as _
from yarl import URL

from deployments.deployment_keys import deployment_key
from playground.exceptions import UpstreamError, UpstreamTimeoutError

from .body import LARGE_BYTES, Payload
from .routing import Route
from .wire import Headers, RawHeaders

logger = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
#: The longest silence of a server, before its first byte or between two: long prompts take minutes.
SILENCE_S: Final = 600.0
#: How many deployments are tried for one request.
TRY_AT_MOST: Final = 3
#: Everything else stays here: credentials and cookies above all.
_TO_UPSTREAM: Final = (
    b"accept",
    b"user-agent",
    b"traceparent",
    b"tracestate",
    b"anthropic-version",
    b"anthropic-beta",
)
#: Everything else stays there: connection handling, and cookies or CORS that would act on Berth's own origin.
_TO_CLIENT: Final = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"cache-control", b"retry-after", b"vary"}
)
_TO_CLIENT_PREFIXES: Final = (b"x-ratelimit-", b"openai-")


def open_session(*, silence_s: float = SILENCE_S) -> aiohttp.ClientSession:
    """The process's client: no cookies, no proxies, no decoding, no limit of connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4, ttl_dns_cache=10),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
        trust_env=False,
    )


class Attempts:
    """The tries for one request, as long as trying on makes sense.

    A server that cannot be reached costs nothing, so the next is tried. One that broke off may have been
    brought down by the request itself: only one more server is risked. If there is only one, it is
    asked once more, since it may just have closed an idle connection.
    """

    def __init__(self) -> None:
        self._tried: list[int] = []
        self._broke_off = 0
        self.failure: UpstreamError | UpstreamTimeoutError | None = None

    def left(self, routes: list[Route]) -> list[Route]:
        """Those of ``routes`` that may still be tried, in their order."""
        if not self._tried:
            return routes
        if len(self._tried) >= TRY_AT_MOST or isinstance(self.failure, UpstreamTimeoutError) or self._broke_off > 1:
            return []
        fresh = [route for route in routes if route.deployment_id not in self._tried]
        if not fresh and self._broke_off == 1 and len(self._tried) == 1:
            return routes
        return fresh

    def fresh(self, routes: list[Route]) -> bool:
        """Whether another than those tried is left to try."""
        return any(route.deployment_id not in self._tried for route in self.left(routes))

    def begin(self, route: Route) -> None:
        """Note that ``route`` is tried now."""
        self._tried.append(route.deployment_id)

    def passed_over(self, route: Route) -> None:
        """Note that ``route`` is full or still loading."""
        sentence = _("The server of %(config)s is full or still loading. See the state of deployment %(deployment)s.")
        self.failure = UpstreamError(sentence, config=route.config, deployment=str(route.deployment_id))

    def failed(self, route: Route, error: Exception, request_id: bytes) -> None:
        """Note that ``route`` gave no answer because of ``error``."""
        self.failure = explain_failure(route, error)
        if not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            self._broke_off += 1
        log_failure(route, error, request_id)


def explain_failure(route: Route, error: Exception) -> UpstreamError | UpstreamTimeoutError:
    """The operator's sentence for what an attempt at ``route`` raised."""
    sentence = _("The server of %(config)s broke off. The log of deployment %(deployment)s has the cause.")
    kind: type[UpstreamError | UpstreamTimeoutError] = UpstreamError
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        sentence = _("The server of %(config)s cannot be reached. See the state of deployment %(deployment)s.")
    elif isinstance(error, TimeoutError):
        sentence = _("The server of %(config)s fell silent. See the log of deployment %(deployment)s.")
        kind = UpstreamTimeoutError
    return kind(sentence, config=route.config, deployment=str(route.deployment_id))


def log_failure(route: Route, error: Exception, request_id: bytes) -> None:
    """One line for the operator; never the request's content."""
    where = f"deployment {route.deployment_id} ({route.config})"
    logger.warning("Request %s at %s failed: %r", request_id.decode(), where, error)


def data_of(payload: Payload) -> bytes | io.BytesIO | AsyncIterator[bytes | memoryview]:
    """``payload`` for the client: large ones go to the socket in steps instead of being copied at once."""
    if isinstance(payload, list):
        return _in_steps(payload)
    return payload if len(payload) <= LARGE_BYTES else io.BytesIO(payload)


async def _in_steps(parts: list[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for part in parts:
        for start in range(0, len(part), LARGE_BYTES):
            yield part[start : start + LARGE_BYTES]


@lru_cache(maxsize=1024)
def address(endpoint: str, path: str) -> URL:
    """The URL of ``path`` at a deployment; both are the server's own words, never a client's."""
    return URL(endpoint.rstrip("/") + path)


def headers_to_upstream(
    headers: Headers, request_id: bytes, route: Route, payload: Payload, content_type: str
) -> dict[str, str]:
    """What a model's server is told about the client; of keys only the deployment's own, never the client's."""
    passed = {name.decode(): headers[name].decode("latin-1") for name in _TO_UPSTREAM if name in headers}
    own = {
        "content-type": content_type,
        "x-request-id": request_id.decode(),
        # The answer is passed on as it comes, and its end is looked at.
        "accept-encoding": "identity",
    }
    if isinstance(payload, list):
        own["content-length"] = str(sum(map(len, payload)))
    if route.keyed:
        own["authorization"] = f"Bearer {_key(route.deployment_id)}"
    return {**passed, **own}


@lru_cache(maxsize=1024)
def _key(deployment_id: int) -> str:
    return deployment_key(deployment_id)


def headers_to_client(response: aiohttp.ClientResponse, route: Route) -> RawHeaders:
    """What the client is told about the answer."""
    headers = [
        (name, value)
        for raw_name, value in response.raw_headers
        if (name := raw_name.lower()) in _TO_CLIENT or name.startswith(_TO_CLIENT_PREFIXES)
    ]
    headers += [
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-berth-deployment", str(route.deployment_id).encode()),
    ]
    return headers
