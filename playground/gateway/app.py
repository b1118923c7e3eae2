"""The gateway: OpenAI's routes over every ready deployment, as a plain ASGI application.

It is dispatched before Django, since a Django view costs several times what this costs for each request.
No database work happens on the way of a request but for looking up a caller not seen lately.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import aiohttp
from django.utils.translation import gettext_lazy as _

from deployments.redis import async_client
from playground.exceptions import GatewayError, UnknownRouteError, WrongMethodError

from .auth import Authenticator
from .body import ClientLeftError, parse_chat, read_body
from .departure import StopWhenClientLeaves
from .exchange import Exchange
from .reaching import Reaching
from .relay import Relay
from .reporting import Report
from .routing import ListedModel, RoutingTable
from .subscription import Subscription
from .upstream import SILENCE_S, open_session
from .wire import Receive, Scope, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"


class GatewayApplication:
    """Serves ``/v1/chat/completions``, ``/v1/models`` and ``/v1/models/{id}``; one for each process.

    Call :meth:`startup` in the event loop that serves it and :meth:`shutdown` at the end.
    """

    def __init__(self, *, connect: Callable[[], Redis] = async_client, silence_s: float = SILENCE_S) -> None:
        self.table = RoutingTable()
        self.authenticator = Authenticator()
        self._subscription = Subscription(
            connect, self.table, on_keys_changed=self.authenticator.forget, on_reach_asked=self._reach
        )
        self._report = Report(connect, self.table)
        self._silence_s = silence_s
        self._session: aiohttp.ClientSession | None = None
        self._reaching: Reaching | None = None

    async def startup(self) -> None:
        """Open the client, read the routing table and follow it. Redis may be away."""
        self._session = open_session(silence_s=self._silence_s)
        self._reaching = Reaching(self._session)
        await self._subscription.start()
        await self._report.start()

    async def shutdown(self) -> None:
        """Close both. Safe to repeat, and without :meth:`startup`."""
        await self._subscription.stop()
        await self._report.stop()
        if self._reaching is not None:
            await self._reaching.stop()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _reach(self, asked: str, redis: Redis) -> None:
        if self._reaching is not None:
            self._reaching.ask(asked, redis)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; refusals have OpenAI's error object."""
        exchange = Exchange(scope, send)
        try:
            await self._dispatch(exchange, receive)
        except GatewayError as error:
            await exchange.refuse(error)
        except ClientLeftError:
            return
        except Exception:
            logger.exception("Request %s failed.", exchange.request_id.decode())
            if exchange.started:
                raise
            await exchange.refuse(GatewayError(_("The gateway failed. Its log names the cause.")))

    async def _dispatch(self, exchange: Exchange, receive: Receive) -> None:
        path = exchange.path
        if path == CHAT:
            _require_method(exchange, "POST")
            await self._chat(exchange, receive)
        elif path == MODELS or path.startswith(f"{MODELS}/"):
            _require_method(exchange, "GET", "HEAD")
            await self.authenticator.check(exchange.headers)
            await exchange.answer_json(self._models(path.removeprefix(MODELS).strip("/")))
        else:
            raise UnknownRouteError(
                _("There is nothing at %(path)s. This gateway serves %(chat)s and %(models)s."),
                path=path[:200],
                chat=f"POST {CHAT}",
                models=f"GET {MODELS}",
            )

    async def _chat(self, exchange: Exchange, receive: Receive) -> None:
        await self.authenticator.check(exchange.headers)
        raw = await read_body(receive, exchange.headers)
        async with StopWhenClientLeaves(receive) as departure:
            body = await parse_chat(raw)
            routes = self.table.candidates(body.model)
            if self._session is None:
                raise RuntimeError("startup() has not run")
            await Relay(self._session, self.table.in_flight).run(exchange, body, routes, departure)

    def _models(self, name: str) -> bytes:
        if name:
            return _encoded(_listing(self.table.find(name)))
        return _encoded({"object": "list", "data": [_listing(model) for model in self.table.listed()]})


def _listing(model: ListedModel) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.since,
        "owned_by": "berth",
        "configs": model.configs,
    }


def _encoded(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _require_method(exchange: Exchange, *allowed: str) -> None:
    if exchange.method not in allowed:
        raise WrongMethodError(
            _("%(path)s answers to %(allowed)s only."), path=exchange.path, allowed=", ".join(allowed)
        )
