"""The batches that a web process works on: tasks of its event loop, like the answers that they wait for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from django.db import DatabaseError

from deployments.database_threads import in_database
from playground.models import ComparisonBatch

from .storing import Step, end_batch, take_step

logger = logging.getLogger(__name__)

STEP_EVERY_S: Final = 0.5
#: How long batches have to write that they were interrupted when the web ends.
STOPPING_S: Final = 5.0


class BatchRunner:
    """:meth:`start` and :meth:`stop` it in the event loop; :meth:`begin` may come from any thread."""

    def __init__(self, *, step_every_s: float = STEP_EVERY_S, step: Callable[[int], Step] = take_step) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._step_every_s = step_every_s
        self._step = step

    async def start(self) -> None:
        """Be ready for batches."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """End every batch as interrupted. Safe to repeat, and without :meth:`start`."""
        self._loop = None
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOPPING_S)

    @property
    def at_work(self) -> int:
        """How many batches this process works on now."""
        return len(self._tasks)

    def begin(self, batch_id: int) -> None:
        """Work on this batch. Where no loop serves, as in a command, it will be marked as interrupted."""
        if self._loop is None:
            logger.warning("Batch %s is not worked on, since this process serves no pages.", batch_id)
            return
        self._loop.call_soon_threadsafe(self._begin, batch_id)

    def _begin(self, batch_id: int) -> None:
        if self._loop is None or batch_id in self._tasks:
            return
        task = self._tasks[batch_id] = self._loop.create_task(self._work(batch_id), name=f"batch {batch_id}")
        task.add_done_callback(lambda _done: self._tasks.pop(batch_id, None))

    async def _work(self, batch_id: int) -> None:
        try:
            while True:
                if await self._stepped(batch_id) is Step.OVER:
                    return
                await asyncio.sleep(self._step_every_s)
        except asyncio.CancelledError:
            await in_database(end_batch, batch_id, ComparisonBatch.State.INTERRUPTED)
            raise
        except Exception:  # the edge of a task
            logger.exception("Batch %s failed", batch_id)
            await in_database(end_batch, batch_id, ComparisonBatch.State.FAILED)

    async def _stepped(self, batch_id: int) -> Step:
        try:
            return await in_database(self._step, batch_id)
        except DatabaseError as error:
            logger.warning("Batch %s goes on later, since the database is away: %s", batch_id, error)
            return Step.WAIT


#: The one of this process.
batches = BatchRunner()
