"""Follows the log of an attempt for a page: its last lines, then each new one, until the attempt has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from channels.db import database_sync_to_async
from django.utils import timezone

from .log_position import Gap, LogPosition, Piece, kept_text
from .logs import stream_key
from .models import Deployment
from .presentation.states import silent_since
from .redis import RedisError, StreamEntry, async_client
from .runtimes.base import LogLine

logger = logging.getLogger(__name__)

#: A new reader starts so many lines before the end; older ones are asked for as pages.
TAIL_LINES = 1000
BATCH_LINES = 500
WAIT_MS = 2000
RETRY_S = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class LogFrame:
    """One message of a followed log.

    ``kind`` is lines (as ``{c, t, s, l}``), gap (so many lines are missing), silent (the node, which ships
    the lines, for ``age_s`` seconds), heard (it is back) or end.
    """

    kind: str
    lines: Sequence[LogLine] = ()
    skipped_lines: int = 0
    age_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What goes over the socket."""
        if self.kind == "lines":
            return {"type": "lines", "lines": [line_json(line) for line in self.lines]}
        if self.kind == "gap":
            return {"type": "gap", "lines": self.skipped_lines}
        if self.kind == "silent":
            return {"type": "silent", "age_s": self.age_s}
        return {"type": self.kind}


END = LogFrame(kind="end")
HEARD = LogFrame(kind="heard")


def line_json(line: LogLine) -> dict[str, Any]:
    """A line for the page: cursor, time (null when unknown), stream (empty when unknown) and text."""
    return {"c": line.cursor, "t": line.at or None, "s": line.stream, "l": line.text}


def frames_of(pieces: Sequence[Piece]) -> Iterator[LogFrame]:
    """Lines in batches, and gaps, in their order."""
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
        self._is_silent = False

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
                for frame in frames_of(self.position.take(entries)):
                    yield frame
                if self.position.is_complete:
                    yield END
                    return
                if kept is not None and not entries:
                    for frame in self.rest(kept):
                        yield frame
                    return
                if (frame_of_node := await self._node(is_quiet=not entries)) is not None:
                    yield frame_of_node
        finally:
            await redis.aclose()

    def rest(self, kept: str) -> Iterator[LogFrame]:
        """What the stream never had, for a new reader no more than the tail of it, and the end."""
        is_new = self.position.cursor == 0
        pieces = self.position.take_kept(kept)
        if is_new and len(pieces) > TAIL_LINES:
            first = pieces[-TAIL_LINES]
            before = first.cursor - 1 if isinstance(first, LogLine) else first.last - first.lines
            pieces = [Gap(before, before), *pieces[-TAIL_LINES:]]
        yield from frames_of(pieces)
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

    async def _node(self, *, is_quiet: bool) -> LogFrame | None:
        """Whether the node that ships the lines is silent: asked only while the log is quiet, told when it changes."""
        age_s = await database_sync_to_async(_silence)(self.deployment_id) if is_quiet else None
        was_silent, self._is_silent = self._is_silent, age_s is not None
        if age_s is not None:
            return LogFrame(kind="silent", age_s=age_s)
        return HEARD if was_silent else None


def _silence(deployment_id: int) -> float | None:
    """For how many seconds the run's node has been silent; None when it is heard, or there is none yet."""
    run = Deployment.objects.select_related("node").only("node").filter(pk=deployment_id).first()
    now = timezone.now()
    since = silent_since(run.node, now) if run is not None else None
    return None if since is None else round((now - since).total_seconds())
