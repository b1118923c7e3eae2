"""Writes a run's log as numbered lines in bounded segments: the head and the tail are kept, the middle is dropped.

A line is ``NUMBER SECONDS STREAM TEXT``. Numbers run on over everything that was written, kept or not, so that
the jump from one line's number to the next counts what was dropped. Standard library only (see ``run_files``).
"""
# ruff: noqa: PTH103, PTH108, PTH112, PTH118, PTH123, PTH208

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SEGMENT_BYTES = 256 * 1024
HEAD_SEGMENTS = 2
TAIL_SEGMENTS = 8
LINE_BYTES = 4096
#: More than this is not written line by line but counted: a program that prints 50 MB/s must not cost its host a core.
WHOLE_BYTES_A_SECOND = 1024 * 1024
WHOLE_BURST_BYTES = 4 * 1024 * 1024
HELD_BYTES = 256 * 1024
#: The stream of lines that Berth itself adds.
OWN = b"berth"
#: Lines in one write.
BATCH_LINES = 500


def segment_names(folder: str) -> list[str]:
    """Segments, oldest first; a name is the number of its first line."""
    return sorted(name for name in os.listdir(folder) if name.endswith(".log"))


def last_number(folder: str) -> int:
    """The number of the last whole line on disk, 0 when there is none."""
    for name in reversed(segment_names(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            return int(whole.rpartition(b"\n")[2].split(b" ", 1)[0])
    return 0


def last_stamps(folder: str, count: int) -> list[tuple[str, str]]:
    """Time, as it was written, and stream of the last ``count`` whole lines, oldest first. Berth's own are left out."""
    found: list[tuple[str, str]] = []
    for name in reversed(segment_names(folder) if os.path.isdir(folder) else []):
        with open(os.path.join(folder, name), "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        for line in reversed(lines):
            _number, stamp, stream, _text = line.split(b" ", 3)
            if stream != OWN:
                found.append((stamp.decode(), stream.decode()))
                if len(found) == count:
                    return found[::-1]
    return found[::-1]


class Allowance:
    """How many bytes may be taken whole: so many a second, more after a quiet time. Beyond that, lines are counted."""

    def __init__(self, bytes_a_second: int = WHOLE_BYTES_A_SECOND, burst_bytes: int = WHOLE_BURST_BYTES) -> None:
        self._rate = bytes_a_second
        self._burst = burst_bytes
        self._left = float(burst_bytes)
        self._at = time.monotonic()
        self.is_used_up = False

    def take(self, count: int) -> bool:
        """Whether ``count`` more bytes fit. Once they did not, half a second's worth is saved up first."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        needed = max(count, self._rate / 2) if self.is_used_up else count
        self.is_used_up = self._left < needed
        if not self.is_used_up:
            self._left -= count
        return not self.is_used_up


class SegmentWriter:
    """Appends the output of a run to its log folder; goes on behind what is there."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = folder
        self._names = segment_names(folder)
        self._number = last_number(folder)
        self._handle = -1
        self._size = 0
        self._pending: dict[str, bytes] = {}
        self._cut: dict[str, int] = {}
        self._allowance = Allowance()
        self._held: list[tuple[str, bytes]] = []
        self._held_bytes = 0

    @property
    def is_flooded(self) -> bool:
        """Whether more comes than is written: something is held back until there is time, or :meth:`settle`."""
        return bool(self._held)

    def skip(self, count: int) -> None:
        """Leave ``count`` numbers out: so many lines are known to be lost."""
        self._number += count

    def add(self, lines: Sequence[tuple[str, str, bytes]]) -> None:
        """Append whole lines that have a time already: each as time, stream and text. Raises OSError."""
        for at in range(0, len(lines), BATCH_LINES):
            batch = lines[at : at + BATCH_LINES]
            first = self._number + 1
            numbered = [
                b"%d %s %s %s\n" % (number, stamp.encode(), stream.encode(), self._bounded(text, 0))
                for number, (stamp, stream, text) in enumerate(batch, first)
            ]
            self._append(b"".join(numbered), first)
            self._number += len(batch)

    def feed(self, stream: str, data: bytes) -> None:
        """Take raw output. Carriage returns end a line too, since progress bars use nothing else."""
        if self._allowance.take(self._held_bytes + len(data)):
            self.settle()
            self._take(stream, data)
            return
        # Its end may be the last words before a crash: so much is held back, and only what lies before is counted.
        self._held.append((stream, data))
        self._held_bytes += len(data)
        while self._held_bytes > HELD_BYTES:
            first = self._held.pop(0)
            self._held_bytes -= len(first[1])
            self._count(*first)

    def settle(self) -> None:
        """Write what was held back: there is time for it now, or nothing follows."""
        held, self._held, self._held_bytes = self._held, [], 0
        for stream, data in held:
            self._take(stream, data)

    def _take(self, stream: str, data: bytes) -> None:
        data = self._pending.get(stream, b"") + data
        held = b""
        if data.endswith(b"\r"):  # perhaps the first half of a line ending
            data, held = data[:-1], b"\r"
        redrawn = b"\r" in data
        if redrawn:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        if lines:
            self._write(stream, [line for line in lines if line] if redrawn else lines)
        if len(rest) > LINE_BYTES:
            self._cut[stream] = self._cut.get(stream, 0) + len(rest) - LINE_BYTES
            rest = rest[:LINE_BYTES]
        self._pending[stream] = rest + held

    def close(self) -> None:
        """Write what was held back and what has no line ending yet, and close the segment."""
        self.settle()
        for stream, rest in self._pending.items():
            if rest.strip(b"\r"):
                self._write(stream, [rest.rstrip(b"\r")])
        self._pending.clear()
        self._close_segment()

    def _write(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        cut = self._cut.pop(stream, 0)
        stamp = b"%.3f %s" % (time.time(), stream.encode())
        first = self._number + 1
        self._number += len(lines)
        numbered = [
            b"%d %s %s\n" % (number, stamp, line if len(line) <= LINE_BYTES else self._bounded(line, 0))
            for number, line in enumerate(lines, first)
        ]
        if cut:
            numbered[0] = b"%d %s %s\n" % (first, stamp, self._bounded(lines[0], cut))
        try:
            self._append(b"".join(numbered), first)
        except OSError:
            # A full disk must not end the model. The lines are lost, and their numbers tell how many.
            self._close_segment()

    def _count(self, stream: str, data: bytes) -> None:
        """Pass lines over; what follows the last of them is the beginning of the next."""
        lines = data.count(b"\n")
        rest = data[data.rfind(b"\n") + 1 :]
        if lines:
            self._number += lines
            self._cut.pop(stream, None)
            self._pending[stream] = b""
        whole = self._pending.get(stream, b"") + rest
        self._cut[stream] = self._cut.get(stream, 0) + max(0, len(whole) - LINE_BYTES)
        self._pending[stream] = whole[:LINE_BYTES]

    @staticmethod
    def _bounded(line: bytes, cut: int) -> bytes:
        cut += max(0, len(line) - LINE_BYTES)
        return line[:LINE_BYTES] + b" [%d more bytes]" % cut if cut else line

    def _append(self, data: bytes, first: int) -> None:
        if self._handle < 0:
            self._reopen_segment()
        if self._handle < 0 or self._size >= SEGMENT_BYTES:
            self._open_segment(first)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(data)

    def _open_segment(self, first: int) -> None:
        self._close_segment()
        while len(self._names) >= HEAD_SEGMENTS + TAIL_SEGMENTS:
            os.unlink(os.path.join(self._folder, self._names[HEAD_SEGMENTS]))
            del self._names[HEAD_SEGMENTS]
        name = f"{first:012d}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._handle = os.open(os.path.join(self._folder, name), flags, 0o600)
        self._size = 0
        self._names.append(name)

    def _reopen_segment(self) -> None:
        """Go on in the last segment, behind its last whole line: an earlier writer may have been killed at work."""
        if not self._names:
            return
        handle = os.open(os.path.join(self._folder, self._names[-1]), os.O_RDWR | os.O_CLOEXEC)
        whole = os.read(handle, os.fstat(handle).st_size).rfind(b"\n") + 1
        if not whole:  # nor may its name stand: lines are numbered on from the segment before
            os.close(handle)
            os.unlink(os.path.join(self._folder, self._names.pop()))
            return
        os.ftruncate(handle, whole)
        os.lseek(handle, whole, os.SEEK_SET)
        self._handle, self._size = handle, whole

    def _close_segment(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
