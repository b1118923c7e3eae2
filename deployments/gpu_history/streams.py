"""The four streams of a GPU, and reading a stretch of time out of them.

Entries get their ids from Redis, which never refuses one, and carry their own times: so a clock that is set back
breaks nothing. Each stream is bounded by its number of entries, and forgotten a day after its last one is too old.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, groupby
from typing import TypeVar

from deployments.redis import Pipeline, StreamEntry
from deployments.redis_keys import gpu_history

from .blocks import Columns, first_of, pack, to_buckets, to_columns, unpack, unpack_sample
from .buckets import Bucket, in_order, roll_up

logger = logging.getLogger(__name__)
Read = TypeVar("Read")
FIELD = "b"
KEPT_S = 8 * 86_400


@dataclass(frozen=True, kw_only=True)
class Level:
    """A resolution. An entry of its stream covers ``entry_s``, and what lies ``kept_s`` back is kept."""

    step_s: int
    entry_s: int
    kept_s: int

    @property
    def entries(self) -> int:
        """At most so many, with a few to spare: a GPU's blocks need not be closed at once."""
        return self.kept_s // self.entry_s + (60 if self.entry_s == 1 else 2)

    def block_at(self, at: float) -> int:
        """When the block begins that ``at`` lies in."""
        return int(at // self.entry_s) * self.entry_s


SECONDS = Level(step_s=1, entry_s=1, kept_s=900)
#: Short blocks: whoever reads rolls up what is not in one yet.
TENS = Level(step_s=10, entry_s=120, kept_s=6 * 3600)
MINUTES = Level(step_s=60, entry_s=1800, kept_s=7 * 86_400)
#: For the chart of a week, which has no place for ten thousand columns.
TEN_MINUTES = Level(step_s=600, entry_s=6 * 3600, kept_s=7 * 86_400)
#: At most so many entries are in no coarser block yet: those of one block, and some until its turn to be closed comes.
TAIL = {SECONDS: 400, TENS: 40, MINUTES: 20}
FINER = {TENS: SECONDS, MINUTES: TENS, TEN_MINUTES: MINUTES}
#: The packed entries of one GPU by resolution, oldest first; a resolution that was not read is left out.
Packed = Mapping[Level, Sequence[str]]


def key_of(node: str, uuid: str, level: Level) -> str:
    """The stream's key."""
    return gpu_history(node, uuid, level.step_s)


def append(pipeline: Pipeline, key: str, packed: str, *, level: Level) -> None:
    """Add an entry and drop what is too many."""
    pipeline.xadd(key, {FIELD: packed}, maxlen=level.entries, approximate=True)


def texts(entries: Sequence[StreamEntry], *, newest_first: bool = False) -> list[str]:
    """The packed entries, oldest first."""
    found = [fields.get(FIELD, "") for _id, fields in entries]
    return found[::-1] if newest_first else found


def blocks_of(buckets: Iterable[Bucket], *, level: Level) -> list[str]:
    """Buckets of this resolution as packed blocks, in order of time."""
    grouped = groupby(buckets, key=lambda bucket: level.block_at(bucket.at))
    return [pack(to_columns(list(parts), step_s=level.step_s)) for _at, parts in grouped]


def stretch(packed: Packed, level: Level, *, since: float, until: float) -> list[Columns]:
    """What is known from ``since``, which may lie within a bucket, up to before ``until``, in order of time.

    After the last block it is rolled up from the finer resolutions. What cannot be read is logged and left out.
    """
    closed, tail = _parts(packed, level, since=since, until=until)
    return [*closed, to_columns(tail, step_s=level.step_s)] if tail else closed


def buckets_in(packed: Packed, level: Level, *, since: float, until: float) -> list[Bucket]:
    """The same as single buckets."""
    closed, tail = _parts(packed, level, since=since, until=until)
    return [bucket for columns in closed for bucket in to_buckets(columns)] + tail


def _parts(packed: Packed, level: Level, *, since: float, until: float) -> tuple[list[Columns], list[Bucket]]:
    """What lies in blocks, and what in none yet."""
    entries = packed.get(level, ())
    if level is SECONDS:
        return [], in_order(_samples(entries, since=since, until=until))
    since = since // level.step_s * level.step_s
    blocks = _readable(_blocks(entries, level, since=since, until=until), unpack)
    over = max(blocks) + level.entry_s if blocks else since
    closed = chain.from_iterable(_cut(blocks[at], since, until) for at in sorted(blocks))
    finer = _finer(packed, FINER[level], step_s=level.step_s, since=max(since, over), until=until)
    return list(closed), roll_up(finer, step_s=level.step_s)


def _finer(packed: Packed, level: Level, *, step_s: int, since: float, until: float) -> list[Bucket]:
    """As :func:`buckets_in`, for buckets of ``step_s``: what is in a block may be rolled up to it already."""
    if level is SECONDS:
        return buckets_in(packed, level, since=since, until=until)
    blocks = _blocks(packed.get(level, ()), level, since=since, until=until)
    whole = {at: entry for at, entry in blocks.items() if since <= at and at + level.entry_s <= until}
    rolled = _readable(whole, partial(_rolled_up, step_s=step_s))
    # A block that reaches over an edge is cut first.
    cut = {at: entry for at, entry in blocks.items() if at not in whole}
    inside = buckets_in({level: list(cut.values())}, level, since=since, until=until)
    over = max((at + level.entry_s for at in (*rolled, *cut)), default=since)
    tail = _finer(packed, FINER[level], step_s=level.step_s, since=max(since, over), until=until)
    found = [*chain.from_iterable(rolled.values()), *inside, *roll_up(tail, step_s=level.step_s)]
    return sorted(found, key=lambda bucket: bucket.at)


@lru_cache(maxsize=2048)
def _rolled_up(packed: str, *, step_s: int) -> tuple[Bucket, ...]:
    """A block in coarser buckets. It never changes, and to read the newest blocks was most of what a chart cost."""
    return tuple(roll_up(to_buckets(unpack(packed)), step_s=step_s))


def end_of(packed: str, level: Level) -> int:
    """When a block is over. Raises ValueError for what is no block."""
    return level.block_at(first_of(packed)) + level.entry_s


def _samples(entries: Iterable[str], *, since: float, until: float) -> list[Bucket]:
    found = []
    for entry in entries:
        try:
            # The time stands first, so that what is not wanted need not be read.
            if since <= float(entry[1 : entry.index(",")]) < until:
                found.append(unpack_sample(entry))
        except ValueError:
            logger.warning("A sample of the GPU history cannot be read and is left out")
    return found


def _blocks(entries: Iterable[str], level: Level, *, since: float, until: float) -> dict[int, str]:
    """By when they begin. Of a block that was written twice, as after the clock was set back, the later counts."""
    wanted: dict[int, str] = {}
    for entry in entries:
        try:
            at = level.block_at(first_of(entry))
        except ValueError:
            logger.warning("A block of the GPU history cannot be read and is left out")
            continue
        if since - level.entry_s < at < until:
            wanted[at] = entry
    return wanted


def _readable(blocks: Mapping[int, str], read: Callable[[str], Read]) -> dict[int, Read]:
    found: dict[int, Read] = {}
    for at, entry in blocks.items():
        try:
            found[at] = read(entry)
        except ValueError as error:
            logger.warning("A block of the GPU history is left out: %s", error)
    return found


def _cut(columns: Columns, since: float, until: float) -> list[Columns]:
    if since <= columns.first and columns.last < until:
        return [columns]
    inside = [bucket for bucket in to_buckets(columns) if since <= bucket.at < until]
    return [to_columns(inside, step_s=columns.step_s)] if inside else []
