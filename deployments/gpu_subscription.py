"""What one page's socket still has to hear: at most three frames on their way, and a snapshot instead of the rest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from .gpu_frames import Frame

#: So many frames may be on their way to a browser that has not yet drawn them. A socket that is never read takes
#: hundreds before a write blocks, each a copy in this process.
MOST_UNACKNOWLEDGED = 3


class GpuSubscription:
    """The frames of one socket. ``snapshot`` gives everything that is known now, None while that is nothing.

    ``changed`` is called when the socket is paused or not any more.
    """

    def __init__(self, *, snapshot: Callable[[], Frame | None], changed: Callable[[], None]) -> None:
        self.is_paused = False
        self._snapshot = snapshot
        self._changed = changed
        self._is_behind = True
        self._dropped = 0
        self._seq = 0
        self._queue: deque[Frame] = deque()
        self._unacknowledged: deque[int] = deque()
        self._filled = asyncio.Event()

    def offer(self, frame: Frame) -> None:
        """Take the hub's newest frame, or note that it is missed."""
        if self.is_paused or frame.seq <= self._seq:
            return
        if self._is_full():
            self._is_behind = True
            self._dropped += 1
        elif self._is_behind:
            self.catch_up()
        else:
            self._put(frame)

    def catch_up(self) -> None:
        """Queue a snapshot as soon as there is one and room for it."""
        frame = None if self.is_paused or self._is_full() else self._snapshot()
        self._is_behind = frame is None
        if frame is not None:
            self._put(frame.with_dropped(self._dropped))
            self._dropped = 0

    def acknowledge(self, seq: int) -> None:
        """The browser has drawn everything up to ``seq``. What it missed, it gets now: there may be no next frame."""
        while self._unacknowledged and self._unacknowledged[0] <= seq:
            self._unacknowledged.popleft()
        if self._is_behind:
            self.catch_up()

    def pause(self) -> None:
        """Nothing more until :meth:`resume`."""
        self.is_paused = True
        self._is_behind = True
        self._dropped = 0
        self._queue.clear()
        self._changed()

    def resume(self) -> None:
        """Go on with a snapshot."""
        if self.is_paused:
            self.is_paused = False
            self.catch_up()
            self._changed()

    async def get(self) -> str:
        """The next frame to send."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        frame = self._queue.popleft()
        self._unacknowledged.append(frame.seq)
        return frame.text

    def _is_full(self) -> bool:
        return len(self._queue) + len(self._unacknowledged) >= MOST_UNACKNOWLEDGED

    def _put(self, frame: Frame) -> None:
        self._seq = frame.seq
        self._queue.append(frame)
        self._filled.set()
