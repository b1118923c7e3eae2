"""The engines that are asked in their own way, and the client for it.

Loaded at the first image that needs one: aiohttp is 7 MB and a tenth of the gateway's start, and no text needs it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from playground.exceptions import GatewayError
from playground.gateway.byte_budget import Hold
from playground.gateway.http1.client import CONNECT_S
from playground.gateway.http1.errors import BrokenAnswerError, CannotConnectError
from playground.gateway.routing import Route

from .asking import ImageRequest
from .comfyui import ComfyDrawing
from .drawing import Commission, Drawing, Tell
from .localai import LocalAiDrawing
from .turns import Turns
from .webui import WebUiDrawing

logger = logging.getLogger(__name__)
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Engines:
    """One for each process. Make it in the event loop that uses it, and :meth:`close` it there."""

    def __init__(self) -> None:
        self._turns = Turns()
        # No cookies, no proxies, no decoding, no limit of connections.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4, ttl_dns_cache=10),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
            trust_env=False,
        )

    @property
    def turns(self) -> Turns:
        """Who draws at which server that knows one prompt at a time."""
        return self._turns

    async def draw(
        self,
        content: dict[str, Any],
        *,
        route: Route,
        asked: ImageRequest,
        hold: Hold,
        tell: Tell,
        silence_s: float,
        later: Callable[[Awaitable[None]], asyncio.Task[None]],
    ) -> list[str]:
        """The images in base64; ``later`` runs what outlives the request.

        Raises GatewayError, or as the client for text does CannotConnectError, BrokenAnswerError or TimeoutError.
        """
        commission = Commission(
            session=self._session,
            route=route,
            asked=asked,
            hold=hold,
            tell=tell,
            silence_s=silence_s,
            later=lambda work: later(_quietly(work)),
        )
        try:
            return await self._drawing(commission, content).draw()
        except _UNREACHED as error:
            raise CannotConnectError(str(error)) from error
        except TimeoutError:
            raise
        except aiohttp.ClientError as error:
            raise BrokenAnswerError(repr(error)) from error

    async def close(self) -> None:
        """End the client."""
        await self._session.close()

    def _drawing(self, commission: Commission, content: dict[str, Any]) -> Drawing:
        match commission.route.engine:
            case "comfyui":
                return ComfyDrawing(commission)
            case "localai":
                return LocalAiDrawing(commission, content)
            case _:
                return WebUiDrawing(commission, self._turns)


async def _quietly(work: Awaitable[None]) -> None:
    try:
        await work
    except (GatewayError, aiohttp.ClientError, OSError, TimeoutError) as error:
        # The class alone: an engine's words may hold a prompt.
        logger.info("An engine could not be told to stop or to forget: %s", type(error).__name__)
