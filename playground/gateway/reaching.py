"""Answers whether this gateway process reaches a server, before its deployment counts as ready."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final

from deployments.cancelling import end_task
from deployments.redis import RedisError
from deployments.redis_keys import gateway_reached

from .http1.client import UpstreamClient
from .http1.origin import origin_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)
#: Asked again at each look of the worker, so that one lost answer costs little.
WITHIN_S: Final = 2.0
KEPT_S: Final = 60
#: More at once than anybody starts; whoever comes too late is asked again.
MOST_AT_ONCE: Final = 32


class Reaching:
    """Asks servers as the relay would. Any status is an answer: what it serves, the worker has asked already."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, asked: str, redis: Redis) -> None:
        """Begin to reach the server that the message names; returns at once. Its answer goes to ``redis``."""
        if len(self._tasks) >= MOST_AT_ONCE:
            return
        try:
            message = json.loads(asked)
            deployment_id, endpoint = int(message["deployment"]), str(message["endpoint"])
        except (ValueError, KeyError, TypeError):
            logger.warning("What was asked of this gateway is malformed.")
            return
        task = asyncio.create_task(self._reach(deployment_id, endpoint, redis))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End what is under way."""
        await asyncio.gather(*map(end_task, self._tasks))

    async def _reach(self, deployment_id: int, endpoint: str, redis: Redis) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                origin = origin_of(endpoint)
                head = f"GET {origin.prefix or '/'} HTTP/1.1\r\nhost: {origin.name}\r\n\r\n"
                answer = await self._client.ask(origin, head.encode("latin-1"), b"")
                # What it serves there is nobody's here: perhaps a page without end.
                answer.close()
                logger.debug("Deployment %s is reached: %s", deployment_id, answer.status)
                await redis.set(gateway_reached(deployment_id), endpoint, ex=KEPT_S)
        except (RedisError, OSError, ValueError) as error:
            logger.info("Deployment %s is not reached at %s: %r", deployment_id, endpoint, error)
