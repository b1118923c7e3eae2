"""Reads the log of an attempt for people: from its live stream, and what the database kept once it ended.

A stream entry's id begins with the line's cursor (see :mod:`deployments.logs`), and cursors count lines
from 1. So a reader who lost the connection goes on exactly after the last line that it has, and a jump
of the cursor is a number of lines that are missing: what is shown is complete, or its gaps are marked.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .exceptions import NotFoundError, RuntimeUnavailableError
from .lifecycle.phases import ENDED
from .logs import stream_key
from .models import Attempt, Deployment
from .redis import RedisError, StreamEntry, async_client, client
from .runtimes.base import LogLine

logger = logging.getLogger(__name__)

#: A new reader starts so many lines before the end; the file has all.
TAIL_LINES = 4000
BATCH_LINES = 500
PAGE_LINES = 1000
WAIT_MS = 2000
RETRY_S = (0.5, 1.0, 2.0, 5.0)
#: How a kept log marks what it lacks, whatever the reader's language is.
KEPT_MARK = re.compile(r"… (\d+) lines (?:left out|were dropped) …")


@dataclass(frozen=True)
class Gap:
    """So many lines are missing here."""

    lines: int

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
            number = int(entry_id.partition("-")[0])
            if "end" in fields:
                self._end = number
            elif "l" in fields:
                line = LogLine(cursor=number, at=float(fields["t"]), stream=fields["s"], text=fields["l"])
                pieces += self._advance(number, line)
            else:
                pieces += self._advance(number, None)
        return pieces

    def take_kept(self, text: str) -> list[Piece]:
        """What the database's text has after this position; its lines have no time (0)."""
        pieces: list[Piece] = []
        number = 0
        for part in text.split("\n") if text else ():
            mark = KEPT_MARK.fullmatch(part)
            number += int(mark[1]) if mark else 1
            if number > self.cursor:
                line = None if mark else LogLine(cursor=number, at=0, stream="out", text=part)
                pieces += self._advance(number, line)
        return pieces

    def _advance(self, number: int, line: LogLine | None) -> Iterator[Piece]:
        missing = number - self.cursor - (1 if line else 0)
        if missing > 0:
            yield Gap(missing)
        if line:
            yield line
        self.cursor = max(self.cursor, number)


def kept_text(deployment_id: int, attempt: int) -> str | None:
    """The log that the database has, or None while the attempt may still write. Empty if it never began."""
    row = Attempt.objects.filter(deployment=deployment_id, number=attempt).first()
    if row is not None and row.ended_at is not None:
        return row.log
    run = Deployment.objects.filter(pk=deployment_id).only("phase", "attempt").first()
    is_over = run is None or run.phase in ENDED or run.attempt > attempt
    return "" if is_over else None


def newest_logged_attempt(deployment: Deployment) -> int | None:
    """The number of the newest attempt that has printed anything. Raises RuntimeUnavailableError."""
    number = deployment.attempt
    if kept_text(deployment.pk, number) is None and _page(deployment.pk, number, "0-0"):
        return number
    return deployment.attempts.exclude(log="").values_list("number", flat=True).last()


class LogReader:
    """One attempt's log, piece by piece; ``ended`` is true once there will be no more."""

    def __init__(self, deployment_id: int, attempt: int) -> None:
        self.deployment_id = deployment_id
        self.attempt = attempt
        self.position = LogPosition()
        self.ended = False

    def read(self) -> list[Piece]:
        """What is new, empty for nothing at the moment. Raises RuntimeUnavailableError when Redis is away.

        Of an attempt that has ended, the database's text is the truth: a stream may have lost lines.
        """
        if self.ended:
            return []
        # Asked before the stream is read, so that nothing is written between the two.
        kept = kept_text(self.deployment_id, self.attempt)
        is_new = self.position.cursor == 0
        entries = [] if kept and is_new else self._entries(is_over=kept is not None)
        pieces = self.position.take(entries)
        if kept is not None and not entries:
            pieces += self.position.take_kept(kept)
            self.ended = True
        self.ended = self.ended or self.position.is_complete
        return pieces

    def _entries(self, *, is_over: bool) -> list[StreamEntry]:
        try:
            return _page(self.deployment_id, self.attempt, self.position.entry_id)
        except RuntimeUnavailableError:
            if is_over:
                return []
            raise


def log_file_lines(deployment_id: int, attempt: int) -> Iterator[str]:
    """The whole log as lines of text, with times and streams while they are known.

    Raises NotFoundError for an attempt that never was, RuntimeUnavailableError when only Redis has it and is away.
    """
    known = Attempt.objects.filter(deployment=deployment_id, number=attempt).exists()
    if not known and not Deployment.objects.filter(pk=deployment_id, attempt__gte=attempt).exists():
        raise NotFoundError(_("This run had no attempt %(number)s.") % {"number": attempt})
    reader = LogReader(deployment_id, attempt)
    while pieces := reader.read():
        for piece in pieces:
            yield f"{_with_time(piece)}\n"


