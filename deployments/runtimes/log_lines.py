"""Reads the segments that a keeper writes, from any process, while it writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .base import LogChunk, LogLine

# Group 1: colours, which stay, as tabs do. Then other control sequences, titles and links, and what is left of control
# characters. See deployments.log_text for text without colours.
ESCAPES = re.compile(
    r"(\x1b\[[0-9;:]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]"
)


def read_lines(folder: Path, *, cursor: int, limit: int) -> LogChunk:
    """Up to ``limit`` lines after ``cursor``, with no escape sequences but colours; a chunk never spans a gap.

    Cost is bounded by one segment beyond the lines returned. Raises OSError.
    """
    lines: list[LogLine] = []
    skipped = 0
    for line in _lines_after(folder, cursor):
        if not lines:
            skipped = line.cursor - cursor - 1
        elif line.cursor != lines[-1].cursor + 1:
            break
        lines.append(line)
        if len(lines) >= limit:
            break
    return LogChunk(lines=lines, next_cursor=lines[-1].cursor if lines else cursor, skipped_lines=skipped)


def _lines_after(folder: Path, cursor: int) -> Iterator[LogLine]:
    segments = sorted(folder.glob("*.log")) if folder.is_dir() else []
    first_useful = max((at for at, path in enumerate(segments) if int(path.stem) <= cursor + 1), default=0)
    for path in segments[first_useful:]:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # rotated away meanwhile; the next number tells what was lost
        # The last piece has no line ending yet: it is being written.
        for raw in data.split(b"\n")[:-1]:
            number, at, stream, text = raw.split(b" ", 3)
            if int(number) > cursor:
                clean = ESCAPES.sub(r"\1", text.decode(errors="replace"))
                yield LogLine(cursor=int(number), at=float(at), stream=stream.decode(), text=clean)
