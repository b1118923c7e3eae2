"""Reads the segments that a keeper writes, from any process, while it writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .base import LogChunk, LogLine

# Group 1: colours, which stay, as tabs do. Then other control sequences, titles and links, and what is left of control
# characters. See deployments.log_text for text without colours.
ESCAPES = re.compile(
    r"(\x1b\[[0-9;:]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]"
)


#: A reader who only wants the newest lines reads so much of the last segment first.
TAIL_BYTES = 16 * 1024


def read_lines(folder: Path, *, cursor: int, limit: int) -> LogChunk:
    """Up to ``limit`` lines after ``cursor``, with no escape sequences but colours; a chunk never spans a gap.

    Cost is bounded by one segment beyond the lines returned, and small when there is nothing new. Raises OSError.
    """
    segments = sorted(folder.glob("*.log")) if folder.is_dir() else []
    newest, lately = _end(segments)
    if newest <= cursor:
        return LogChunk(lines=(), next_cursor=cursor, newest=newest)
    lines: list[LogLine] = []
    skipped = 0
    for line in _numbered(lately, cursor) if _reaches(lately, cursor) else _lines_after(segments, cursor):
        if not lines:
            skipped = line.cursor - cursor - 1
        elif line.cursor != lines[-1].cursor + 1:
            break
        lines.append(line)
        if len(lines) >= limit:
            break
    return LogChunk(
        lines=lines, next_cursor=lines[-1].cursor if lines else cursor, skipped_lines=skipped, newest=newest
    )


def _end(segments: list[Path]) -> tuple[int, bytes]:
    """The number of the newest line, 0 for none, and whole lines before it as far as they were read."""
    for path in reversed(segments):
        try:
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                at_start = file.tell() == 0
                data = file.read()
        except FileNotFoundError:
            continue
        whole = data[: data.rfind(b"\n") + 1]
        if not at_start:
            whole = whole[whole.find(b"\n") + 1 :]
        if whole:
            return int(whole[whole.rfind(b"\n", 0, -1) + 1 :].split(b" ", 1)[0]), whole
    return 0, b""


def _reaches(data: bytes, cursor: int) -> bool:
    """Whether the line after ``cursor`` is in ``data`` if it is anywhere."""
    return int(data.split(b" ", 1)[0]) <= cursor + 1


def _lines_after(segments: list[Path], cursor: int) -> Iterator[LogLine]:
    first_useful = max((at for at, path in enumerate(segments) if int(path.stem) <= cursor + 1), default=0)
    for path in segments[first_useful:]:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # rotated away meanwhile; the next number tells what was lost
        yield from _numbered(data, cursor)


def _numbered(data: bytes, cursor: int) -> Iterator[LogLine]:
    # The last piece has no line ending yet: it is being written.
    for raw in data.split(b"\n")[:-1]:
        number, at, stream, text = raw.split(b" ", 3)
        if int(number) > cursor:
            clean = ESCAPES.sub(r"\1", text.decode(errors="replace"))
            yield LogLine(cursor=int(number), at=float(at), stream=stream.decode(), text=clean)
