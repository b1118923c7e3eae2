"""The node's own copy of a container's log: numbered lines in bounded segments, kept in step with the engine's.

The engine knows when a line was printed, to the nanosecond, but not which one it is. The copy keeps those times, so
that whoever goes on with it (an agent, or the worker that closes the attempt) begins behind the last line that is
there: at its time, less the lines with that very time. Nothing else is remembered, so nothing can disagree.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from deployments.runtimes.base import LogChunk
from deployments.runtimes.log_lines import read_lines
from deployments.runtimes.log_segments import SegmentWriter, last_stamp

from .container_logs import EngineLine, engine_lines

#: A follower reads no more than this in a second: a server that prints 50 MB/s must not cost the node a core.
LINES_A_SECOND = 5_000
#: Further behind than this, what was not read is left out and said so: an old line helps nobody who looks now.
MOST_BEHIND_S = 10.0
LOCK_S = 5.0


class NodeLog:
    """The copy below ``folder``. One writer at a time, by a lock; any number of readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, *, cursor: int, limit: int) -> LogChunk:
        """Up to ``limit`` lines after ``cursor``, as they are on disk."""
        return read_lines(self.folder, cursor=cursor, limit=limit)

    def catch_up(self, client: Any, name: str, *, wait: bool) -> None:
        """Take over everything that the engine has, unless somebody else is at it; ``wait``: for up to 5 s."""
        with self._locked(LOCK_S if wait else 0) as mine:
            if mine:
                self._take(engine_lines(client, name, since=self._since()))

    def follow(self, client: Any, name: str, *, ended: Callable[[], bool]) -> None:
        """Take over lines as they come, until the container or ``ended`` says so. A silent one costs nothing."""
        with self._locked(0) as mine:
            while mine and not ended():
                behind = self._take(
                    engine_lines(client, name, since=self._since(), follow=True), ended=ended, paced=True
                )
                if not behind:
                    return
                self._leave_out(behind)

    def remove(self) -> None:
        """Delete the copy. Safe to repeat."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _since(self) -> str:
        return last_stamp(str(self.folder))[0] if self.folder.is_dir() else ""

    def _take(
        self, lines: Iterator[EngineLine], *, ended: Callable[[], bool] = lambda: False, paced: bool = False
    ) -> float:
        """Append what is new. Returns 0 at the end, or how many seconds a paced reader has fallen behind."""
        stamp, known = last_stamp(str(self.folder)) if self.folder.is_dir() else ("", 0)
        writer = SegmentWriter(str(self.folder))
        pace = _Pace() if paced else None
        try:
            for line in lines:
                if line.stamp == stamp and known:
                    known -= 1
                    continue
                writer.stamp = line.stamp
                writer.feed(line.stream, line.text + b"\n")
                if ended():
                    return 0
                if pace is not None and pace.take_one() and (behind := time.time() - float(line.stamp)) > MOST_BEHIND_S:
                    return behind
        finally:
            writer.close()
            with contextlib.suppress(AttributeError):
                lines.close()  # type: ignore[attr-defined]
        return 0

    def _leave_out(self, behind_s: float) -> None:
        """Go on with the present, and say what is missing: how many lines it was, nobody has counted."""
        writer = SegmentWriter(str(self.folder))
        writer.stamp = f"{time.time():.9f}"
        told = _("… the output of %(seconds)s s was left out: it came faster than this node reads …")
        writer.feed("berth", (told % {"seconds": round(behind_s)}).encode() + b"\n")
        writer.close()

    @contextlib.contextmanager
    def _locked(self, wait_s: float) -> Iterator[bool]:
        """Whether this process may write now. The lock falls with its process."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ends_at = time.monotonic() + wait_s
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= ends_at:
                        yield False
                        return
                    time.sleep(0.05)
                else:
                    yield True
                    return
        finally:
            os.close(handle)


class _Pace:
    """Sleeps so that no more than so many lines pass in a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._count = 0

    def take_one(self) -> bool:
        """Count a line; True once in a while, when it is worth asking how late it is."""
        self._count += 1
        if self._count < LINES_A_SECOND:
            return False
        left = 1.0 - (time.monotonic() - self._began)
        if left > 0:
            time.sleep(left)
        self._began, self._count = time.monotonic(), 0
        return True
