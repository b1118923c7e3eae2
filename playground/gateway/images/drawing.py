"""What the adapters share: the engine's answers with limits, progress, and how long one may take."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import aiohttp
from django.utils.translation import gettext_lazy as _
from yarl import URL

from playground.exceptions import BusyError, UpstreamError
from playground.gateway.byte_budget import Hold
from playground.gateway.http1.client import CONNECT_S
from playground.gateway.routing import Route

from .asking import ImageRequest

#: Short questions: queues, progress, cancelling.
ASK_S: Final = 10.0
#: All of one request, its time in an engine's queue included.
TOTAL_S: Final = 3600.0
#: An answer that is no image.
MOST_JSON_BYTES: Final = 4 * 1024 * 1024
#: All images of one request.
MOST_BYTES: Final = 256 * 1024 * 1024
_WORDS: Final = 600
_QUICK: Final = aiohttp.ClientTimeout(total=ASK_S, sock_connect=CONNECT_S)
#: Words of PyTorch and of ComfyUI's own allocator for a GPU without room.
_NO_MEMORY: Final = ("out of memory", "outofmemory", "allocation on device")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far an image is; ``steps`` is 0 as long as it waits for others."""

    step: int
    steps: int


Tell = Callable[[Progress], Awaitable[None]]
WAITING: Final = Progress(step=0, steps=0)


@dataclass(kw_only=True, slots=True)
class Patience:
    """Ends a request whose engine shows no sign of life. Raises TimeoutError from :meth:`check`."""

    silence_s: float
    total_s: float = TOTAL_S
    began: float = 0.0
    heard: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.heard = time.monotonic()

    def note(self) -> None:
        """There is progress."""
        self.heard = time.monotonic()

    def check(self) -> None:
        """Raise TimeoutError when it has been long enough."""
        now = time.monotonic()
        if now - self.heard > self.silence_s or now - self.began > self.total_s:
            raise TimeoutError


class Drawing(Protocol):
    """One request at one engine."""

    async def draw(self) -> list[str]:
        """The images in base64. Raises GatewayError, or what aiohttp raises when the engine is away.

        However it ends early, the engine is told to stop, in a task of its own.
        """
        ...


@dataclass(kw_only=True, slots=True, eq=False)
class Commission:
    """What a drawing needs: whom it asks, for what, and who is told. ``later`` runs what outlives the request."""

    session: aiohttp.ClientSession
    route: Route
    asked: ImageRequest
    hold: Hold
    tell: Tell
    silence_s: float
    later: Callable[[Awaitable[None]], asyncio.Task[None]]

    async def get(self, path: str, *, params: dict[str, str] | None = None) -> Any:
        """JSON of the engine. Raises UpstreamError for any other answer."""
        url = address(self.route.endpoint, path)
        async with self.session.get(url, params=params, timeout=_QUICK, allow_redirects=False) as response:
            return self.json_of(response, await self.read(response, MOST_JSON_BYTES))

    async def post(self, path: str, content: Any) -> tuple[int, bytes]:
        """Status and body of a short answer."""
        url = address(self.route.endpoint, path)
        async with self.session.post(url, json=content, timeout=_QUICK, allow_redirects=False) as response:
            return response.status, await self.read(response, MOST_JSON_BYTES)

    async def read(self, response: aiohttp.ClientResponse, limit: int, *, copies: int = 0) -> bytes:
        """The whole answer, room for ``copies`` of it taken as it comes. Raises UpstreamError or BusyError."""
        raw = bytearray()
        while chunk := await response.content.readany():
            raw += chunk
            if len(raw) > limit:
                raise UpstreamError(
                    _("The server of %(config)s sent too much. Ask for fewer or smaller images."),
                    config=self.route.config,
                )
            if copies and not self.hold.try_grow(copies * len(chunk)):
                raise BusyError(_("The gateway holds too many large answers at the moment. Try again in a moment."))
        return bytes(raw)

    async def read_images(self, response: aiohttp.ClientResponse, *, copies: int) -> bytes:
        """An answer with images. Raises UpstreamError or BusyError."""
        return await self.read(response, MOST_BYTES, copies=copies)

    def json_of(self, response: aiohttp.ClientResponse, raw: bytes) -> Any:
        """What a good answer says. Raises UpstreamError."""
        if response.status != 200:
            raise self.failed(words_in(raw) or str(response.status))
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise self.failed(_("it sent something that is no JSON")) from None

    def failed(self, words: Any) -> UpstreamError:
        """The error for what the engine says."""
        config = self.route.config
        if any(mark in str(words).casefold() for mark in _NO_MEMORY):
            return UpstreamError(
                _(
                    "The GPU of %(config)s has too little free memory for this image (%(words)s). "
                    "Ask for a smaller size or fewer images, or stop what else uses that GPU."
                ),
                config=config,
                words=str(words)[:_WORDS],
            )
        return UpstreamError(
            _("The server of %(config)s made no image: %(words)s. The log of deployment %(deployment)s has more."),
            config=config,
            words=str(words)[:_WORDS].rstrip(". \n"),
            deployment=str(self.route.deployment_id),
        )


@lru_cache(maxsize=1024)
def address(endpoint: str, path: str) -> URL:
    """The URL of ``path`` at a deployment; both are the server's own words, never a client's."""
    return URL(endpoint.rstrip("/") + path)


def words_in(raw: bytes) -> str:
    """What an engine says of a failure, in either engine's shape; perhaps nothing."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        # Pages of HTML help nobody.
        text = raw[: _WORDS * 4].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text[:_WORDS]
    if not isinstance(content, dict):
        return ""
    found = [_said(content.get(name)) for name in ("error", "detail", "errors", "message")]
    return ": ".join(dict.fromkeys(text for text in found if text))[:_WORDS]


def _said(value: Any) -> str:
    """A text, FastAPI's list of what is wrong, or ComfyUI's object."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return ": ".join(str(value[name]) for name in ("message", "details") if value.get(name))
    if isinstance(value, list):
        problems = [item for item in value if isinstance(item, dict)]
        return "; ".join(
            f"{'.'.join(map(str, item.get('loc', [])))} {item.get('msg', '')}".strip() for item in problems
        )
    return ""
