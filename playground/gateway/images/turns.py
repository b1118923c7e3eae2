"""One request at a time for engines whose cancelling hits whatever runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

SAY_EVERY_S: Final = 5.0


class Turn:
    """A request's turn. It lasts until its block ends, and until ``then`` is done if that is set."""

    then: asyncio.Task[None] | None = None


class Turns:
    """A line for each deployment, in the order of coming. Used from one event loop only."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}
        self._users: dict[int, int] = {}

    @asynccontextmanager
    async def taken(self, deployment_id: int, waiting: Callable[[], Awaitable[None]]) -> AsyncIterator[Turn]:
        """Wait for the turn, calling ``waiting`` every few seconds."""
        lock = self._locks.setdefault(deployment_id, asyncio.Lock())
        self._users[deployment_id] = self._users.get(deployment_id, 0) + 1
        turn = Turn()
        try:
            await _acquire(lock, waiting)
        except BaseException:
            self._leave(deployment_id)
            raise
        try:
            yield turn
        finally:
            if turn.then is None:
                self._release(deployment_id, lock)
            else:
                turn.then.add_done_callback(lambda _task: self._release(deployment_id, lock))

    def _release(self, deployment_id: int, lock: asyncio.Lock) -> None:
        lock.release()
        self._leave(deployment_id)

    def _leave(self, deployment_id: int) -> None:
        self._users[deployment_id] -= 1
        if not self._users[deployment_id]:
            del self._users[deployment_id], self._locks[deployment_id]


async def _acquire(lock: asyncio.Lock, waiting: Callable[[], Awaitable[None]]) -> None:
    acquiring = asyncio.ensure_future(lock.acquire())
    try:
        while not acquiring.done():
            await asyncio.wait({acquiring}, timeout=SAY_EVERY_S)
            if not acquiring.done():
                await waiting()
    except BaseException:
        if acquiring.done() and not acquiring.cancelled():
            lock.release()
        acquiring.cancel()
        raise
