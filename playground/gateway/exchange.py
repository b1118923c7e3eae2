"""One request and its answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from playground.exceptions import GatewayError

from .endpoints import shape_at
from .errors import error_object, preferred_language
from .wire import WHOLE, Headers, RawHeaders, Scope, Send, request_id, send_json


class Exchange:
    """What the client asked, and how far the answer has come."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.scheme: str = scope.get("scheme", "http")
        self.headers: Headers = dict(scope["headers"])
        self.shape = shape_at(self.path)
        #: Sent with every answer besides its own.
        self.extra_headers: tuple[tuple[bytes, bytes], ...] = ()
        #: How long the request waited before it was sent on; told with the answer.
        self.wait_headers: tuple[tuple[bytes, bytes], ...] = ()
        #: What was sent, in parts, and whether one is on its way: a client that reads nothing holds it up.
        self.parts = 0
        self.sending = False
        self.request_id = request_id(self.headers)
        self.started = False
        #: Whether the status line is out though the answer has not begun: see playground.gateway.ahead.
        self.went_ahead = False
        self._send = send
        #: Whether the server takes an answer in one message: see playground.gateway.serving.
        self._takes_whole = WHOLE in scope.get("extensions", ())

    @cached_property
    def language(self) -> str:
        """The language of error sentences for this client."""
        return preferred_language(self.headers)

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Send the status line; parts follow."""
        self.started = True
        headers.append((b"x-request-id", self.request_id))
        headers.extend(self.extra_headers)
        headers.extend(self.wait_headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def go_ahead(self, headers: RawHeaders, ahead: Callable[[Send], Send]) -> None:
        """Send status 200 before there is an answer. The answer, once it comes, goes through the send of ``ahead``."""
        await self.start(200, headers)
        self._send = ahead(self._send)
        self.went_ahead = True
        self.started = False

    async def send_part(self, part: bytes) -> None:
        """Send some of the body; waits while the client reads slowly."""
        self.sending = True
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        self.sending = False
        self.parts += 1

    async def finish(self, last: bytes = b"") -> None:
        """Send the end of the body."""
        await self._send({"type": "http.response.body", "body": last})

    async def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send status, headers and the whole body."""
        if not self._takes_whole or self.went_ahead:
            await self.start(status, headers)
            await self.finish(body)
            return
        self.started = True
        headers.append((b"x-request-id", self.request_id))
        headers.extend(self.extra_headers)
        headers.extend(self.wait_headers)
        await self._send({"type": WHOLE, "status": status, "headers": headers, "body": body})

    async def answer_json(self, body: bytes) -> None:
        """Send 200 with a JSON body of the gateway's own."""
        await self._whole(200, body, ())

    async def refuse(self, error: GatewayError) -> None:
        """Send ``error`` in the shape of the protocol that was asked."""
        await self._whole(error.status, error_object(error, self.language, self.shape), error.headers)

    async def _whole(self, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self.started = True
        await send_json(self._send, status, body, (*headers, *self.extra_headers, (b"x-request-id", self.request_id)))
