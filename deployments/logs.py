"""The log of an attempt: shipped line by line to a Redis stream while it runs, kept in the database after.

A stream entry's id is the line's own cursor, so a line shipped twice, by the agent and by the worker
that closes the attempt, is refused by Redis the second time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .host_secrets import without_secrets
from .log_text import plain
from .models import Deployment
from .redis import RedisError, client
from .runtimes import runtime_named
from .runtimes.base import LogChunk, LogLine

logger = logging.getLogger(__name__)

STREAM_LINES = 20_000
STREAM_KEPT_S = 24 * 3600
CHUNK_LINES = 1000
#: At an attempt's end no more than this is shipped, in chunks.
MOST_CHUNKS = 50
#: A stream that is further behind goes on so many lines before the newest: a page asks the node for those between.
MOST_BEHIND_LINES = 5000
CAUGHT_UP_LINES = 500
READ_LINES = 20_000
#: Of a finished attempt's log, this many bytes from each end are kept in the database.
KEPT_HEAD_BYTES = 256 * 1024
KEPT_TAIL_BYTES = 768 * 1024


@dataclass(frozen=True, kw_only=True)
class KeptLog:
    """All lines that the runtime still had, as plain text, and the bounded text for the database, with its colours."""

    lines: Sequence[LogLine]
    text: str


def stream_key(deployment_id: int, attempt: int) -> str:
    """Redis key of an attempt's live log."""
    return f"berth:log:{deployment_id}:{attempt}"


def ship(deployment: Deployment) -> int:
    """Append what is new of the current attempt to its stream; returns the number of lines.

    A silent Redis is logged, not raised: the next call ships what this one could not.
    """
    try:
        return ship_after(deployment, shipped_cursor(deployment), limit=CHUNK_LINES).lines
    except RedisError as error:
        logger.warning("Log of %s was not shipped: %s", deployment.run_name, error)
        return 0


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """So many lines were shipped, up to ``cursor``."""

    lines: int
    cursor: int


def shipped_cursor(deployment: Deployment) -> int:
    """The last line that the stream has, 0 for none. Raises RedisError."""
    last = client().xrevrange(stream_key(deployment.pk, deployment.attempt), count=1)
    return int(last[0][0].split("-")[0]) if last else 0


def ship_after(deployment: Deployment, cursor: int, *, limit: int, fetch: bool = True) -> Shipped:
    """Ship up to ``limit`` lines after ``cursor``. Far behind the newest, the lines between are left to the node.

    ``fetch`` as in :meth:`Runtime.logs`. Raises RedisError, RuntimeUnavailableError.
    """
    runtime = runtime_named(deployment.spec["runtime"])
    chunk = runtime.logs(deployment.run_name, cursor=cursor, limit=limit, fetch=fetch)
    if not chunk.lines:
        return Shipped(lines=0, cursor=cursor)
    if chunk.newest - chunk.next_cursor > MOST_BEHIND_LINES:
        late = chunk.newest - CAUGHT_UP_LINES
        chunk = runtime.logs(deployment.run_name, cursor=late, limit=limit, fetch=False)
        chunk = replace(chunk, skipped_lines=chunk.lines[0].cursor - cursor - 1 if chunk.lines else 0)
    if chunk.lines:
        _append(stream_key(deployment.pk, deployment.attempt), chunk)
    return Shipped(lines=len(chunk.lines), cursor=chunk.next_cursor if chunk.lines else cursor)


def _append(key: str, chunk: LogChunk) -> None:
    pipe = client().pipeline(transaction=False)
    if chunk.skipped_lines:
        gap = {"gap": chunk.skipped_lines}
        pipe.xadd(key, gap, id=f"{chunk.lines[0].cursor - 1}-1", maxlen=STREAM_LINES, approximate=True)
    for line in without_secrets(chunk.lines):
        fields = {"c": line.cursor, "t": f"{line.at:.3f}", "s": line.stream, "l": line.text}
        pipe.xadd(key, fields, id=f"{line.cursor}-0", maxlen=STREAM_LINES, approximate=True)  # type: ignore[arg-type]
    pipe.expire(key, STREAM_KEPT_S)
    for answer in pipe.execute(raise_on_error=False):
        # A refused id is a line that somebody else shipped first; anything else (a full Redis) is a failure.
        if isinstance(answer, RedisError) and "equal or smaller" not in str(answer):
            raise answer


def keep(deployment: Deployment) -> KeptLog:
    """Ship the rest, mark the stream's end, and return everything for the database. Repeatable."""
    for _chunk in range(MOST_CHUNKS):
        if not ship(deployment):
            break
    lines = _all_lines(deployment)
    key = stream_key(deployment.pk, deployment.attempt)
    try:
        last = lines[-1].cursor if lines else 1
        client().xadd(key, {"end": "1"}, id=f"{last}-9")
        client().expire(key, STREAM_KEPT_S)
    except RedisError as error:
        logger.info("End of log %s was not marked: %s", key, error)
    return KeptLog(lines=[replace(line, text=plain(line.text)) for line in lines], text=bounded_text(lines))


def tail(deployment: Deployment, *, lines: int) -> list[str]:
    """The last lines that were shipped, oldest first, as plain text; empty when Redis is away."""
    try:
        entries = client().xrevrange(stream_key(deployment.pk, deployment.attempt), count=lines)
    except RedisError:
        return []
    return [plain(fields["l"]) for _id, fields in reversed(entries) if "l" in fields]


def bounded_text(lines: Sequence[LogLine]) -> str:
    """Lines as text; of a long log the head and the tail. What is missing is marked, and counted by the cursors."""
    head = _fitting(lines, KEPT_HEAD_BYTES + KEPT_TAIL_BYTES)
    tail: Sequence[LogLine] = ()
    if len(head) < len(lines):
        head = _fitting(lines, KEPT_HEAD_BYTES)
        tail = _fitting(lines[len(head) :][::-1], KEPT_TAIL_BYTES)[::-1]
    parts: list[str] = []
    cursor = 0
    for line in (*head, *tail):
        if missing := line.cursor - cursor - 1:
            is_cut = tail and line is tail[0]
            parts.append(f"… {missing} lines {'left out' if is_cut else 'were dropped'} …")
        parts.append(line.text)
        cursor = line.cursor
    return "\n".join(parts)


def _fitting(lines: Sequence[LogLine], size: int) -> Sequence[LogLine]:
    """The first lines, as many as fit into ``size`` bytes."""
    for count, line in enumerate(lines):
        size -= len(line.text.encode()) + 1
        if size < -1:  # the last of all needs no line's end
            return lines[:count]
    return lines


def _all_lines(deployment: Deployment) -> list[LogLine]:
    runtime = runtime_named(deployment.spec["runtime"])
    lines: list[LogLine] = []
    while chunk := runtime.logs(deployment.run_name, cursor=lines[-1].cursor if lines else 0, limit=READ_LINES).lines:
        lines.extend(without_secrets(chunk))
    return lines
