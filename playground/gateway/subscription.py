"""Keeps a gateway process in step with Redis: its routing table, news of changed keys, servers to reach."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from deployments.cancelling import end_task
from deployments.redis import RedisError
from deployments.redis_keys import KEYS_CHANGED, REACH_ASKED, ROUTES, ROUTES_CHANGED

from .routing import RoutingTable

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

logger = logging.getLogger(__name__)

#: Published changes may be lost; the table is read again this often, in seconds.
REREAD_S: Final = 5.0
LONGEST_PAUSE_S: Final = 5.0


class Subscription:
    """Reads the table at the start, on every published change and every few seconds.

    While Redis is away the last known table stays in use; this says so once and again when it is back.
    """

    def __init__(
        self,
        connect: Callable[[], Redis],
        table: RoutingTable,
        *,
        on_keys_changed: Callable[[], None],
        on_reach_asked: Callable[[str, Redis], None] = lambda _asked, _redis: None,
        reread_s: float = REREAD_S,
    ) -> None:
        self._connect = connect
        self._table = table
        self._on_keys_changed = on_keys_changed
        self._on_reach_asked = on_reach_asked
        self._reread_s = reread_s
        self._raw: str | None = None
        self._away = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the table once, for at most two seconds, then follow it in the background."""
        first_read = asyncio.Event()
        self._task = asyncio.create_task(self._follow(first_read), name="berth routes")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(first_read.wait(), timeout=2)

    async def stop(self) -> None:
        """End the background task. Safe to repeat."""
        task, self._task = self._task, None
        await end_task(task)

    async def _follow(self, first_read: asyncio.Event) -> None:
        pause_s = 0.1
        client = self._connect()
        try:
            while True:
                try:
                    async with client.pubsub() as pubsub:
                        await pubsub.subscribe(ROUTES_CHANGED, KEYS_CHANGED, REACH_ASKED)
                        # Messages may have been missed before this point.
                        self._on_keys_changed()
                        await self._read(client)
                        first_read.set()
                        pause_s = 0.1
                        await self._listen(client, pubsub)
                except (RedisError, OSError) as error:
                    self._note_away(error)
                except Exception:
                    logger.exception("Following the routing table failed; trying again.")
                first_read.set()
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            await client.aclose()

    async def _listen(self, client: Redis, pubsub: PubSub) -> None:
        while True:
            due = time.monotonic() + self._reread_s
            while (left := due - time.monotonic()) > 0:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=left)
                if message and message["channel"] == KEYS_CHANGED:
                    self._on_keys_changed()
                elif message and message["channel"] == REACH_ASKED:
                    self._on_reach_asked(message["data"], client)
                elif message:
                    break
            await self._read(client)

    async def _read(self, client: Redis) -> None:
        raw = await client.get(ROUTES)
        if self._away:
            self._away = False
            logger.info("Redis answers again.")
        # Nothing published yet, as after Redis was emptied: the sweep publishes again, an empty table too.
        if not isinstance(raw, str) or raw == self._raw:
            return
        self._raw = raw
        try:
            self._table.replace(raw)
        except ValueError as error:
            logger.error("The routing table in Redis is malformed (%s); the last one stays in use.", error)

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            logger.warning("Redis is away (%s); the last routing table stays in use.", error)
