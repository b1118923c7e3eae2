"""Notices that a client left, and stops the work that was for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from .wire import Receive


class StopWhenClientLeaves:
    """Cancels the block when ``receive`` reports a disconnect; the block then ends without an error.

    Without this, a whole answer is computed to its end for nobody: a server writes, and so notices,
    only once there is something to write.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = False
        self.left = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a coroutine of this block must run in a task")
        self._task = task
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._over = True
        self._watcher.cancel()
        if self.left and kind is asyncio.CancelledError:
            # Somebody else may have cancelled it too, as at shutdown; then it stays cancelled.
            return self._task.uncancel() == 0
        return False

    def finishing(self) -> None:
        """The last bytes follow: from here on a disconnect is the normal end."""
        self._over = True

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._over:
            self.left = True
            self._task.cancel()
