"""Makes one answer: asks the gateway as the person, and fills the journal until the end, a failure or a stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError
from django.utils import translation
from django.utils.translation import gettext as _

from deployments.cancelling import end_task
from deployments.database_threads import in_database
from deployments.exceptions import BerthError
from deployments.redis import RedisError
from playground.models import Answer
from playground.protocols.streaming import Facts, GatewayClient, ask_gateway, facts_in
from playground.protocols.streams.events import Failure, Served
from playground.services.person_token import make_person_token

from .asked import Plan
from .drawn import keep_drawn
from .journal import Journal
from .names import answer_stop
from .pages import Page
from .plan import make_plan, replica_name
from .progress import Progress

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

#: How often word of a stop is looked for, in seconds: it may come from another web process.
LOOK_EVERY_S: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an answer ended."""

    state: Answer.State
    error: str = ""
    error_code: str = ""


class Making:
    """One answer. :meth:`run` it once in a task; cancelled, it marks the answer as interrupted."""

    def __init__(
        self,
        answer_id: int,
        *,
        owner_id: int,
        language: str,
        plan: Plan | None = None,
        page: Page | None = None,
        client: GatewayClient,
        redis: Redis,
        gateway_url: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer_id = answer_id
        self.owner_id = owner_id
        self._language = language
        self._plan = plan
        self._client = client
        self._redis = redis
        self._gateway_url = gateway_url
        self._clock = clock
        self._progress = Progress(sent_at=clock())
        self._journal = Journal(answer_id, self._progress, redis, page=page, clock=clock)
        self._stop_asked = asyncio.Event()
        self._naming: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Stop at once. Call it in the loop."""
        self._stop_asked.set()

    async def run(self) -> None:
        """Make it, and write how it ended whatever happens."""
        asking = asyncio.create_task(self._ask(), name=f"answer {self._answer_id} asking")
        watching = asyncio.create_task(self._watch(), name=f"answer {self._answer_id} stop")
        writing = asyncio.create_task(self._journal.run(), name=f"answer {self._answer_id} journal")
        outcome = Outcome(state=Answer.State.INTERRUPTED)
        try:
            await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
            # An answer that is complete is not stopped any more.
            outcome = asking.result() if asking.done() else Outcome(state=Answer.State.STOPPED)
        finally:
            for task in (asking, watching, writing):
                await end_task(task)
            if self._naming is not None:
                self._journal.has_told.set()
                await asyncio.wait([self._naming])
            await self._journal.end(outcome.state, error=outcome.error, error_code=outcome.error_code)

    async def _watch(self) -> None:
        """Ends when a stop is wanted."""
        while not self._stop_asked.is_set():
            try:
                await asyncio.wait_for(self._stop_asked.wait(), LOOK_EVERY_S)
            except TimeoutError:
                if await self._is_stop_left():
                    return

    async def _is_stop_left(self) -> bool:
        try:
            return await self._redis.get(answer_stop(self._answer_id)) is not None
        except (RedisError, OSError):
            return False

    async def _ask(self) -> Outcome:
        # Sentences of this task are for the person who asked.
        with translation.override(self._language):
            try:
                plan = await in_database(make_plan, self._answer_id) if self._plan is None else self._plan
                try:
                    await self._read(plan)
                finally:
                    await self._keep_images(plan.user_id)
            except BerthError as error:
                return self._failed(str(error), getattr(error, "code", ""))
            except Exception:  # the edge of a task
                logger.exception("Answer %s failed", self._answer_id)
                return self._failed(_("The playground failed. Its log names the cause."), "internal_error")
            return self._read_outcome()

    async def _read(self, plan: Plan) -> None:
        progress, journal = self._progress, self._journal
        progress.sent_at = self._clock()
        url = self._gateway_url().rstrip("/") + plan.path
        token = make_person_token(plan.user_id)
        asking = ask_gateway(
            self._client,
            url,
            plan.body,
            token=token,
            language=self._language,
            files=plan.files,
            largest_whole=plan.largest_whole,
        )
        async with asking as arriving:
            self._note_facts(arriving.facts)
            async for chunk in arriving.chunks:
                for event in plan.reader.feed(chunk):
                    if isinstance(event, Served):
                        self._note_facts(facts_in(dict(event.headers)))
                    progress.apply(event, now=self._clock())
                self._note_progress()
                journal.note()
                if progress.failure is not None or progress.is_too_long:
                    return
        for event in plan.reader.end():
            progress.apply(event, now=self._clock())
        self._note_progress()
        if progress.load_ms and "start_ms" not in journal.facts:
            journal.facts["start_ms"] = progress.load_ms

    def _note_facts(self, facts: Facts) -> None:
        """They are told with the first piece: a delta of their own would hold that up by a pace."""
        self._journal.facts |= facts
        if "deployment_id" in facts and self._naming is None:
            self._naming = asyncio.create_task(self._name_replica(facts["deployment_id"]))

    async def _name_replica(self, deployment_id: int) -> None:
        """Beside the answer, once its first words are told: they wait for no query, nor for its thread."""
        await self._journal.has_told.wait()
        with contextlib.suppress(DatabaseError):
            self._journal.facts["replica"] = await in_database(replica_name, deployment_id)

    def _note_progress(self) -> None:
        progress, facts = self._progress, self._journal.facts
        if progress.first_token_ms is not None:
            facts["first_token_ms"] = progress.first_token_ms
        if progress.step is not None:
            facts["step"], facts["steps"] = progress.step.step, progress.step.steps
        if progress.seed is not None:
            facts["seed"] = progress.seed

    async def _keep_images(self, user_id: int) -> None:
        progress = self._progress
        if not progress.images:
            return
        refusals = await in_database(keep_drawn, self._answer_id, user_id, progress.images)
        if len(refusals) == len(progress.images):
            progress.images.clear()
        if refusals and progress.failure is None:
            progress.failure = Failure(message=" ".join(refusals), code="no_image")

    def _read_outcome(self) -> Outcome:
        progress = self._progress
        if progress.failure is not None:
            return self._failed(progress.failure.message, progress.failure.code)
        if progress.is_too_long:
            return self._failed(_("The answer was ended here: it has more than 2,000,000 characters."), "too_long")
        if progress.broke_off:
            return self._failed(_("The answer broke off before its end."), "broke_off")
        if not progress.has_something:
            return Outcome(state=Answer.State.FAILED, error=_("The model ended without a word."), error_code="empty")
        return Outcome(state=Answer.State.DONE)

    def _failed(self, sentence: str, code: str) -> Outcome:
        """What came is kept and marked; where nothing came there is nothing to mark."""
        state = Answer.State.INTERRUPTED if self._progress.has_something else Answer.State.FAILED
        return Outcome(state=state, error=sentence[:2000], error_code=str(code))
