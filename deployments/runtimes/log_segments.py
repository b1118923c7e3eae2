"""Writes a run's log as numbered lines in bounded segments: the head and the tail are kept, the middle is dropped.

A line is ``NUMBER SECONDS STREAM TEXT``. Numbers run on over everything that was written, kept or not, so that
the jump from one line's number to the next counts what was dropped. Standard library only (see ``run_files``).
"""
# ruff: noqa: PTH103, PTH108, PTH118, PTH123, PTH208

from __future__ import annotations

import os
import time

SEGMENT_BYTES = 256 * 1024
HEAD_SEGMENTS = 2
TAIL_SEGMENTS = 8
LINE_BYTES = 4096


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


def last_stamp(folder: str) -> tuple[str, int]:
    """The time of the last whole line as it was written, and how many lines at the end have it; ("", 0) for none."""
    last, same = b"", 0
    for name in reversed(segment_names(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        for line in reversed(lines):
            stamp = line.split(b" ", 2)[1]
            last = last or stamp
            if stamp != last:
                return last.decode(), same
            same += 1
    return last.decode(), same


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
        #: The text of a line's time, for output that was stamped elsewhere; empty for now.
        self.stamp = ""

    def skip(self, count: int) -> None:
        """Leave ``count`` numbers out: so many lines are known to be lost."""
        self._number += count

    def feed(self, stream: str, data: bytes) -> None:
        """Take raw output. Carriage returns end a line too, since progress bars use nothing else."""
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
        """Write what has no line ending yet and close the segment."""
        for stream, rest in self._pending.items():
            if rest.strip(b"\r"):
                self._write(stream, [rest.rstrip(b"\r")])
        self._pending.clear()
        self._close_segment()

    def _write(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        cut = self._cut.pop(stream, 0)
        stamp = (self.stamp or f"{time.time():.3f}").encode() + b" " + stream.encode()
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

    @staticmethod
    def _bounded(line: bytes, cut: int) -> bytes:
        cut += max(0, len(line) - LINE_BYTES)
        return line[:LINE_BYTES] + b" [%d more bytes]" % cut if cut else line

    def _append(self, data: bytes, first: int) -> None:
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

    def _close_segment(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
