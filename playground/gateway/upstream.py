"""The gateway's side towards the models' servers: one client for the process, and whom to ask next."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import aiohttp
from django.utils.translation import gettext_lazy as _
from yarl import URL

from deployments.deployment_keys import deployment_key
from playground.exceptions import UpstreamError, UpstreamTimeoutError

from .body import LARGE_BYTES
from .routing import Route
from .wire import Headers, RawHeaders

logger = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
#: The longest silence of a server, before its first byte or between two: long prompts take minutes.
SILENCE_S: Final = 600.0
#: How many deployments are tried for one request.
TRY_AT_MOST: Final = 3
#: Everything else stays here: credentials and cookies above all.
_TO_UPSTREAM: Final = (b"accept", b"user-agent", b"traceparent", b"tracestate")
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of a request at a deployment; ``another`` tells whether a different one is left to try."""

    route: Route
    another: bool


class Attempts:
    """The tries for one request, in the order of ``routes``, as long as trying on makes sense.

    A server that cannot be reached costs nothing, so the next is tried. One that broke off may have been
    brought down by the request itself: only one more server is risked. If there is only one, it is
    asked once more, since it may just have closed an idle connection.
    """

    def __init__(self, routes: list[Route]) -> None:
        self._routes = routes[:TRY_AT_MOST]
        self._broke_off = 0
        self.failure: UpstreamError | UpstreamTimeoutError | None = None

    def __iter__(self) -> Iterator[Attempt]:
        last = len(self._routes) - 1
        for index, route in enumerate(self._routes):
            yield Attempt(route=route, another=index < last)
            if isinstance(self.failure, UpstreamTimeoutError) or self._broke_off > 1:
                return
        if last == 0 and self._broke_off == 1:
            yield Attempt(route=self._routes[0], another=False)

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


def payload(body: bytes) -> bytes | io.BytesIO:
    """``body`` for the client, which hands a file to the socket in parts instead of copying it at once."""
    return body if len(body) <= LARGE_BYTES else io.BytesIO(body)


@lru_cache(maxsize=1024)
def address(endpoint: str, path: str) -> URL:
    """The URL of ``path`` at a deployment."""
    return URL(endpoint.rstrip("/") + path)


def headers_to_upstream(headers: Headers, request_id: bytes, route: Route) -> dict[str, str]:
    """What a model's server is told about the client; of keys only the deployment's own, never the client's."""
    passed = {name.decode(): headers[name].decode("latin-1") for name in _TO_UPSTREAM if name in headers}
    own = {
        "content-type": "application/json",
        "x-request-id": request_id.decode(),
        # The answer is passed on as it comes, and its end is looked at.
        "accept-encoding": "identity",
    }
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
