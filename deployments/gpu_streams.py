"""The streams in Redis that carry every node's GPU readings, read by one process, and which nodes are silent."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from .gpu_frames import Reading, reading_of
from .redis_keys import GPU_LIVE

logger = logging.getLogger(__name__)

#: A node measures every second.
STALE_AFTER_S = 3.0
#: It was taken out of service.
FORGET_NODE_AFTER_S = 600.0
LOOK_FOR_NODES_S = 2.0
#: Redis that takes longer for an answer than it was given is away.
PATIENCE_S = 3.0


@dataclass
class _Stream:
    """One node's. ``position`` is the last entry that was read, ``heard_at`` when that was written (monotonic)."""

    position: str
    heard_at: float
    node: str = ""
    is_silent: bool = False
    is_malformed: bool = False

    @property
    def since(self) -> float:
        """Since when it says nothing, epoch seconds."""
        return time.time() - self.silent_s

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self.heard_at


class GpuStreams:
    """Follows the streams over one connection. What is asynchronous raises RedisError, or TimeoutError."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._streams: dict[str, _Stream] = {}
        self._look_at = 0.0

    @property
    def is_look_due(self) -> bool:
        """Whether it is time to look for nodes."""
        return time.monotonic() >= self._look_at

    async def look(self) -> list[Reading]:
        """The newest reading of each node that is new, or silent: its stream may have begun anew with lower numbers."""
        async with asyncio.timeout(PATIENCE_S):
            keys = [key async for key in self._redis.scan_iter(GPU_LIVE, count=1000)]
            seconds, microseconds = await self._redis.time()
            newest = {key: await self._redis.xrevrange(key, count=1) for key in sorted(keys) if self._is_asked(key)}
        self._look_at = time.monotonic() + LOOK_FOR_NODES_S
        found = []
        for key, entries in newest.items():
            known = self._streams.get(key)
            for position, fields in entries:
                if known is None or position != known.position:
                    written_at = int(position.partition("-")[0]) / 1000
                    found.append(self._hear(key, position, fields, age_s=seconds + microseconds / 1e6 - written_at))
        return [reading for reading in found if reading is not None]

    async def read(self, *, wait_s: float) -> list[list[Reading]]:
        """What was written since, after ``wait_s`` at most: in order, in rounds of at most one reading a node."""
        if not self._streams:
            await asyncio.sleep(wait_s)
            return []
        positions = {key: stream.position for key, stream in self._streams.items()}
        async with asyncio.timeout(wait_s + PATIENCE_S):
            answer = await self._redis.xread(positions, block=round(wait_s * 1000))
        heard = [[self._hear(key, *entry) for entry in entries] for key, entries in answer]
        rounds = [[reading for reading in together if reading is not None] for together in zip_longest(*heard)]
        return [together for together in rounds if together]

    def fallen_silent(self) -> dict[str, float]:
        """The nodes that are silent and were not so when asked before, and since when."""
        fallen = {}
        for stream in self._streams.values():
            if stream.node and not stream.is_silent and stream.silent_s > STALE_AFTER_S:
                stream.is_silent = True
                fallen[stream.node] = stream.since
        return fallen

    def forgotten(self) -> list[str]:
        """The nodes that have been silent for so long that they are no longer followed."""
        gone = {key: one.node for key, one in self._streams.items() if one.silent_s > FORGET_NODE_AFTER_S}
        for key in gone:
            del self._streams[key]
        return [node for node in gone.values() if node]

    def _is_asked(self, key: str) -> bool:
        return key not in self._streams or self._streams[key].is_silent

    def _hear(self, key: str, position: str, fields: dict[str, str], age_s: float = 0.0) -> Reading | None:
        stream = self._streams.setdefault(key, _Stream(position, 0.0))
        stream.position = position
        try:
            reading = reading_of(fields["reading"])
        except (ValueError, KeyError, TypeError, AttributeError):
            if not stream.is_malformed:
                logger.warning("A GPU reading in %s is malformed", key)
            stream.is_malformed = True
            return None
        stream.heard_at = time.monotonic() - max(0.0, age_s)
        stream.node, stream.is_silent, stream.is_malformed = reading["node"], False, False
        return reading