def text_of(piece: Piece) -> str:
    """A line as it was printed, or the words for a gap."""
    return piece.text if isinstance(piece, LogLine) else str(piece)


def _with_time(piece: Piece) -> str:
    if isinstance(piece, Gap) or not piece.at:
        return text_of(piece)
    at = datetime.fromtimestamp(piece.at, UTC).isoformat(timespec="milliseconds")
    return f"{at} {piece.stream:<5} {piece.text}"


def _page(deployment_id: int, attempt: int, after: str) -> list[StreamEntry]:
    try:
        return client().xrange(stream_key(deployment_id, attempt), min=f"({after}", count=PAGE_LINES)
    except RedisError as error:
        sentence = _("The log cannot be read now: Redis does not answer (%(detail)s).") % {"detail": error}
        raise RuntimeUnavailableError(sentence) from error


@dataclass(frozen=True, kw_only=True)
class LogFrame:
    """One message of a followed log: lines as ``{c, t, s, l}``, a gap of so many lines, or the end."""

    kind: str
    lines: Sequence[LogLine] = ()
    skipped_lines: int = 0

    def to_json(self) -> dict[str, Any]:
        """What goes over the socket; ``t`` is null when no time is known."""
        if self.kind == "lines":
            lines = [{"c": it.cursor, "t": it.at or None, "s": it.stream, "l": it.text} for it in self.lines]
            return {"type": "lines", "lines": lines}
        return {"type": "gap", "lines": self.skipped_lines} if self.kind == "gap" else {"type": "end"}


END = LogFrame(kind="end")


def _frames_of(pieces: Sequence[Piece]) -> Iterator[LogFrame]:
    lines: list[LogLine] = []
    for piece in pieces:
        if lines and (isinstance(piece, Gap) or len(lines) == BATCH_LINES):
            yield LogFrame(kind="lines", lines=lines)
            lines = []
        if isinstance(piece, Gap):
            yield LogFrame(kind="gap", skipped_lines=piece.lines)
        else:
            lines.append(piece)
    if lines:
        yield LogFrame(kind="lines", lines=lines)


async def follow_log(deployment_id: int, attempt: int, *, cursor: int = 0) -> AsyncIterator[LogFrame]:
    """Frames after ``cursor`` until the attempt's end. While Redis is away it tries again, ever more slowly."""
    follower = _Follower(deployment_id, attempt, cursor)
    failures = 0
    while True:
        try:
            async for frame in follower.frames():
                failures = 0
                yield frame
            return
        except (RedisError, OSError) as error:
            kept = await follower.kept()
            if kept is not None:
                for frame in follower.rest(kept):
                    yield frame
                return
            if failures == 0:
                logger.warning("The log of deployment %s waits for Redis: %s", deployment_id, error)
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1


class _Follower:
    """Waits for what is new; ``position`` survives a lost connection."""

    def __init__(self, deployment_id: int, attempt: int, cursor: int) -> None:
        self.deployment_id = deployment_id
        self.attempt = attempt
        self.key = stream_key(deployment_id, attempt)
        self.position = LogPosition(cursor)

    async def frames(self) -> AsyncIterator[LogFrame]:
        redis = async_client()
        try:
            if self.position.cursor == 0:
                await self._skip_to_tail(redis)
            entries: list[StreamEntry] = []
            while True:
                # Asked only when the stream is silent, and before it is read again: nothing comes between.
                kept = None if entries else await self.kept()
                entries = await self._next(redis, wait=kept is None)
                for frame in _frames_of(self.position.take(entries)):
                    yield frame
                if self.position.is_complete:
                    yield END
                    return
                if kept is not None and not entries:
                    for frame in self.rest(kept):
                        yield frame
                    return
        finally:
            await redis.aclose()

    def rest(self, kept: str) -> Iterator[LogFrame]:
        """What the stream never had, and the end."""
        yield from _frames_of(self.position.take_kept(kept))
        yield END

    async def kept(self) -> str | None:
        """See :func:`kept_text`."""
        text: str | None = await database_sync_to_async(kept_text)(self.deployment_id, self.attempt)
        return text

    async def _skip_to_tail(self, redis: Any) -> None:
        if await redis.xlen(self.key) <= TAIL_LINES:
            return
        tail = await redis.xrevrange(self.key, count=TAIL_LINES)
        before = await redis.xrevrange(self.key, max=f"({tail[-1][0]}", count=1)
        if before:
            self.position.entry_id = before[0][0]

    async def _next(self, redis: Any, *, wait: bool) -> list[StreamEntry]:
        block = WAIT_MS if wait else None
        answer = await redis.xread({self.key: self.position.entry_id}, count=BATCH_LINES, block=block)
        entries: list[StreamEntry] = answer[0][1] if answer else []
        return entries
