"""Notices that a client left, and stops the work that was for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from .exchange import Exchange
from .wire import Receive

#: A client that takes nothing of an answer for this long has left, whatever its connection says.
STALLED_S: Final = 300.0
#: Answers that are there sooner need no watcher: a task costs more than all else that is done for them here.
WATCH_AFTER_S: Final = 0.03


class Departures:
    """Begins to watch those clients whose answers take longer: one timer for all, since a request is over sooner."""

    def __init__(self) -> None:
        self._fresh: dict[StopWhenClientLeaves, None] = {}
        self._waited: dict[StopWhenClientLeaves, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, block: StopWhenClientLeaves, loop: asyncio.AbstractEventLoop) -> None:
        """Watch ``block`` unless it is over within WATCH_AFTER_S, or twice that."""
        self._fresh[block] = None
        if self._timer is None:
            self._timer = loop.call_later(WATCH_AFTER_S, self._look, loop)

    def leave(self, block: StopWhenClientLeaves) -> None:
        """It is over."""
        if self._fresh.pop(block, self) is self:
            self._waited.pop(block, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        waited, self._waited, self._fresh = self._waited, self._fresh, {}
        self._timer = loop.call_later(WATCH_AFTER_S, self._look, loop) if self._waited else None
        for block in waited:
            block.watch()


class StopWhenClientLeaves:
    """Cancels the block when ``receive`` reports a disconnect; the block then ends without an error.

    Without this, a whole answer is computed to its end for nobody: a server writes, and so notices,
    only once there is something to write.
    """

    def __init__(
        self, receive: Receive, exchange: Exchange, departures: Departures, *, stalled_s: float = STALLED_S
    ) -> None:
        self._receive = receive
        self._exchange = exchange
        self._departures = departures
        self._stalled_s = stalled_s
        self._over = False
        self._look: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.left = False

    async def __aenter__(self) -> Self:
        # Asked for once: each time costs a system call.
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a coroutine of this block must run in a task")
        self._task = task
        self._departures.enter(self, self._loop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._over = True
        self._departures.leave(self)
        if self._watcher is not None:
            self._watcher.cancel()
        if self._look is not None:
            self._look.cancel()
        if self.left and kind is asyncio.CancelledError:
            # Somebody else may have cancelled it too, as at shutdown; then it stays cancelled.
            return self._task.uncancel() == 0
        return False

    def streaming(self) -> None:
        """A long answer begins: from here on the client has to take it. Safe to repeat."""
        if self._look is None:
            self._look_later()

    def finishing(self) -> None:
        """The last bytes follow: from here on a disconnect is the normal end."""
        self._over = True

    def watch(self) -> None:
        """From now on."""
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if not self._over:
            self.left = True
            self._task.cancel()

    def _look_later(self) -> None:
        stuck_at = self._exchange.parts if self._exchange.sending else -1
        self._look = self._loop.call_later(self._stalled_s, self._look_now, stuck_at)

    def _look_now(self, stuck_at: int) -> None:
        if self._exchange.sending and self._exchange.parts == stuck_at:
            self._leave()
        else:
            self._look_later()
