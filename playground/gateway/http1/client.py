"""Sends requests over connections that are kept for the next one."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Final

from .answer import Answer
from .connection import Connection, Payload
from .errors import BrokenAnswerError, CannotConnectError
from .origin import Origin

CONNECT_S: Final = 5.0
#: The longest silence of a server, before its first byte or between two: long prompts take minutes.
SILENCE_S: Final = 600.0
#: An idle connection is kept this long: servers commonly close theirs after five seconds.
KEEP_S: Final = 4.0


class UpstreamClient:
    """The process's client. Use it from one event loop; :meth:`close` it at the end."""

    def __init__(self, *, silence_s: float = SILENCE_S, connect_s: float = CONNECT_S, keep_s: float = KEEP_S) -> None:
        self.silence_s = silence_s
        self.connect_s = connect_s
        self.keep_s = keep_s
        self._idle: dict[Origin, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    @property
    def busy(self) -> int:
        """Connections with a request under way."""
        return sum(connection.is_busy for connection in self._open)

    @property
    def idle(self) -> int:
        """Connections that wait for the next request."""
        return sum(map(len, self._idle.values()))

    async def ask(self, origin: Origin, head: bytes, payload: Payload) -> Answer:
        """Send a request: ``head`` with the empty line at its end, then ``payload``. Close the answer.

        Raises CannotConnectError before anything was sent, else BrokenAnswerError or SilentError.
        """
        connection = self._kept(origin)
        if connection is None:
            connection = await self._connect(origin)
            return await connection.ask(head, payload)
        try:
            return await connection.ask(head, payload)
        except BrokenAnswerError:
            # Perhaps it was closed while it lay idle; then the others are likely to be, and nobody should meet them.
            self._drop(origin)
            raise

    async def close(self) -> None:
        """End every connection, busy or not. Safe to repeat."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        for connection in [*self._open]:
            connection.fail(BrokenAnswerError("the gateway ends"))
        # The event loop tells each connection's end in its next round.
        await asyncio.sleep(0)

    def _kept(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            # The last one that was used is the most likely to live.
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        made: list[Connection] = []

        def make() -> Connection:
            connection = Connection(origin, silence_s=self.silence_s, on_free=self._keep, on_lost=self._forget)
            made.append(connection)
            return connection

        try:
            async with asyncio.timeout(self.connect_s):
                tls = self._context() if origin.tls else None
                _transport, connection = await loop.create_connection(make, origin.host, origin.port, ssl=tls)
        except BaseException as error:
            # Whoever left may have done so in the moment in which it came about.
            for each in made:
                each.abort()
            if isinstance(error, TimeoutError):
                raise CannotConnectError(f"no connection to {origin.name} within {self.connect_s:g} s") from error
            if isinstance(error, OSError):
                raise CannotConnectError(f"no connection to {origin.name}: {error}") from error
            raise
        self._open.add(connection)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _keep(self, connection: Connection) -> None:
        self._idle.setdefault(connection.origin, deque()).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self.keep_s, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        next_at: float | None = None
        for origin, idle in [*self._idle.items()]:
            # In the order in which they became idle.
            while idle and loop.time() - idle[0].free_since >= self.keep_s:
                idle.popleft().abort()
            if idle:
                due = idle[0].free_since + self.keep_s
                next_at = due if next_at is None else min(next_at, due)
            else:
                del self._idle[origin]
        if next_at is not None:
            self._sweep = loop.call_at(next_at, self._close_idle)

    def _drop(self, origin: Origin) -> None:
        for connection in self._idle.pop(origin, ()):
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle and not connection.is_busy:
            try:
                idle.remove(connection)
            except ValueError:
                return
