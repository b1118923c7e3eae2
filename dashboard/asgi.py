"""The ASGI application: the gateway before Django, static files, websockets, then the pages.

One application in two roles. The web role serves everything, and the gateway's routes too, since the
playground asks same-origin. The gateway role (BERTH_ROLE=gateway) serves only the gateway and ``/healthz``.
"""

from __future__ import annotations

import gc
import logging
import os
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402

from playground.gateway.app import PREFIXES, GatewayApplication  # noqa: E402

if TYPE_CHECKING:
    from playground.gateway.wire import Receive, Scope, Send

logger = logging.getLogger(__name__)


def _pages() -> Any:
    """Django behind its static files."""
    from dashboard.pages import PagesHandler

    application = PagesHandler()
    if settings.DEBUG:
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        return ASGIStaticFilesHandler(application)
    from servestatic import ServeStaticASGI

    hashed = r"^.+\.[0-9a-f]{12}\..+$"
    return ServeStaticASGI(
        application,
        root=str(settings.STATIC_ROOT),
        prefix=settings.STATIC_URL,
        max_age=60,
        immutable_file_test=hashed,
        add_headers_function=lambda headers, path, url: headers.__setitem__("X-Content-Type-Options", "nosniff"),
    )


def _sockets() -> Any:
    from channels.auth import AuthMiddlewareStack
    from channels.routing import URLRouter

    from deployments import websocket_urls as deployments
    from playground import websocket_urls as playground

    patterns = [*deployments.websocket_urlpatterns, *playground.websocket_urlpatterns]
    # Channels' types are of two generations of ASGI at once.
    return AuthMiddlewareStack(URLRouter(cast("list[Any]", patterns)))


def _hubs() -> tuple[Any, ...]:
    from deployments.gpu_hub import gpu_hub
    from deployments.live_hub import hub
    from playground.answers.runner import runner
    from playground.comparing.batches import batches

    return hub, gpu_hub, runner, batches


class BerthApplication:
    """Dispatches by scope type and path; owns the start and end of the process's clients."""

    def __init__(self) -> None:
        self.gateway = GatewayApplication()
        self.is_gateway = settings.BERTH_ROLE == "gateway"
        # What only pages need is not even imported where there are none.
        self.pages = None if self.is_gateway else _pages()
        self.sockets = None if self.is_gateway else _sockets()
        self.hubs = () if self.is_gateway else _hubs()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await (_close(send) if self.sockets is None else self.sockets(scope, receive, send))
        elif self._is_for_gateway(scope["path"]):
            await self.gateway(scope, receive, send)
        elif self.pages is not None:
            await self.pages(scope, receive, send)
        else:
            await _healthy(send)

    def _is_for_gateway(self, path: str) -> bool:
        if self.is_gateway:
            return path != "/healthz"
        # Ollama's clients look at its root first; the one above is the pages'.
        return path.startswith(PREFIXES) or path == "/api"

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.gateway.startup()
                for hub in self.hubs:
                    await hub.start()
                _collect_seldom()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                for hub in reversed(self.hubs):
                    await hub.stop()
                await self.gateway.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _collect_seldom() -> None:
    """What was loaded at the start is not searched for garbage again and again: that stalls every socket at once.

    The young are few: 50,000 of what Django leaves of requests stood in everybody's way for 100 ms, 2,000 for 5 to 10.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 50, 100)


async def _close(send: Send) -> None:
    """Refuse a websocket before its handshake: this process has no pages and no hub."""
    await send({"type": "websocket.close"})


async def _healthy(send: Send) -> None:
    """As dashboard.health says it, without the pages' addresses, which are a third of the process."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"3"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n"})


application = BerthApplication()
