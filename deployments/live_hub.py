"""One listener for each web process: hears what changed, and fans it out to the pages' sockets.

Hints are small and may be lost: a page that falls behind gets one ``reload`` instead of what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import Any

from .cancelling import end_task
from .live import LIVE_CHANNEL
from .redis import RedisError, async_client
from .redis_keys import AGENT_HEARTBEATS, SWEEP_HEARTBEAT

logger = logging.getLogger(__name__)

BEAT_S = 2.0
QUEUE_MESSAGES = 64
RETRY_S = (0.5, 1.0, 2.0, 5.0)
#: A node that has been silent for longer is no longer counted: it was taken out of service.
FORGET_NODE_AFTER_S = 600.0
RELOAD = json.dumps({"type": "reload"})
SUBSCRIBED = json.dumps({"type": "subscribed"})


class Subscription:
    """What one page wants to hear. ``topics`` are all, ``deployment:12`` or ``config:name``."""

    def __init__(self) -> None:
        self.topics: frozenset[str] = frozenset()
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_MESSAGES)

    def wants(self, topics: frozenset[str]) -> bool:
        """Whether any of ``topics`` was asked for."""
        return bool(self.topics & topics)

    def put(self, text: str) -> None:
        """Queue a message; when the page is too slow, everything queued becomes one ``reload``."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            text = RELOAD
        self._queue.put_nowait(text)

    async def get(self) -> str:
        """The next message."""
        return await self._queue.get()


class LiveHub:
    """Owns the one task that listens to Redis. Start and stop may be repeated."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._agents: dict[str, float] = {}
        self._sweep: float | None = None
        self._next_beat = 0.0

    async def start(self) -> None:
        """Begin to listen, on the running loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="live hub")

    async def stop(self) -> None:
        """End the listener and let go of its connection."""
        task, self._task = self._task, None
        await end_task(task)

    @contextlib.contextmanager
    def subscription(self) -> Any:
        """A subscription for as long as the block lasts."""
        mine = Subscription()
        self._subscriptions.add(mine)
        try:
            yield mine
        finally:
            self._subscriptions.discard(mine)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async for _ready in self._listen():
                    if failures:
                        logger.info("The pages are live again")
                    # The first time too: a page may have been drawn before this process heard anything.
                    self._tell_all(RELOAD)
                    failures = 0
            except (RedisError, OSError) as error:
                if failures == 0:
                    logger.warning("The pages are not live while Redis is away: %s", error)
            except Exception:
                logger.exception("The live hub failed; it begins anew")
            await self._wait_beating(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def _listen(self) -> Any:
        redis = async_client()
        channel = redis.pubsub(ignore_subscribe_messages=True)
        try:
            await channel.subscribe(LIVE_CHANNEL)
            # The first answer is Redis's word that it took effect; it is swallowed.
            await channel.get_message(timeout=BEAT_S)
            yield True
            while True:
                message = await channel.get_message(timeout=max(0.0, self._next_beat - time.monotonic()))
                await self._hear(redis, message)
        finally:
            await channel.aclose()  # type: ignore[no-untyped-call]
            await redis.aclose()

    async def _hear(self, redis: Any, message: dict[str, Any] | None) -> None:
        """One turn. What cannot be read, a message or a heartbeat, is logged and skipped."""
        is_due = time.monotonic() >= self._next_beat
        try:
            if message is not None:
                self._fan_out(message["data"])
            if is_due:
                await self._read_heartbeats(redis)
        except (RedisError, OSError):
            raise
        except Exception:
            logger.exception("The live hub skipped what it cannot read")
        if is_due:
            self._beat()

    async def _wait_beating(self, seconds: float) -> None:
        """Ages grow on while Redis is away, so that pages say since when."""
        self._beat()
        await asyncio.sleep(seconds)

    async def _read_heartbeats(self, redis: Any) -> None:
        keys = [key async for key in redis.scan_iter(AGENT_HEARTBEATS, count=100)]
        values = await redis.mget([SWEEP_HEARTBEAT, *keys])
        times = [json.loads(value)["at"] if value else None for value in values]
        self._sweep = times[0] or self._sweep
        self._agents.update((key, at) for key, at in zip(keys, times[1:], strict=True) if at)
        oldest = time.time() - FORGET_NODE_AFTER_S
        self._agents = {key: at for key, at in self._agents.items() if at > oldest}

    def _beat(self) -> None:
        self._next_beat = time.monotonic() + BEAT_S
        now = time.time()
        ages = [now - at for at in self._agents.values()]
        beat = {
            "type": "beat",
            "agent_age_s": round(max(ages), 1) if ages else None,
            "sweep_age_s": round(now - self._sweep, 1) if self._sweep else None,
        }
        self._tell_all(json.dumps(beat))

    def _fan_out(self, data: str) -> None:
        hint = json.loads(data)
        deployment, config = hint["deployment"], hint["config"]
        topics = frozenset({"all", f"deployment:{deployment}", f"config:{config}"})
        text = json.dumps({"type": "changed", "deployment": deployment, "config": config})
        for subscription in self._subscriptions:
            if subscription.wants(topics):
                subscription.put(text)

    def _tell_all(self, text: str) -> None:
        for subscription in self._subscriptions:
            subscription.put(text)


#: The hub of this process.
hub = LiveHub()
