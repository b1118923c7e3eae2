"""One reader for each web process: follows the GPU readings of all nodes, and fans them out to the pages' sockets.

It reads Redis only while a page looks. Each reading is read once, compared once and encoded once, however many sockets
are open; they are served in slices, so that no request waits long for its turn of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator

from .cancelling import end_task
from .gpu_frames import Fleet, Frame
from .gpu_streams import GpuStreams
from .gpu_subscription import MOST_UNACKNOWLEDGED, GpuSubscription
from .redis import RedisError, async_client

logger = logging.getLogger(__name__)

#: Frames are no closer than this: readings of several nodes share one, and a distant browser keeps up.
FRAME_S = 0.25
#: So many sockets are told at once, and then the others of this process have their turn. A request for a page needs
#: several turns of the loop, and of the interpreter, one after the other.
SLICE = 20
BETWEEN_SLICES_S = 0.002
#: How long one wait for readings lasts: so late is silence noticed, and that nobody looks any more.
TURN_S = 0.5
BEAT_S = 5.0
RETRY_S = (0.5, 1.0, 2.0, 5.0)


class GpuHub:
    """Owns the one task that reads. Start and stop may be repeated."""

    def __init__(self) -> None:
        self._fleet = Fleet()
        self._subscriptions: set[GpuSubscription] = set()
        self._task: asyncio.Task[None] | None = None
        #: Of the running loop: set while a page looks.
        self._is_watched: asyncio.Event | None = None
        #: Whether the fleet is of now, or said to be away.
        self._is_known = False
        self._sent_at = 0.0

    async def start(self) -> None:
        """Be ready to read, on the running loop."""
        if self._task is None or self._task.done():
            self._is_watched = asyncio.Event()
            self._weigh()
            self._task = asyncio.create_task(self._run(self._is_watched), name="gpu hub")

    async def stop(self) -> None:
        """End the reader and let go of its connection."""
        task, self._task = self._task, None
        await end_task(task)
        self._is_known, self._is_watched = False, None

    @contextlib.contextmanager
    def subscription(self) -> Iterator[GpuSubscription]:
        """A subscription for as long as the block lasts; it begins with a snapshot."""
        mine = GpuSubscription(snapshot=self._snapshot, changed=self._weigh)
        self._subscriptions.add(mine)
        mine.catch_up()
        self._weigh()
        try:
            yield mine
        finally:
            self._subscriptions.discard(mine)
            self._weigh()

    def _snapshot(self) -> Frame | None:
        return self._fleet.snapshot() if self._is_known else None

    def _weigh(self) -> None:
        if self._is_watched is None:
            return
        if any(not subscription.is_paused for subscription in self._subscriptions):
            self._is_watched.set()
        else:
            self._is_watched.clear()

    async def _run(self, watched: asyncio.Event) -> None:
        failures = 0
        while True:
            await watched.wait()
            try:
                async for _began in self._follow(watched):
                    if failures:
                        logger.info("The GPU readings are live again")
                    failures = 0
                continue
            except (RedisError, OSError) as error:
                if failures == 0:
                    logger.warning("The GPU readings are not live while Redis is away: %s", error)
            except Exception:
                logger.exception("The GPU hub failed; it begins anew")
            if failures == 0:
                # Known: pages that come now are told that Redis is away.
                self._is_known = True
                await self._fan_out(self._fleet.mark_away(since=time.time()))
            await self._wait(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def _follow(self, watched: asyncio.Event) -> AsyncIterator[bool]:
        """Read until nobody looks; yields once it has begun."""
        redis = async_client(tries_again=False)
        try:
            streams = GpuStreams(redis)
            readings = await streams.look()
            frame = self._fleet.load(readings, stale=streams.fallen_silent())
            self._is_known = True
            await self._fan_out(frame)
            yield True
            while watched.is_set():
                await self._turn(streams)
            # Nothing is awaited since the question: who comes from now on waits for the next beginning.
            self._is_known = False
        finally:
            await redis.aclose()

    async def _turn(self, streams: GpuStreams) -> None:
        """Wait for readings, a while at most, and tell what became of it."""
        found = await streams.look() if streams.is_look_due else []
        rounds = [found] if found else await streams.read(wait_s=TURN_S)
        # After a long pause of this process, only what a page can take at once.
        for readings in rounds[-MOST_UNACKNOWLEDGED:]:
            await self._fan_out(self._fleet.update(readings))
        for node, since in streams.fallen_silent().items():
            await self._fan_out(self._fleet.mark_stale(node, since=since))
        for node in streams.forgotten():
            await self._fan_out(self._fleet.forget(node))
        await self._wait(max(0.0, self._sent_at + FRAME_S - time.monotonic()))

    async def _wait(self, seconds: float) -> None:
        """Whatever happens or does not, pages hear that their connection lives."""
        if time.monotonic() - self._sent_at >= BEAT_S:
            await self._fan_out(self._fleet.beat())
        await asyncio.sleep(seconds)

    async def _fan_out(self, frame: Frame) -> None:
        self._sent_at = time.monotonic()
        for number, subscription in enumerate(tuple(self._subscriptions), start=1):
            subscription.offer(frame)
            if number % SLICE == 0:
                await asyncio.sleep(BETWEEN_SLICES_S)


#: The hub of this process.
gpu_hub = GpuHub()
