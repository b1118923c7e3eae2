"""One config that requests wait for: the demand that is written for it, and what is heard of its start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deployments.lifecycle.phases import Phase
from deployments.redis import RedisError
from deployments.redis_keys import DEMAND, start_state
from deployments.start_states import LIVES_S, StartState
from playground.exceptions import GatewayError

from .start_words import failed, stopped, unheard
from .startable import Startable

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

#: Demands beyond this are the oldest, which nobody waits for.
_MOST_DEMANDS: Final = 1000
_REDIS_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How requests wait, in seconds.

    ``margin_s`` comes on top of a config's time to load, for a place, its image and its weights. Until
    ``keep_alive_s`` has passed nothing is sent, so that a quick failure has a status of its own. ``unheard_s`` is how
    long nothing may be heard of a start.
    """

    margin_s: float = 60.0
    keep_alive_s: float = 5.0
    look_s: float = 0.25
    ask_again_s: float = 2.0
    unheard_s: float = 15.0


class Starting:
    """Asks for the start of ``startable`` and follows it, as long as somebody waits."""

    def __init__(self, startable: Startable, redis: Redis, *, hint: Callable[[], None], patience: Patience) -> None:
        self.startable = startable
        self.waiting = 0
        self.state: StartState | None = None
        self.failure: GatewayError | None = None
        self._redis = redis
        self._hint = hint
        self._patience = patience
        self._news = asyncio.Event()
        self._redis_away = False
        #: The run that is waited for, once it was seen on its way.
        self._run: int | None = None
        self._heard_at = time.monotonic()
        self._asked_at = float("-inf")
        self._over = False

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._news.set()
        self._news = asyncio.Event()

    def end(self) -> None:
        """Look no more: a cancellation alone may be swallowed, see :func:`deployments.cancelling.end_task`."""
        self._over = True

    async def news(self, within_s: float) -> None:
        """Return at the next news, or after ``within_s``."""
        news = self._news
        try:
            async with asyncio.timeout(within_s):
                await news.wait()
        except TimeoutError:
            return

    async def follow(self) -> None:
        """Look again and again until it has failed; cancelled when nobody waits any more."""
        while self.failure is None and not self._over:
            try:
                async with asyncio.timeout(_REDIS_S):
                    await self._look()
                self._redis_away = False
            except (RedisError, OSError, TimeoutError) as error:
                if not self._redis_away:
                    logger.warning("How far %s is cannot be asked: %s", self.startable.config, error)
                self._redis_away = True
            except Exception:
                logger.exception("Following the start of %s failed; trying again.", self.startable.config)
            self._give_up_unheard()
            self.wake()
            await asyncio.sleep(self._patience.look_s)

    def _give_up_unheard(self) -> None:
        if self.failure is None and time.monotonic() - self._heard_at > self._patience.unheard_s:
            self.failure = unheard(self.startable, redis_away=self._redis_away)

    async def _look(self) -> None:
        key = start_state(self.startable.config)
        self.state = parsed(await self._redis.get(key))
        if self.state is not None and self.state.phase == Phase.FAILED:
            self.failure = failed(self.startable, self.state, again_in_s=await self._redis.ttl(key))
        elif self.state is not None and self.state.is_kept_off:
            self.failure = stopped(self.startable, self.state, again_in_s=await self._redis.ttl(key))
        elif self._needs_asking(self.state):
            await self._ask()

    def _needs_asking(self, state: StartState | None) -> bool:
        """Take over what was heard; whether nothing is on its way."""
        if state is None:
            return True
        ours = state.deployment_id == self._run
        if state.phase == Phase.STOPPED:
            if ours:
                self.failure = stopped(self.startable, state, again_in_s=LIVES_S)
            return not ours
        self._heard_at = time.monotonic()
        if state.phase == Phase.STOPPING:
            # An earlier run that has to end first; the worker refuses until then.
            return not ours
        self._run = state.deployment_id
        return False

    async def _ask(self) -> None:
        """Write the demand, again and again: a lost one, or one that came too early, is made good."""
        now = time.monotonic()
        if now - self._asked_at < self._patience.ask_again_s:
            return
        await self._redis.xadd(DEMAND, {"config": self.startable.config}, maxlen=_MOST_DEMANDS, approximate=True)
        self._asked_at = now
        # Celery's client blocks.
        await asyncio.to_thread(self._hint)


def parsed(text: object) -> StartState | None:
    """What Redis has of a start; None for nothing, and for what cannot be read."""
    try:
        return StartState.from_json(text) if isinstance(text, str) else None
    except ValueError as error:
        logger.error("The state of a start in Redis is malformed: %s", error)
        return None
