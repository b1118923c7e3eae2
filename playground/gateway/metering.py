"""What the gateway served, written in batches beside the requests.

:meth:`Meter.record` appends to a list. A background task writes the list to a Redis stream every half second, as one
entry with a name of its own; a worker adds entries to the roll-ups (services/usage.py) and remembers their names, so
that an entry written twice counts once. A process that is killed loses at most its last half second; while Redis is
away records wait in memory, MOST of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from deployments.redis import RedisError, async_client
from deployments.redis_keys import USAGE

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

FLUSH_S: Final = 0.5
BATCH: Final = 500
#: Records kept while Redis is away: some 50 MB.
MOST: Final = 100_000
#: Entries kept in Redis while no worker takes them: 14 hours of one gateway process.
MOST_ENTRIES: Final = 100_000
PATIENCE_S: Final = 5.0
STOPPING_S: Final = 2.0
#: Of the order of RequestRecord's fields; entries of another version are left out by the worker.
VERSION: Final = "1"


class RequestRecord(NamedTuple):
    """One request that is over. A tuple, because it is made for each request and written as a JSON array.

    ``at`` is when it came, in epoch seconds; times are seconds, None where there was no such moment, and token counts
    None where the server told none. ``model`` and ``config`` are those that answered, else what was meant; 499 is
    the status of a client that left. Nothing of what was said belongs here.
    """

    at: float
    request_id: str
    key_id: int | None
    caller: str
    model: str
    config: str
    deployment_id: int | None
    endpoint: str
    status: int
    prompt_tokens: int | None
    completion_tokens: int | None
    queue_s: float
    first_token_s: float | None
    duration_s: float
    streamed: bool


class Meter:
    """Records requests of one process. :meth:`start` and :meth:`stop` it in the event loop that serves."""

    def __init__(self, connect: Callable[[], Redis] = async_client, *, flush_s: float = FLUSH_S) -> None:
        self._connect = connect
        self._flush_s = flush_s
        self._records: list[RequestRecord] = []
        self._dropped = 0
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def record(self, record: RequestRecord) -> None:
        """Remember one request. Cheap, never waits, never fails."""
        records = self._records
        if len(records) >= MOST:
            self._dropped += 1
            return
        records.append(record)
        if len(records) == BATCH:
            self._full.set()

    async def start(self) -> None:
        """Go on in the background."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="berth metering")

    async def stop(self) -> None:
        """Write what is left, for two seconds at most. Safe to repeat, and without :meth:`start`."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self._full.set()
        try:
            await asyncio.wait_for(task, STOPPING_S)
        except TimeoutError:
            logger.error("Redis did not take the usage of the last %d requests in time.", len(self._records))

    async def _run(self) -> None:
        redis = self._connect()
        away = False
        try:
            while not (self._stopping and not self._records):
                if not self._stopping:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._full.wait(), self._flush_s)
                self._full.clear()
                while self._records:
                    away = await self._write(redis, self._records[:BATCH], away=away)
                if away:
                    away = False
                    logger.info("Usage is written again.")
        finally:
            await redis.aclose()

    async def _write(self, redis: Redis, batch: list[RequestRecord], *, away: bool) -> bool:
        """Write one batch, for as long as it takes; gives whether Redis was away. Repeated, it has the same name."""
        # Any JSON will do but no NaN, and names are escaped to ASCII: no text of a client can break an entry.
        entry = {
            "version": VERSION,
            "batch": secrets.token_hex(16),
            "records": json.dumps(batch, separators=(",", ":")),
        }
        pause_s = 0.1
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await redis.xadd(USAGE, entry, maxlen=MOST_ENTRIES, approximate=True)  # type: ignore[arg-type]
            except (RedisError, OSError, TimeoutError) as error:
                if not away:
                    logger.warning("Usage waits for Redis: %s", error)
                away = True
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PATIENCE_S)
            else:
                break
        del self._records[: len(batch)]
        if self._dropped:
            logger.error("The usage of %d requests was lost while Redis was away.", self._dropped)
            self._dropped = 0
        return away
