"""Tells an answer's readers what came, through Redis, and keeps it in the database every two seconds.

Readers get numbered deltas. The row has the number of the last delta that is in it, so that whoever comes late reads
the row and goes on with the next number: nothing is lost and nothing comes twice. The page that asked gets them at
once. While Redis is away the answer goes on, and other readers see the row.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import DatabaseError

from deployments.database_threads import in_database
from deployments.redis import RedisError
from playground.models import Answer
from playground.protocols.streaming import Facts

from .names import KEPT_S, MOST_DELTAS, answer_deltas
from .pages import Page
from .progress import Progress
from .storing import End, end_answer, keep_progress

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

#: The first piece goes at once; then this many seconds lie between two deltas, about two frames of a screen.
PACE_S: Final = 0.03
KEEP_EVERY_S: Final = 2.0
PATIENCE_S: Final = 2.0
#: Between tries to write the end.
END_PAUSES_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0)


class _Told(NamedTuple):
    """What readers know: lengths of the texts, and the rest as JSON."""

    text: int = 0
    reasoning: int = 0
    calls: str = "[]"
    facts: str = "{}"


class Journal:
    """Of one answer. :meth:`run` beside the task that fills ``progress`` and calls :meth:`note`.

    ``page``, which asked for it and is open in this process, hears everything without Redis.
    """

    def __init__(
        self,
        answer_id: int,
        progress: Progress,
        redis: Redis,
        *,
        page: Page | None = None,
        clock: Callable[[], float],
        keep_every_s: float = KEEP_EVERY_S,
    ) -> None:
        self.answer_id = answer_id
        self.facts: Facts = {}
        self._progress = progress
        self._redis = redis
        self._page = page
        self._clock = clock
        self._keep_every_s = keep_every_s
        self._sequence = 0
        self._told = _Told()
        self._news = asyncio.Event()
        #: Set once the first delta is on its way.
        self.has_told = asyncio.Event()
        self._redis_away = False

    @property
    def told(self) -> Progress:
        """What is in the deltas so far, and so what the row may have under their last number: else it came twice."""
        told = self._told
        return dataclasses.replace(
            self._progress,
            content=self._progress.content[: told.text],
            reasoning=self._progress.reasoning[: told.reasoning],
            calls=json.loads(told.calls),
        )

    def note(self) -> None:
        """Something came."""
        self._news.set()

    async def run(self) -> None:
        """Tell and keep until cancelled."""
        kept_at = self._clock()
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), max(0.01, kept_at + self._keep_every_s - self._clock()))
            except TimeoutError:
                pass
            else:
                self._news.clear()
                await self._tell(self._delta())
                await asyncio.sleep(PACE_S)
            if self._clock() - kept_at >= self._keep_every_s:
                kept_at = self._clock()
                await self._tell(self._delta())
                await self._keep()

    async def end(self, state: Answer.State, *, error: str, error_code: str) -> None:
        """Tell the rest, keep everything, then say that it is over: whoever hears that finds all in the row."""
        await self._tell(self._delta())
        ended = End(state=state, error=error, error_code=error_code, duration_ms=self._duration_ms)
        await self._keep_end(ended)
        await self._tell({"over": True})

    @property
    def _duration_ms(self) -> int:
        return round((self._clock() - self._progress.sent_at) * 1000)

    async def _keep_end(self, ended: End) -> None:
        """Write the end, again where the database is busy: nobody else knows what came."""
        facts, sequence = self.facts.copy(), self._sequence + 1
        for pause_s in (*END_PAUSES_S, None):
            try:
                await in_database(end_answer, self.answer_id, self._progress, ended, sequence=sequence, facts=facts)
                return
            except DatabaseError as error:
                if pause_s is None:
                    raise
                logger.warning("The end of answer %s is kept later: %s", self.answer_id, error)
                await asyncio.sleep(pause_s)

    async def _keep(self) -> None:
        facts, told = self.facts.copy(), self.told
        try:
            await in_database(keep_progress, self.answer_id, told, sequence=self._sequence, facts=facts)
        except DatabaseError as error:
            logger.warning("Answer %s is kept later, since the database is away: %s", self.answer_id, error)

    def _delta(self) -> dict[str, Any]:
        """What readers do not know yet."""
        progress, before = self._progress, self._told
        now = self._told = _Told(
            text=len(progress.content),
            reasoning=len(progress.reasoning),
            calls=json.dumps(progress.calls),
            facts=json.dumps(self.facts),
        )
        grew = now.text + now.reasoning > before.text + before.reasoning
        delta: dict[str, Any] = {
            "pieces": progress.pieces if grew else 0,
            "text": progress.content[before.text :],
            "reasoning": progress.reasoning[before.reasoning :],
            "calls": json.loads(now.calls) if now.calls != before.calls else None,
            "facts": dict(self.facts) if now.facts != before.facts else None,
        }
        return {name: value for name, value in delta.items() if value}

    async def _tell(self, delta: dict[str, Any]) -> None:
        if not delta:
            return
        # Counted even while Redis is away: a reader that misses a number reads the row.
        self._sequence += 1
        if self._page is not None:
            self._page.hear(self.answer_id, self._sequence, delta)
            self.has_told.set()
        name = answer_deltas(self.answer_id)
        try:
            async with asyncio.timeout(PATIENCE_S):
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.xadd(
                    name,
                    {"delta": json.dumps(delta, ensure_ascii=False)},
                    id=f"{self._sequence}-0",
                    maxlen=MOST_DELTAS,
                    approximate=True,
                )
                pipeline.expire(name, KEPT_S)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            if not self._redis_away:
                logger.warning("Readers of answer %s see it late, since Redis is away: %s", self.answer_id, error)
            self._redis_away = True
        else:
            self._redis_away = False
        self.has_told.set()
