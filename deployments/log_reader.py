"""Reads the log of an attempt for people: from its live stream, else what the database kept.

A stream entry's id begins with the line's cursor (see :mod:`deployments.logs`), so a reader who lost the
connection goes on exactly after the last line that it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from .exceptions import NotFoundError, RuntimeUnavailableError
from .lifecycle.phases import ENDED
from .logs import stream_key
from .models import Attempt, Deployment
from .redis import RedisError, async_client, client

logger = logging.getLogger(__name__)

#: A new reader starts so many lines before the end; the file has all.
TAIL_LINES = 4000
BATCH_LINES = 500
WAIT_MS = 2000
RETRY_S = (0.5, 1.0, 2.0, 5.0)

Entry = tuple[str, dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class LogFrame:
    """One message of a followed log: lines as ``{c, t, s, l}``, a gap of so many lines, or the end."""

    kind: str
    lines: Sequence[dict[str, Any]] = ()
    skipped_lines: int = 0

    def to_json(self) -> dict[str, Any]:
        """What goes over the socket."""
        if self.kind == "lines":
            return {"type": "lines", "lines": self.lines}
        return {"type": "gap", "lines": self.skipped_lines} if self.kind == "gap" else {"type": "end"}


END = LogFrame(kind="end")


async def follow_log(deployment_id: int, attempt: int, *, cursor: int = 0) -> AsyncIterator[LogFrame]:
    """Frames after ``cursor`` until the attempt's end. While Redis is away it tries again, ever more slowly."""
    reader = _Follower(deployment_id, attempt, cursor)
    failures = 0
    while True:
        try:
            async for frame in reader.frames():
                failures = 0
                yield frame
            return
        except (RedisError, OSError) as error:
            if failures == 0:
                logger.warning("The log of deployment %s waits for Redis: %s", deployment_id, error)
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1


class _Follower:
    """One pass over the stream; ``position`` survives a lost connection."""

    def __init__(self, deployment_id: int, attempt: int, cursor: int) -> None:
        self.deployment_id = deployment_id
        self.attempt = attempt
        self.key = stream_key(deployment_id, attempt)
        self.position = f"{cursor}-0"
        self.is_new = cursor == 0

    async def frames(self) -> AsyncIterator[LogFrame]:
        redis = async_client()
        try:
            skipped = await self._skip_to_tail(redis) if self.is_new else 0
            if skipped:
                yield LogFrame(kind="gap", skipped_lines=skipped)
            while True:
                stored = None if await redis.exists(self.key) else await self._stored()
                for frame in stored if stored is not None else _frames_of(await self._next(redis)):
                    yield frame
                    if frame is END:
                        return
        finally:
            await redis.aclose()

    async def _skip_to_tail(self, redis: Any) -> int:
        surplus = await redis.xlen(self.key) - TAIL_LINES
        if surplus <= 0:
            return 0
        tail = await redis.xrevrange(self.key, count=TAIL_LINES)
        first = tail[-1][0]
        before = await redis.xrevrange(self.key, max=f"({first}", count=1)
        self.position = before[0][0] if before else self.position
        return int(surplus)

    async def _next(self, redis: Any) -> list[Entry]:
        answer = await redis.xread({self.key: self.position}, count=BATCH_LINES, block=WAIT_MS)
        entries: list[Entry] = answer[0][1] if answer else []
        if entries:
            self.position = entries[-1][0]
            self.is_new = False
        return entries

    async def _stored(self) -> list[LogFrame] | None:
        """The kept log once the attempt is over, None while it may still write."""
        row = await Attempt.objects.filter(deployment=self.deployment_id, number=self.attempt).afirst()
        if row is None or row.ended_at is None:
            run = await Deployment.objects.filter(pk=self.deployment_id).only("phase", "attempt").afirst()
            over = run is None or run.phase in ENDED or run.attempt > self.attempt
            return [END] if over else None
        if not self.is_new:
            return [END]
        lines = [{"c": index, "t": None, "s": "out", "l": text} for index, text in enumerate(row.log.splitlines(), 1)]
        batches = [lines[start : start + BATCH_LINES] for start in range(0, len(lines), BATCH_LINES)]
        return [*(LogFrame(kind="lines", lines=batch) for batch in batches), END]


def _frames_of(entries: Sequence[Entry]) -> Iterator[LogFrame]:
    lines: list[dict[str, Any]] = []
    for _id, fields in entries:
        if "l" in fields:
            lines.append({"c": int(fields["c"]), "t": float(fields["t"]), "s": fields["s"], "l": fields["l"]})
            continue
        if lines:
            yield LogFrame(kind="lines", lines=lines)
            lines = []
        yield LogFrame(kind="gap", skipped_lines=int(fields["gap"])) if "gap" in fields else END
    if lines:
        yield LogFrame(kind="lines", lines=lines)


def log_file_lines(deployment_id: int, attempt: int) -> Iterator[str]:
    """The whole kept log as lines of text, with times and streams while they are known.

    Raises NotFoundError for an attempt that never was, RuntimeUnavailableError when only Redis has it and is away.
    """
    row = Attempt.objects.filter(deployment=deployment_id, number=attempt).first()
    if row is None and not Deployment.objects.filter(pk=deployment_id, attempt__gte=attempt).exists():
        raise NotFoundError(_("This run had no attempt %(number)s.") % {"number": attempt})
    try:
        first = _page(deployment_id, attempt, "-")
    except RedisError as error:
        if row is not None and row.ended_at is not None:
            return iter([f"{row.log}\n"])
        raise RuntimeUnavailableError(
            _("The live log cannot be read: Redis is away. Try again in a minute.")
        ) from error
    if not first and row is not None:
        return iter([f"{row.log}\n"] if row.log else [])
    return _stream_lines(deployment_id, attempt, first)


def _page(deployment_id: int, attempt: int, start: str) -> list[Entry]:
    found: list[Entry] = client().xrange(stream_key(deployment_id, attempt), min=start, count=1000)
    return found


def _stream_lines(deployment_id: int, attempt: int, page: list[Entry]) -> Iterator[str]:
    while page:
        for _id, fields in page:
            if "l" in fields:
                at = datetime.fromtimestamp(float(fields["t"]), UTC).isoformat(timespec="milliseconds")
                yield f"{at} {fields['s']:<5} {fields['l']}\n"
            elif "gap" in fields:
                yield f"… {fields['gap']} lines left out …\n"
        page = _page(deployment_id, attempt, f"({page[-1][0]}")
