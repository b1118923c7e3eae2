"""Writes down each reading, and closes the blocks of coarser resolutions when their time is over.

It holds nothing that a new agent could not find again in Redis: a block is made at once, from the finer stream.
"""

from __future__ import annotations

import logging

from deployments.gpu_readings import NodeReading
from deployments.redis import RedisError, client

from .blocks import pack_sample
from .buckets import roll_up, sample
from .streams import (
    FINER,
    KEPT_S,
    SECONDS,
    TAIL,
    TENS,
    Level,
    append,
    blocks_of,
    buckets_in,
    end_of,
    key_of,
    texts,
)

logger = logging.getLogger(__name__)
#: GPUs whose blocks are closed with one reading, of 5 to 10 ms each; the others' turn comes a second later.
CLOSED_AT_ONCE = 4
#: From here on a step back is none that rounding and NTP's slewing make.
SET_BACK_S = 1.0


class HistoryWriter:
    """One thread. What cannot be written because Redis is away is dropped, and said once."""

    def __init__(self) -> None:
        #: For each GPU and resolution, when the block begins that is not closed yet.
        self._open: dict[tuple[str, str, Level], float] = {}
        self._last_at = 0.0
        self._dropped = 0

    def record(self, reading: NodeReading) -> None:
        """Keep what was measured. Never raises for Redis."""
        if reading.at < self._last_at - SET_BACK_S:
            logger.warning(
                "The clock was set back by %.0f s: the GPU history of that time is written again",
                self._last_at - reading.at,
            )
        self._last_at = reading.at
        try:
            self._write(reading)
        except RedisError as error:
            if not self._dropped:
                logger.warning("The GPU history has a gap while Redis is away: %s", error)
            self._dropped += 1
            return
        if self._dropped:
            logger.info("The GPU history goes on; %d readings were dropped", self._dropped)
            self._dropped = 0

    def _write(self, reading: NodeReading) -> None:
        samples = {gpu.uuid: found for gpu in reading.gpus if (found := sample(gpu, reading.runs, at=reading.at))}
        if not samples:
            return
        pipeline = client().pipeline(transaction=False)
        for uuid, found in samples.items():
            key = key_of(reading.node, uuid, SECONDS)
            append(pipeline, key, pack_sample(found), level=SECONDS)
            if (reading.node, uuid, TENS) not in self._open:
                pipeline.expire(key, KEPT_S)
        pipeline.execute()
        due = {uuid: levels for uuid in samples if (levels := self._due(reading.node, uuid, reading.at))}
        for uuid, levels in list(due.items())[:CLOSED_AT_ONCE]:
            self._close(reading.node, uuid, levels, at=reading.at)

    def _due(self, node: str, uuid: str, at: float) -> list[Level]:
        """The resolutions of which a block is over, or may be."""
        due = []
        for level in FINER:
            begun = self._open.get((node, uuid, level))
            if begun is not None and at < begun:
                # The clock was set back into a closed block: it is closed again, with both measurements.
                self._open[node, uuid, level] = level.block_at(at)
            elif begun is None or level.block_at(at) > begun:
                due.append(level)
        return due

    def _close(self, node: str, uuid: str, levels: list[Level], *, at: float) -> None:
        """Write the blocks that are over, and remember that only once Redis has them."""
        reading = client().pipeline(transaction=False)
        reading.xrevrange(key_of(node, uuid, SECONDS), count=TAIL[SECONDS])
        rolled_up = {FINER[level] for level in levels}
        for level in FINER:
            # All of them, for after the clock was set back the first of a block may be far behind its last.
            reading.xrevrange(key_of(node, uuid, level), count=2 * level.entries if level in rolled_up else 1)
        found = [texts(entries, newest_first=True) for entries in reading.execute()]
        packed = dict(zip((SECONDS, *FINER), found, strict=True))
        writing = client().pipeline(transaction=False)
        for level in levels:
            over = level.block_at(at)
            begun = self._open.get((node, uuid, level), _end_of_last(packed[level], level))
            finer = buckets_in(packed, FINER[level], since=min(begun, over), until=over)
            blocks = blocks_of(roll_up(finer, step_s=level.step_s), level=level)
            # The minutes are made from the tens, those of now too, and so on.
            packed[level] = [*packed[level], *blocks]
            for block in blocks:
                append(writing, key_of(node, uuid, level), block, level=level)
        for level in (SECONDS, *levels):
            writing.expire(key_of(node, uuid, level), KEPT_S)
        writing.execute()
        self._open.update({(node, uuid, level): level.block_at(at) for level in levels})


def _end_of_last(packed: list[str], level: Level) -> float:
    """Where a new agent goes on; at the beginning when there is nothing, or nothing that can be read."""
    try:
        return end_of(packed[-1], level)
    except (IndexError, ValueError):
        return 0.0


_writer = HistoryWriter()


def record(reading: NodeReading) -> None:
    """Keep a reading; called once a second by the poller. Never raises for Redis: what it cannot keep is dropped."""
    _writer.record(reading)
