"""Where a reader stands in a log: the lines and gaps of a stream's entries, or of the text that the database keeps.

A stream entry's id begins with the line's cursor (see :mod:`deployments.logs`), and cursors count lines
from 1. So a reader who lost the connection goes on exactly after the last line that it has, and a jump
of the cursor is a number of lines that are missing: what is shown is complete, or its gaps are marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import ngettext

from .lifecycle.phases import ENDED
from .models import Attempt, Deployment
from .redis import StreamEntry
from .runtimes.base import LogLine

#: How a kept log marks what it lacks, whatever the reader's language is.
KEPT_MARK = re.compile(r"… (\d{1,15}) lines (?:left out|were dropped) …")


@dataclass(frozen=True)
class Gap:
    """So many lines are missing here; ``last`` is the cursor of the last of them, 0 when nobody asks."""

    lines: int
    last: int = 0

    def __str__(self) -> str:
        sentence = ngettext("%(count)d line left out", "%(count)d lines left out", self.lines)
        return f"… {sentence % {'count': self.lines}} …"


Piece = LogLine | Gap


class LogPosition:
    """How far a reader has come. ``cursor`` is the last line's, ``entry_id`` where the stream is read on."""

    def __init__(self, cursor: int = 0) -> None:
        self.cursor = cursor
        self.entry_id = f"{cursor}-0"
        self._end: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the stream's end was read and no line before it is missing."""
        return self._end is not None and self._end <= self.cursor

    def take(self, entries: Sequence[StreamEntry]) -> list[Piece]:
        """The lines and gaps of a part of the stream."""
        pieces: list[Piece] = []
        for entry_id, fields in entries:
            self.entry_id = entry_id
            number = cursor_of(entry_id)
            if "end" in fields:
                self._end = number
            elif "l" in fields:
                pieces += self._advance(number, line_of(entry_id, fields))
            else:
                pieces += self._advance(number, None)
        return pieces

    def take_kept(self, text: str) -> list[Piece]:
        """What the database's text has after this position; its lines have no time (0) and no stream."""
        pieces: list[Piece] = []
        number = 0
        for part in text.split("\n") if text else ():
            mark = KEPT_MARK.fullmatch(part)
            number += int(mark[1]) if mark else 1
            if number > self.cursor:
                line = None if mark else LogLine(cursor=number, at=0, stream="", text=part)
                pieces += self._advance(number, line)
        return pieces

    def take_lines(self, lines: Sequence[LogLine]) -> list[Piece]:
        """Lines with what is missing between them."""
        return [piece for line in lines for piece in self._advance(line.cursor, line)]

    def _advance(self, number: int, line: LogLine | None) -> Iterator[Piece]:
        missing = number - self.cursor - (1 if line else 0)
        if missing > 0:
            yield Gap(missing, number - (1 if line else 0))
        if line:
            yield line
        self.cursor = max(self.cursor, number)


def cursor_of(entry_id: str) -> int:
    """The cursor of a stream entry."""
    return int(entry_id.partition("-")[0])


def line_of(entry_id: str, fields: dict[str, str]) -> LogLine:
    """The line of a stream entry that has one."""
    return LogLine(cursor=cursor_of(entry_id), at=float(fields["t"]), stream=fields["s"], text=fields["l"])


def kept_text(deployment_id: int, attempt: int) -> str | None:
    """The log that the database has, or None while the attempt may still write. Empty if it never began."""
    row = Attempt.objects.filter(deployment=deployment_id, number=attempt).first()
    if row is not None and row.ended_at is not None:
        return row.log
    run = Deployment.objects.filter(pk=deployment_id).only("phase", "attempt").first()
    is_over = run is None or run.phase in ENDED or run.attempt > attempt
    return "" if is_over else None
