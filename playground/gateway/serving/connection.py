"""A client's connection: requests one after the other, each an ASGI call in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httptools

from playground.gateway.wire import WHOLE

from .cycle import Cycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from playground.gateway.wire import RawHeaders, Scope

logger = logging.getLogger(__name__)

#: A client is not read from while so many bytes of its body wait to be taken.
HOLD_BYTES: Final = 256 * 1024
#: Of a request's first line and headers.
MOST_HEAD_BYTES: Final = 64 * 1024
#: From its first byte, or the connection's beginning, to its end.
HEAD_S: Final = 30.0
#: The longest silence within a body that is waited for. The application's own limit is shorter and says more, but it
#: does not hold before a body's first byte.
BODY_S: Final = 75.0
#: A client that takes nothing of what was written for so long has gone, whatever its connection says.
STALLED_S: Final = 300.0
_EXTENSIONS: Final[dict[str, dict[str, Any]]] = {WHOLE: {}}
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class _HeadTooLongError(Exception):
    """Refused with 431."""


class _NoTunnelError(Exception):
    """Refused with 400."""


class GatewayProtocol(asyncio.Protocol):
    """Made by uvicorn's server for each connection, as its own protocols are; name it with ``--http``.

    Of uvicorn's options it heeds those of the server, ``--timeout-keep-alive``, ``--root-path`` and default headers.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._application = config.loaded_app
        self._keep_alive_s = config.timeout_keep_alive
        self._root_path = config.root_path
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines: tuple[bytes, ...] = ()
        self._url = b""
        self._headers: RawHeaders = []
        self._expects_continue = False
        #: Whether any request began; whether one is amid its head.
        self._asked = False
        self._in_head = False
        self._head_bytes = 0
        self._head_since = 0.0
        #: Whose body comes in; the one that is being answered; those that came before they may be.
        self._incoming: Cycle | None = None
        self._serving: Cycle | None = None
        self._line: deque[Cycle] = deque()
        #: Nothing more is read: what follows is no HTTP, or the connection ends.
        self._deaf = False
        self._paused = False
        self.is_full = False
        self._drained: list[asyncio.Future[None]] = []
        self._idle_since = self._loop.time()
        self._look: asyncio.TimerHandle | None = None
        #: Bytes in the transport's buffer, and since when they have been so many.
        self._unsent = 0
        self._unsent_since = 0.0

    # ---- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._head_since = self._loop.time()
        self._look = self._loop.call_later(self._keep_alive_s, self._look_for_idleness)
        secure = transport.get_extra_info("sslcontext") is not None
        self._base: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "scheme": "https" if secure else "http",
            "root_path": self._root_path,
            "query_string": b"",
            "server": _host_and_port(transport.get_extra_info("sockname")),
            "client": _host_and_port(transport.get_extra_info("peername")),
            "extensions": _EXTENSIONS,
        }

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._idle_since = self._loop.time()
        try:
            self._parser.feed_data(data)
            if self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > MOST_HEAD_BYTES:
                    self._refuse(_HeadTooLongError())
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except (httptools.HttpParserError, _HeadTooLongError) as error:
            self._refuse(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)  # type: ignore[arg-type]
        self._deaf = True
        if self._look is not None:
            self._look.cancel()
        for cycle in (self._serving, self._incoming):
            if cycle is not None:
                cycle.leave()
        self._line.clear()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        drained, self._drained = self._drained, []
        for waiter in drained:
            if not waiter.done():
                waiter.set_result(None)

    def shutdown(self) -> None:
        """uvicorn stops: answer what is under way, and end."""
        if self._serving is None:
            self._transport.close()
        else:
            self._serving.keeps = False

    # ---- httptools ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._expects_continue = False
        self._asked = self._in_head = True
        self._head_bytes = 0
        self._head_since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES:
            raise _HeadTooLongError
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self._expects_continue = True
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._parser.should_upgrade():
            return
        old = self._parser.get_http_version() != "1.1"
        scope = self._scope()
        keeps = not old and self._parser.should_keep_alive()
        cycle = Cycle(self, scope, keeps=keeps, old=old, expects_continue=self._expects_continue)
        self._incoming = cycle
        if self._serving is None:
            self._start(cycle)
        else:
            self._line.append(cycle)
            self.look_at_reading()

    def on_body(self, part: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(part)
            if self._incoming.buffered > HOLD_BYTES:
                self.look_at_reading()

    def on_message_complete(self) -> None:
        if self._incoming is not None:
            self._incoming.end_body()
            self._incoming = None

    # ---- for the cycle -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """To the socket, or to its buffer."""
        self._transport.write(data)

    def soon(self, callback: Callable[[], None]) -> None:
        """In the next round of the event loop."""
        self._loop.call_soon(callback)

    async def writable(self) -> None:
        """Until the client has taken most of what was written, or left."""
        while self.is_full:
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter

    def look_at_reading(self) -> None:
        """Read no more than can be used soon."""
        cycle = self._serving
        full = bool(self._line) or (cycle is not None and cycle.buffered > HOLD_BYTES)
        if full is not self._paused and not self._transport.is_closing():
            self._paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._idle_since = self._loop.time()
                self._transport.resume_reading()

    def default_lines(self) -> tuple[bytes, ...]:
        """uvicorn's headers, which it renews each second."""
        if self._state.default_headers is not self._default_headers:
            self._default_headers = self._state.default_headers
            self._default_lines = tuple([b"%b: %b\r\n" % header for header in self._default_headers])
        return self._default_lines

    def after_answer(self, cycle: Cycle) -> None:
        """The last byte was written: go on with the next request, or end."""
        self._state.total_requests += 1
        self._serving = None
        if self._line and cycle.keeps:
            self._start(self._line.popleft())
        elif self._deaf or not cycle.keeps:
            self.end()
            return
        self._idle_since = self._loop.time()
        if self._paused:
            self.look_at_reading()

    def end(self, *, at_once: bool = False) -> None:
        """End the connection, after what was written unless ``at_once``."""
        self._deaf = True
        if at_once:
            self._transport.abort()
        else:
            self._transport.close()

    def forget(self, task: asyncio.Task[None]) -> None:
        """It is over."""
        self._state.tasks.discard(task)

    def future(self) -> asyncio.Future[None]:
        """Of the event loop that is known here; asking asyncio for it costs a system call."""
        return self._loop.create_future()

    # ---- parts -------------------------------------------------------------------------------------------------

    def _start(self, cycle: Cycle) -> None:
        self._serving = cycle
        cycle.task = self._loop.create_task(cycle.run(self._application))
        self._state.tasks.add(cycle.task)

    def _scope(self) -> Scope:
        url = self._url
        scope = {**self._base, "method": self._parser.get_method().decode("ascii"), "headers": self._headers}
        if b"?" in url or b"%" in url or not url.startswith(b"/"):
            parsed = httptools.parse_url(url)
            scope["query_string"] = parsed.query or b""
            url = parsed.path
        if (version := self._parser.get_http_version()) != "1.1":
            scope["http_version"] = version
        path = url.decode("ascii")
        scope["path"] = self._root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self._root_path.encode() + url
        scope["state"] = self._app_state.copy()
        return scope

    def _decline(self, rest: bytes) -> None:
        """Nobody changes the protocol here, but the parser stops at the offer: go on as if it had not been made.

        Java's client, for one, offers HTTP/2 with each request over TCP, its body included.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(_NoTunnelError())
            return
        closes = any(name == b"connection" and b"close" in value.lower() for name, value in self._headers)
        kept = [header for header in self._headers if header[0] not in (b"connection", b"upgrade", b"http2-settings")]
        if closes:
            kept.append((b"connection", b"close"))
        lines = [b"%b %b HTTP/1.1\r\n" % (method, self._url), *(b"%b: %b\r\n" % header for header in kept), b"\r\n"]
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join(lines) + rest)

    def _refuse(self, error: Exception) -> None:
        """What came is no HTTP. Whoever is being answered gets the rest of the answer."""
        self._deaf = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            # Its body will never be whole.
            if incoming in self._line:
                self._line.remove(incoming)
            elif incoming is self._serving:
                self._serving = None
                incoming.leave()
        if self._serving is not None:
            return
        if incoming is None or not incoming.started:
            too_long = isinstance(error, _HeadTooLongError) or isinstance(error.__context__, _HeadTooLongError)
            status = b"431 Request Header Fields Too Large" if too_long else b"400 Bad Request"
            self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self._transport.close()

    def _look_for_idleness(self) -> None:
        """One timer for a connection's whole life: arming one for each request would cost more than this look."""
        now = self._loop.time()
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif unsent and now - self._unsent_since >= STALLED_S:
            self._transport.abort()
            return
        due = self._due(now)
        if due <= now:
            # It goes on to look: what was written may never be taken.
            self._transport.close()
            due = now + self._keep_alive_s
        self._look = self._loop.call_at(due, self._look_for_idleness)

    def _due(self, now: float) -> float:
        """When the connection is to end, or to be looked at again."""
        if self._transport.is_closing():
            return now + self._keep_alive_s
        if self._serving is not None:
            waits = self._incoming is self._serving and not self._paused
            return now if waits and now - self._idle_since >= BODY_S else now + self._keep_alive_s
        if self._in_head or not self._asked:
            return self._head_since + HEAD_S
        return self._idle_since + self._keep_alive_s


def _host_and_port(address: Any) -> tuple[str, int] | None:
    return (str(address[0]), int(address[1])) if isinstance(address, tuple | list) else None
