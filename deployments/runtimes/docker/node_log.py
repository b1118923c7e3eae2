"""The node's own copy of a container's log: numbered lines in bounded segments, kept in step with the engine's.

The engine does not number lines. So whoever goes on with the copy (an agent, or the worker that closes the attempt)
asks for the engine's last records and looks for the end of the copy among them, by their times to the nanosecond
and their streams: what follows is new. Where it is not among them, lines were lost, and that is marked. Nothing else
is remembered, so nothing can disagree; no clock is read, so none can jump.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from deployments.exceptions import RuntimeUnavailableError
from deployments.runtimes.base import LogChunk
from deployments.runtimes.log_lines import read_lines
from deployments.runtimes.log_segments import OWN, SegmentWriter, last_stamps

from .container_logs import Bell, EngineLine, LastLines, last_lines

logger = logging.getLogger(__name__)

#: So many records are asked for at first, then, while the copy's end is not among them, more and more.
FEW_RECORDS, MANY_RECORDS, FINAL_RECORDS = 250, 4000, 50_000
#: Of output that comes faster than MANY_RECORDS in EACH_S, this is taken every second: a sample.
SAMPLE_RECORDS, SAMPLE_EVERY_S = 1000, 1.0
#: However often the bell rings: output is fetched no more often than this.
EACH_S = 0.25
#: A bell may fail to ring where the engine rotates its file.
UNRUNG_S = 30.0
HEARD_S = 2.0
LOCK_S = 5.0
#: So many of the copy's last lines have to be found again, in their order.
KNOWN_LINES = 64
MOST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one look at the engine's log brought."""

    lines: int
    is_flooded: bool


class NodeLog:
    """The copy below ``folder``. One writer at a time, by a lock; any number of readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, *, cursor: int, limit: int) -> LogChunk:
        """Up to ``limit`` lines after ``cursor``, as they are on disk."""
        return read_lines(self.folder, cursor=cursor, limit=limit)

    def catch_up(self, client: Any, name: str, *, has_ended: bool) -> None:
        """Take over what the engine has, unless somebody else is at it; for an ended container that is waited for.

        Raises RuntimeUnavailableError.
        """
        with self._locked(LOCK_S if has_ended else 0) as mine:
            for _step in range(MOST_STEPS if mine else 0):
                if not self.take(client, name, has_ended=has_ended).lines:
                    return

    def follow(self, client: Any, name: str, *, ended: Callable[[], bool], runs: Callable[[], bool]) -> None:
        """Take over output as it comes, until ``ended`` says so or the container no longer ``runs``.

        A silent container costs nothing. Raises RuntimeUnavailableError.
        """
        with self._locked(0) as mine:
            while mine and not ended():
                with contextlib.closing(Bell(client, name)) as bell:
                    self._listen(bell, client, name, ended=ended)
                while not ended() and self.take(client, name, few=SAMPLE_RECORDS, many=SAMPLE_RECORDS).is_flooded:
                    time.sleep(SAMPLE_EVERY_S)
                if not ended() and not runs():
                    self.take(client, name, has_ended=True)
                    return

    def _listen(self, bell: Bell, client: Any, name: str, *, ended: Callable[[], bool]) -> None:
        """Take over what comes while it does not come too fast."""
        while not ended() and not bell.is_over:
            if self.take(client, name).is_flooded:
                return
            time.sleep(EACH_S)
            quiet_since = time.monotonic()
            while not ended() and not bell.rings(within_s=HEARD_S) and time.monotonic() < quiet_since + UNRUNG_S:
                pass

    def take(
        self, client: Any, name: str, *, has_ended: bool = False, few: int = FEW_RECORDS, many: int = MANY_RECORDS
    ) -> Step:
        """Append what is new once. The caller holds the lock."""
        known = last_stamps(str(self.folder), KNOWN_LINES)
        if not known:
            # The beginning says most about a run, so it is taken first, and what follows with the next step.
            found = last_lines(client, name, records=None, has_ended=has_ended)
            new = found.lines[:MANY_RECORDS]
            self._append(new)
            return Step(lines=len(new), is_flooded=False)
        asked = few
        while True:
            found = last_lines(client, name, records=asked, has_ended=has_ended)
            at = end_of(known, found)
            # Among lines of one and the same time, of which the first are not in sight, it may be another place.
            is_certain = at is not None and found.lines[0].stamp != known[-1][0]
            if is_certain or found.is_whole or asked >= (FINAL_RECORDS if has_ended else many):
                break
            asked = FINAL_RECORDS if asked == many else many
        new = found.lines[at or 0 :]
        missing = _missing(known, new) if at is None else 0
        self._append(new, missing=missing)
        return Step(lines=len(new), is_flooded=bool(missing))

    def remove(self) -> None:
        """Delete the copy, when its writer has left it. Safe to repeat."""
        if not self.folder.is_dir():
            return
        with self._locked(LOCK_S):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, lines: Sequence[EngineLine], *, missing: int = 0) -> None:
        if not lines:
            return
        writer = SegmentWriter(str(self.folder))
        try:
            if missing:
                writer.skip(missing)
                told = _("… here about %(count)s lines are missing: they came faster than this node reads …")
                mark = (told % {"count": missing}).encode()
                writer.add([(lines[0].stamp, OWN.decode(), mark)])
            writer.add([(line.stamp, line.stream, line.text) for line in lines])
        except OSError as error:
            message = _("The log cannot be written at %(path)s: %(detail)s")
            raise RuntimeUnavailableError(message % {"path": self.folder, "detail": error.strerror}) from error
        finally:
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


def end_of(known: Sequence[tuple[str, str]], found: LastLines) -> int | None:
    """Where, among the engine's lines, those begin that come after ``known``; None when its end is not among them.

    ``known`` are the copy's last lines, as time and stream. As many of them as can be must be there, in their order.
    """
    marks = [(line.stamp, line.stream) for line in found.lines]
    best, longest = None, 0
    for at, mark in enumerate(marks):
        if mark != known[-1]:
            continue
        length = min(at + 1, len(known))
        if length > longest and marks[at + 1 - length : at + 1] == list(known[-length:]):
            best, longest = at, length
    return None if best is None else best + 1


def _missing(known: Sequence[tuple[str, str]], new: Sequence[EngineLine]) -> int:
    """About how many lines lie between: as many as at the pace of those that follow."""
    if not new:
        return 0
    first, last = float(new[0].stamp), float(new[-1].stamp)
    pace = (len(new) - 1) / (last - first) if last > first else 0.0
    return max(1, round((first - float(known[-1][0])) * pace))
