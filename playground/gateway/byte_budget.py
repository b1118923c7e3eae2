"""A limit of the bytes of all bodies that are in memory at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BusyError

BUDGET_BYTES: Final = 512 * 1024 * 1024
MOST_WAITING: Final = 256
WAIT_S: Final = 20.0


class ByteBudget:
    """Bytes that bodies may take together. Who finds too little waits, first come, first served."""

    def __init__(
        self, limit_bytes: int = BUDGET_BYTES, *, most_waiting: int = MOST_WAITING, wait_s: float = WAIT_S
    ) -> None:
        self.limit_bytes = limit_bytes
        self.most_waiting = most_waiting
        self.wait_s = wait_s
        self.used = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, size: int) -> bool:
        """Take ``size`` bytes if they are there and nobody waits."""
        if self._line or self.used + size > self.limit_bytes:
            return False
        self.used += size
        return True

    async def take(self, size: int) -> None:
        """Take ``size`` bytes, waiting for them. Raises BusyError when too many wait or it takes too long."""
        if self.try_take(size):
            return
        if len(self._line) >= self.most_waiting:
            raise _busy()
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, granted)
        self._line.append(entry)
        try:
            async with asyncio.timeout(self.wait_s):
                await granted
        except TimeoutError:
            self._leave_line(entry)
            raise _busy() from None
        except asyncio.CancelledError:
            self._leave_line(entry)
            raise

    def give_back(self, size: int) -> None:
        """Free ``size`` bytes."""
        self.used -= size
        while self._line:
            wanted, granted = self._line[0]
            if self.used + wanted > self.limit_bytes:
                return
            self._line.popleft()
            if not granted.done():
                self.used += wanted
                granted.set_result(None)

    def _leave_line(self, entry: tuple[int, asyncio.Future[None]]) -> None:
        size, granted = entry
        if granted.done() and not granted.cancelled():
            # Granted in the moment when nobody wanted it any more.
            self.give_back(size)
            return
        with contextlib.suppress(ValueError):
            self._line.remove(entry)
        # Whoever stands behind may fit now.
        self.give_back(0)


class Hold:
    """What one request has of the budget."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.size = 0

    async def grow_to(self, size: int) -> None:
        """Have ``size`` bytes at least. Raises BusyError."""
        more = size - self.size
        if more > 0:
            if not self._budget.try_take(more):
                await self._budget.take(more)
            self.size = size

    def try_grow(self, more: int) -> bool:
        """Have ``more`` bytes besides, if that needs no waiting."""
        if not self._budget.try_take(more):
            return False
        self.size += more
        return True

    def shrink_to(self, size: int) -> None:
        """Give back what is above ``size``."""
        if size < self.size:
            surplus, self.size = self.size - size, size
            self._budget.give_back(surplus)


def _busy() -> BusyError:
    return BusyError(_("The gateway holds too many large requests at the moment. Try again in a moment."))
