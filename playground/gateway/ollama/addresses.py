"""The addresses of Ollama's API that ask no model: the root, lists, show, and what belongs to the catalogue."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import (
    BadRequestError,
    ForbiddenError,
    GatewayError,
    NotStartedError,
    UnknownRouteError,
    WrongMethodError,
)
from playground.gateway.body import read_body
from playground.gateway.byte_budget import ByteBudget, Hold
from playground.gateway.endpoints import BY_PATH
from playground.gateway.headers import head_to_upstream, headers_to_client
from playground.gateway.http1.client import UpstreamClient
from playground.gateway.http1.origin import origin_of
from playground.gateway.upstream import BROKEN, explain_failure, log_failure

from .answers import encoded
from .listing import loaded_models, shown, tags, version
from .long_strings import parse
from .names import known_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.gateway.auth import Authenticator, Caller
    from playground.gateway.exchange import Exchange
    from playground.gateway.routing import Route, RoutingTable
    from playground.gateway.wire import Receive

logger = logging.getLogger(__name__)

#: Ollama's own words at its root, which clients look for.
_RUNNING: Final = b"Ollama is running"
_ROOTS: Final = ("/", "/api", "/api/")
_SHOW: Final = "/api/show"
_READ: Final = ("GET", "HEAD")
_LISTS: Final[dict[str, Callable[[RoutingTable, Caller], bytes]]] = {
    "/api/tags": tags,
    "/api/ps": loaded_models,
    "/api/version": version,
}
_CATALOGUE: Final = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete")
_BLOBS: Final = "/api/blobs/"
_SHOW_WITHIN_S: Final = 30.0


class OllamaAddresses:
    """Answers what needs no place at a deployment and costs no tokens."""

    def __init__(
        self, client: UpstreamClient, table: RoutingTable, authenticator: Authenticator, budget: ByteBudget
    ) -> None:
        self._client = client
        self._table = table
        self._authenticator = authenticator
        self._budget = budget

    async def answer(self, exchange: Exchange, receive: Receive) -> None:
        """Answer ``exchange``, whose path is below /api. Raises GatewayError."""
        path = exchange.path
        if path in _ROOTS:
            _require(exchange, *_READ)
            await exchange.answer(200, _text(len(_RUNNING)), _RUNNING)
            return
        caller = await self._authenticator.check(exchange.headers)
        if path in _LISTS:
            _require(exchange, *_READ)
            await exchange.answer_json(_LISTS[path](self._table, caller))
        elif path == _SHOW:
            _require(exchange, "POST")
            await self._show(exchange, receive, caller)
        elif path in _CATALOGUE or (path.startswith(_BLOBS) and exchange.method not in _READ):
            raise ForbiddenError(
                _("Models are added, changed and removed in Berth's catalogue, not at %(path)s."), path=path[:100]
            )
        else:
            raise UnknownRouteError(
                _("There is nothing at %(path)s. Of Ollama's API this gateway serves: %(served)s."),
                path=path[:200],
                served=", ".join([*(known for known in BY_PATH if known.startswith("/api/")), _SHOW, *_LISTS]),
            )

    async def _show(self, exchange: Exchange, receive: Receive, caller: Caller) -> None:
        hold = Hold(self._budget)
        try:
            content, _strings, _opaque = parse(await read_body(receive, exchange.headers, hold))
        finally:
            hold.shrink_to(0)
        asked = content.get("model") or content.get("name")
        if not isinstance(asked, str) or not asked:
            raise BadRequestError(
                _("The body lacks 'model', the name of a model or config; GET /api/tags lists them."), param="model"
            )
        name = known_name(self._table, asked)
        caller.require_model(name)
        try:
            routes = self._table.candidates(name, BY_PATH["/api/chat"])
        except NotStartedError:
            # Looking starts nothing.
            routes = []
        native = [route for route in routes if route.engine == "ollama"]
        if native:
            await self._show_natively(exchange, native, content)
        else:
            await exchange.answer_json(shown(self._table.find(name)))

    async def _show_natively(self, exchange: Exchange, routes: list[Route], content: dict[str, Any]) -> None:
        failure: GatewayError | None = None
        for route in routes:
            payload = encoded({"model": route.served_name, "verbose": content.get("verbose") is True})
            head = head_to_upstream(
                route,
                _SHOW,
                headers=exchange.headers,
                request_id=exchange.request_id,
                content_type="application/json",
                size=len(payload),
            )
            try:
                async with asyncio.timeout(_SHOW_WITHIN_S):
                    response = await self._client.ask(origin_of(route.endpoint), head, payload)
                    try:
                        raw = await response.read()
                    finally:
                        response.close()
            except BROKEN as error:
                log_failure(route, error, exchange.request_id)
                failure = explain_failure(route, error)
                continue
            told = [header for header in headers_to_client(response, route) if header[0] != b"content-length"]
            await exchange.answer(response.status, [*told, (b"content-length", str(len(raw)).encode())], raw)
            return
        if failure is not None:
            raise failure


def _text(length: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(length).encode())]


def _require(exchange: Exchange, *allowed: str) -> None:
    if exchange.method not in allowed:
        raise WrongMethodError(
            _("%(path)s answers to %(allowed)s only."), path=exchange.path, allowed=", ".join(allowed)
        )
