"""What a page reads from Redis while it does other things. It never raises for Redis: that may be away."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deployments.cancelling import end_task
from deployments.redis import RedisError

from .deltas import Entry
from .names import conversation_hints

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

#: How often what Redis would tell is asked for elsewhere while it is away.
WITHOUT_REDIS_S: Final = 1.0
_AT_ONCE: Final = 500


class Read:
    """One read of ``streams`` (name -> last known id): the next entries, or none after ``silent_s`` without any.

    It goes on while its page wants or hears something else: to break it off costs its connection.
    """

    def __init__(self, redis: Redis, streams: dict[str, str], *, silent_s: float) -> None:
        self.names = streams.keys()
        self._is_wanted = True
        self.task = asyncio.create_task(self._read(redis, streams, silent_s), name="page reading answers")

    async def end(self) -> None:
        """Break it off. Safe to repeat."""
        self._is_wanted = False
        await end_task(self.task)

    async def _read(self, redis: Redis, streams: dict[str, str], silent_s: float) -> dict[str, list[Entry]]:
        if not streams:
            await asyncio.sleep(silent_s)
            return {}
        try:
            found: Any = await redis.xread(streams, count=_AT_ONCE, block=round(silent_s * 1000))  # type: ignore[arg-type]
        except (RedisError, OSError, TimeoutError) as error:
            # One that is broken off may end like this, too.
            if self._is_wanted:
                logger.warning("Answers are followed without Redis: %s", error)
                await asyncio.sleep(WITHOUT_REDIS_S)
            return {}
        return dict(found or [])


class Hints(NamedTuple):
    """Where a conversation's hints go on, and the message that the newest one tells."""

    after: str
    leaf: int | None


async def newest_hint(redis: Redis, conversation_id: int) -> Hints:
    """The newest hint of a conversation. ``after`` is empty, a second later, while Redis is away."""
    try:
        newest: Any = await redis.xrevrange(conversation_hints(conversation_id), count=1)
    except (RedisError, OSError, TimeoutError) as error:
        logger.warning("What other tabs of conversation %s say is not heard: %s", conversation_id, error)
        await asyncio.sleep(WITHOUT_REDIS_S)
        return Hints("", None)
    return Hints(str(newest[0][0]) if newest else "0-0", leaf_in(newest))


def leaf_in(hints: list[Entry]) -> int | None:
    """What the last of these entries tells."""
    told = hints[-1][1].get("leaf") if hints else None
    return None if told is None else int(told)
