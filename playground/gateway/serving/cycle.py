"""One request of a client and its answer, as ASGI sees them."""

from __future__ import annotations

import asyncio
import http
import logging
from typing import TYPE_CHECKING, Any, Final

from playground.gateway.wire import WHOLE

if TYPE_CHECKING:
    from playground.gateway.wire import Message, RawHeaders, Scope

    from .connection import GatewayProtocol

logger = logging.getLogger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_FAILED: Final = b"Internal Server Error"


def _status_line(status: int) -> bytes:
    try:
        return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n".encode()
    except ValueError:
        return b"HTTP/1.1 %d \r\n" % status


_STATUS_LINES: Final = {status: _status_line(status) for status in range(200, 600)}
_BODILESS: Final = (204, 304)


class Cycle:
    """A request whose head has come. The connection feeds its body; the application takes it and answers."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_delivered",
        "_head",
        "_left",
        "_mute",
        "_parts",
        "_waiter",
        "answered",
        "body_complete",
        "buffered",
        "expects_continue",
        "gone",
        "keeps",
        "old",
        "scope",
        "started",
        "task",
    )

    def __init__(
        self, connection: GatewayProtocol, scope: Scope, *, keeps: bool, old: bool, expects_continue: bool
    ) -> None:
        self._connection = connection
        self.scope = scope
        #: Whether the connection may serve another request after this one.
        self.keeps = keeps
        #: HTTP/1.0, which knows no chunks.
        self.old = old
        self.expects_continue = expects_continue
        #: Bytes of the body that nobody took yet.
        self.buffered = 0
        self.body_complete = False
        #: The client left.
        self.gone = False
        self.started = False
        self.answered = False
        self.task: asyncio.Task[None] | None = None
        self._parts: list[bytes] = []
        self._delivered = False
        self._head = b""
        self._chunked = False
        self._mute = scope["method"] == "HEAD"
        #: What must follow of an answer of stated length; -1 where none is stated.
        self._left = -1
        self._waiter: asyncio.Future[None] | None = None

    async def run(self, application: Any) -> None:
        """Have it answered. A failure after the status line ends the connection, so that nobody takes it for whole."""
        connection = self._connection
        try:
            await application(self.scope, self.receive, self.send)
            if not self.answered and not self.gone:
                await self._fail()
        except Exception:
            logger.exception("The application failed.")
            await self._fail()
        except BaseException:
            connection.end(at_once=True)
            raise
        finally:
            if self.task is not None:
                connection.forget(self.task)

    # ---- from the connection -----------------------------------------------------------------------------------

    def feed(self, part: bytes) -> None:
        """Some of the body came; what follows an answer is for nobody."""
        if not self.answered:
            self._parts.append(part)
            self.buffered += len(part)
            self.wake()

    def end_body(self) -> None:
        """All of the body came."""
        self.body_complete = True
        self.wake()

    def leave(self) -> None:
        """The client is gone."""
        self.gone = True
        self.wake()

    def wake(self) -> None:
        """Something happened."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ---- ASGI --------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Some of the body; after its end the client's leaving, or the end of the answer."""
        if self.expects_continue:
            self.expects_continue = False
            if not (self._parts or self.body_complete or self.gone):
                self._connection.write(_CONTINUE)
        while not (self.gone or self.answered):
            if self._parts or (self.body_complete and not self._delivered):
                return self._some_body()
            self._waiter = self._connection.future()
            await self._waiter
        return {"type": "http.disconnect"}

    def _some_body(self) -> Message:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered = 0
        self._delivered = self.body_complete
        self._connection.look_at_reading()
        return {"type": "http.request", "body": body, "more_body": not self.body_complete}

    async def send(self, message: Message) -> None:
        """Write a part of the answer, waiting while the client reads slowly. To a client that left, nothing."""
        connection = self._connection
        if connection.is_full and not self.gone:
            await connection.writable()
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.started and not self.answered:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        elif kind == WHOLE and not self.started:
            self._begin(message["status"], message["headers"])
            self._write(message["body"], more=False)
        elif kind == "http.response.start" and not self.started:
            self._begin(message["status"], message.get("headers", []))
            # Together with the first part, which mostly follows at once: a packet less for each answer.
            self._connection.soon(self._write_head)
        else:
            raise RuntimeError(f"{kind} has no place here")

    def _begin(self, status: int, headers: RawHeaders) -> None:
        closes = False
        lines = [_STATUS_LINES[status], *self._connection.default_lines()]
        length: bytes | None = None
        for header in headers:
            # In lower case, as ASGI has it.
            name, value = header
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                raise RuntimeError("how an answer is transferred is not the application's")
            elif name == b"connection" and b"close" in value.lower():
                closes = True
            lines.append(b"%b: %b\r\n" % header)
        mute = self._mute or status in _BODILESS
        chunked = length is None and not mute and not self.old
        if chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif length is None and not mute:
            self.keeps = False
        if self.expects_continue and not self.body_complete:
            # Nobody can tell whether the client will send it now: what follows may be body or request.
            self.keeps = False
        if closes:
            self.keeps = False
        elif not self.keeps:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise RuntimeError("a line end within a header")
        self._mute, self._chunked, self._left = mute, chunked, -1 if length is None else int(length)
        self.started = True
        self._head = head

    def _write_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.gone:
            self._connection.write(head)

    def _write(self, part: bytes, *, more: bool) -> None:
        if self._mute:
            part = b""
            self._left = 0
        elif self._chunked:
            end = b"" if more else b"0\r\n\r\n"
            part = b"%x\r\n%b\r\n%b" % (len(part), part, end) if part else end
        elif self._left >= 0:
            self._left -= len(part)
            if self._left < 0:
                raise RuntimeError("the answer is longer than it was said to be")
        connection = self._connection
        if self._head:
            part = self._head + part
            self._head = b""
        if part:
            connection.write(part)
        if more:
            return
        if self._left > 0:
            raise RuntimeError("the answer is shorter than it was said to be")
        self.answered = True
        self.wake()
        connection.after_answer(self)

    async def _fail(self) -> None:
        self.keeps = False
        if self.started or self.gone:
            self._write_head()
            # Where nothing else says how long an answer is, an orderly end would pass for a whole one.
            self._connection.end(at_once=self.old)
            return
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_FAILED))]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILED})
