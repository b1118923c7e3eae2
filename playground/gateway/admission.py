"""Whether a key may send this request: its scopes, and its limits over all gateway processes together.

A limit is a budget for a minute or a day of Redis's clock. A process takes a block of it, a twentieth at most, and
serves requests from that block without asking again; near the end of a budget blocks become as small as one request.
What was taken is gone for everybody else, so a limit is never passed, and at most a block for each process is refused
early. Tokens are reserved before a request and corrected after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

from deployments.cancelling import end_task
from deployments.redis import RedisError, async_client
from playground.exceptions import ForbiddenError, LimitsAwayError
from playground.key_rules import KeyScopes

from .key_budgets import CHARGE, RETURN, KeyBudget
from .reservation import UNLIMITED, Reservation

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

    from .auth import Caller

logger = logging.getLogger(__name__)

#: Redis is waited for this long, in seconds; then a limited key is refused.
PATIENCE_S: Final = 2.0
#: Unused blocks go back after this long without a request, and what is owed is told this often.
TICK_S: Final = 1.0
IDLE_S: Final = 2.0
FORGET_S: Final = 600.0
_LIMITS_AWAY: Final = _(
    "Redis is away, so that the limits of this key cannot be checked. Try again in a moment, "
    "or use a key without limits."
)


class Admission:
    """Admits requests in one process. :meth:`start` and :meth:`stop` it in the event loop that serves."""

    def __init__(
        self, connect: Callable[[], Redis] = async_client, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._budgets: dict[int, KeyBudget] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._redis: Redis | None = None
        self._charge: AsyncScript | None = None
        self._return: AsyncScript | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the connection, lazily, and go on in the background."""
        self._redis = self._connect()
        self._charge = self._redis.register_script(CHARGE)
        self._return = self._redis.register_script(RETURN)
        self._task = asyncio.create_task(self._tick(), name="berth key budgets")

    async def stop(self) -> None:
        """Give unused blocks back and close. Safe to repeat, and without :meth:`start`."""
        task, self._task = self._task, None
        if task is not None:
            await end_task(task)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settle_up(idle_s=-1.0), PATIENCE_S)
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    async def admit(
        self, caller: Caller, *, endpoint: str, model: str, prompt_bytes: int, max_tokens: int | None
    ) -> Reservation:
        """Let a request through, having reserved what it may use at most.

        ``endpoint`` is the scope that the request needs, ``model`` the name that was asked for, ``prompt_bytes`` the
        size of what the model reads (0 where no tokens are counted, as for images). Raises ForbiddenError,
        RateLimitedError, or LimitsAwayError when Redis is away and the key is limited. Settle the reservation
        whatever happens.
        """
        caller.require_model(model)
        if caller.scopes is not None:
            _check_endpoint(caller.scopes, endpoint)
        if caller.limits is None or caller.key_id is None:
            return UNLIMITED
        budget = self._budgets.get(caller.key_id)
        if budget is None:
            budget = self._budgets[caller.key_id] = KeyBudget(caller.key_id, caller.limits, self._clock)
        elif budget.limits is not caller.limits:
            budget.change(caller.limits)
        tokens = budget.estimate(prompt_bytes, max_tokens)
        # Whoever waits already comes first, else a large request would wait for ever.
        if not budget.lock.locked():
            reservation = budget.take(tokens)
            if reservation is not None:
                return reservation
        budget.refuse_impossible(caller.name, tokens)
        came_at = self._clock()
        async with budget.lock:
            while (reservation := budget.take(tokens)) is None:
                # Who waited while somebody else asked in vain does not ask once more: a Redis that hangs would let
                # each of them wait after the other.
                if budget.away_at >= came_at:
                    raise LimitsAwayError(_LIMITS_AWAY)
                await self._ask(budget, tokens)
                if budget.refused:
                    raise budget.refusal(caller.name)
        return reservation

    async def _ask(self, budget: KeyBudget, tokens: int) -> None:
        # Shielded: what is granted to a client that leaves meanwhile serves the next one.
        task = asyncio.ensure_future(self._take_block(budget, tokens))
        self._asking.add(task)
        task.add_done_callback(self._asked)
        try:
            await asyncio.shield(task)
        except (RedisError, OSError, TimeoutError) as error:
            budget.away_at = self._clock()
            raise LimitsAwayError(_LIMITS_AWAY) from error

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("A key's budget could not be asked for: %r", error)

    async def _take_block(self, budget: KeyBudget, tokens: int | None) -> None:
        """Ask Redis for what a request of ``tokens`` lacks; None only settles what is owed.

        Raises RedisError, OSError, TimeoutError.
        """
        if self._charge is None:
            raise RuntimeError("start() has not run")
        asked = budget.ask(tokens)
        try:
            async with asyncio.timeout(PATIENCE_S):
                reply = await self._charge(keys=asked.keys, args=asked.arguments)
        except BaseException:
            budget.unask(asked)
            raise
        budget.granted(asked, reply)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._settle_up(idle_s=IDLE_S)
            except (RedisError, OSError, TimeoutError) as error:
                logger.debug("Key budgets wait for Redis: %s", error)
            except Exception:
                logger.exception("Settling key budgets failed; trying again.")

    async def _settle_up(self, *, idle_s: float) -> None:
        """Tell Redis what is owed; give back the blocks of keys that sent nothing for ``idle_s``."""
        now = self._clock()
        for key_id, budget in list(self._budgets.items()):
            if budget.owes:
                await self._take_block(budget, None)
            if now - budget.used_at > idle_s and self._return is not None:
                keys, arguments = budget.give_back()
                if keys:
                    async with asyncio.timeout(PATIENCE_S):
                        await self._return(keys=keys, args=arguments)
                elif now - budget.used_at > FORGET_S and not budget.lock.locked():
                    self._budgets.pop(key_id, None)


def _check_endpoint(scopes: KeyScopes, endpoint: str) -> None:
    if not scopes.allows_endpoint(endpoint):
        raise ForbiddenError(
            _("This key may not send requests of the kind %(kind)s. An admin can allow it on the page Keys."),
            kind=endpoint,
        )
