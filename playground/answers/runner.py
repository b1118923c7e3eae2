"""The answers that a web process makes.

They are tasks of the web's own event loop and no process of their own: an answer costs a few hundred microseconds a
delta, the gateway beside it does the heavy work, and an answer that is asked for is under way without a hop through a
queue. A web that dies leaves answers that are marked as interrupted by whoever looks next.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError

from deployments.redis import async_client
from playground.protocols.streaming import GatewayClient, open_gateway_client
from playground.request_client import gateway_url

from .asked import Plan
from .making import Making
from .pages import pages

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

#: How long answers have to write what came when the web ends.
STOPPING_S: Final = 5.0


class Runner:
    """:meth:`start` and :meth:`stop` it in the event loop; :meth:`begin` and :meth:`end` may come from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: GatewayClient | None = None
        self._redis: Redis | None = None
        self._makings: dict[int, tuple[Making, asyncio.Task[None]]] = {}

    async def start(self) -> None:
        """Be ready for answers. Redis and the gateway may be away."""
        self._loop = asyncio.get_running_loop()
        self._client = open_gateway_client()
        self._redis = async_client()

    async def stop(self) -> None:
        """End every answer as interrupted. Safe to repeat, and without :meth:`start`."""
        self._loop = None
        tasks = [task for _making, task in self._makings.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOPPING_S)
        client, self._client = self._client, None
        redis, self._redis = self._redis, None
        if client is not None:
            await client.aclose()
        if redis is not None:
            await redis.aclose()

    @property
    def at_work(self) -> int:
        """How many answers this process makes now."""
        return len(self._makings)

    def makes(self, answer_id: int, *, owner_id: int) -> bool:
        """Whether this process makes that answer, and for this person. Call it in the loop."""
        found = self._makings.get(answer_id)
        return found is not None and found[0].owner_id == owner_id

    def begin(self, answer_id: int, *, owner_id: int, language: str, page: str = "", plan: Plan | None = None) -> None:
        """Make this answer of ``owner_id``, who asked on ``page``; without a plan it is read from the database.

        Where no loop serves, as in a command, it will be marked as interrupted.
        """
        if self._loop is None:
            logger.warning("Answer %s is not made, since this process serves no pages.", answer_id)
            return
        self._loop.call_soon_threadsafe(self._begin, answer_id, owner_id, language, page, plan)

    def end(self, answer_id: int) -> None:
        """Stop this answer if this process makes it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end, answer_id)

    def _begin(self, answer_id: int, owner_id: int, language: str, page: str, plan: Plan | None) -> None:
        if self._client is None or self._redis is None or answer_id in self._makings:
            return
        making = Making(
            answer_id,
            owner_id=owner_id,
            language=language,
            plan=plan,
            page=pages.tell(owner_id, page, answer_id),
            client=self._client,
            redis=self._redis,
            gateway_url=gateway_url,
        )
        task = asyncio.create_task(making.run(), name=f"answer {answer_id}")
        self._makings[answer_id] = making, task
        task.add_done_callback(lambda done: self._ended(answer_id, done))

    def _end(self, answer_id: int) -> None:
        if answer_id in self._makings:
            self._makings[answer_id][0].stop()

    def _ended(self, answer_id: int, task: asyncio.Task[None]) -> None:
        self._makings.pop(answer_id, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, DatabaseError):
            logger.error("The end of answer %s was not kept: %s", answer_id, error)
        elif error is not None:
            logger.error("Answer %s failed", answer_id, exc_info=error)


#: The one of this process.
runner = Runner()
