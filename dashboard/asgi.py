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

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

from deployments.gpu_hub import gpu_hub  # noqa: E402
from deployments.live_hub import hub  # noqa: E402
from deployments.websocket_urls import websocket_urlpatterns  # noqa: E402
from playground.gateway.app import PREFIXES, GatewayApplication  # noqa: E402

if TYPE_CHECKING:
    from playground.gateway.wire import Receive, Scope, Send

logger = logging.getLogger(__name__)


def _with_static(application: Any) -> Any:
    if settings.DEBUG:
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        return ASGIStaticFilesHandler(application)
    hashed = r"^.+\.[0-9a-f]{12}\..+$"
    return ServeStaticASGI(
        application,
        root=str(settings.STATIC_ROOT),
        prefix=settings.STATIC_URL,
        max_age=60,
        immutable_file_test=hashed,
        add_headers_function=lambda headers, path, url: headers.__setitem__("X-Content-Type-Options", "nosniff"),
    )


class BerthApplication:
    """Dispatches by scope type and path; owns the start and end of the process's clients."""

    def __init__(self) -> None:
        self.gateway = GatewayApplication()
        self.is_gateway = settings.BERTH_ROLE == "gateway"
        self.pages = _with_static(django_application)
        # Channels' types are of two generations of ASGI at once.
        self.sockets: Any = AuthMiddlewareStack(URLRouter(cast("list[Any]", websocket_urlpatterns)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await (_close(send) if self.is_gateway else self.sockets(scope, receive, send))
        elif self._is_for_gateway(scope["path"]):
            await self.gateway(scope, receive, send)
        else:
            await self.pages(scope, receive, send)

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
                if not self.is_gateway:
                    await hub.start()
                    await gpu_hub.start()
                _collect_seldom()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await gpu_hub.stop()
                await hub.stop()
                await self.gateway.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _collect_seldom() -> None:
    """What was loaded at the start is not searched for garbage again and again: that stalls every socket at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _close(send: Send) -> None:
    """Refuse a websocket before its handshake: this process has no pages and no hub."""
    await send({"type": "websocket.close"})


application = BerthApplication()
