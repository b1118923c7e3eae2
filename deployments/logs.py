"""The log of an attempt: shipped line by line to a Redis stream while it runs, kept in the database after.

A stream entry's id is the line's own cursor, so a line shipped twice, by the agent and by the worker
that closes the attempt, is refused by Redis the second time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .log_text import plain
from .models import Deployment
from .redis import RedisError, client
from .runtimes import runtime_named
from .runtimes.base import LogChunk, LogLine

logger = logging.getLogger(__name__)

STREAM_LINES = 20_000
STREAM_KEPT_S = 24 * 3600
CHUNK_LINES = 1000
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
    key = stream_key(deployment.pk, deployment.attempt)
    try:
        last = client().xrevrange(key, count=1)
        cursor = int(last[0][0].split("-")[0]) if last else 0
        chunk = runtime_named(deployment.spec["runtime"]).logs(deployment.run_name, cursor=cursor, limit=CHUNK_LINES)
        if not chunk.lines:
            return 0
        _append(key, chunk)
    except RedisError as error:
        logger.warning("Log of %s was not shipped: %s", deployment.run_name, error)
        return 0
    return len(chunk.lines)


def _append(key: str, chunk: LogChunk) -> None:
    pipe = client().pipeline(transaction=False)
    if chunk.skipped_lines:
        gap = {"gap": chunk.skipped_lines}
        pipe.xadd(key, gap, id=f"{chunk.lines[0].cursor - 1}-1", maxlen=STREAM_LINES, approximate=True)
    for line in chunk.lines:
        fields = {"c": line.cursor, "t": f"{line.at:.3f}", "s": line.stream, "l": line.text}
        pipe.xadd(key, fields, id=f"{line.cursor}-0", maxlen=STREAM_LINES, approximate=True)  # type: ignore[arg-type]
    pipe.expire(key, STREAM_KEPT_S)
    for answer in pipe.execute(raise_on_error=False):
        # A refused id is a line that somebody else shipped first; anything else (a full Redis) is a failure.
        if isinstance(answer, RedisError) and "equal or smaller" not in str(answer):
            raise answer


def keep(deployment: Deployment) -> KeptLog:
    """Ship the rest, mark the stream's end, and return everything for the database. Repeatable."""
    while ship(deployment) == CHUNK_LINES:
        pass
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
    """Lines as text; of a long log the head and the tail, with a marked gap between."""
    texts = [line.text for line in lines]
    whole = "\n".join(texts)
    if len(whole) <= KEPT_HEAD_BYTES + KEPT_TAIL_BYTES:
        return whole
    head = whole[:KEPT_HEAD_BYTES].rsplit("\n", 1)[0]
    end = whole[-KEPT_TAIL_BYTES:].split("\n", 1)[-1]
    skipped = max(0, len(texts) - head.count("\n") - end.count("\n") - 2)
    return f"{head}\n… {skipped} lines left out …\n{end}"


def _all_lines(deployment: Deployment) -> list[LogLine]:
    runtime = runtime_named(deployment.spec["runtime"])
    lines: list[LogLine] = []
    cursor = 0
    while True:
        chunk = runtime.logs(deployment.run_name, cursor=cursor, limit=CHUNK_LINES)
        if chunk.skipped_lines:
            text = f"… {chunk.skipped_lines} lines were dropped …"
            lines.append(LogLine(cursor=chunk.next_cursor, at=0, stream="berth", text=text))
        lines.extend(chunk.lines)
        if not chunk.lines:
            return lines
        cursor = chunk.next_cursor
