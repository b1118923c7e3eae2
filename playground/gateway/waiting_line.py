"""Requests that wait for a model to start: one start for all that want the same, bounded in number and in time.

This is where a request comes that found nothing ready. Those that find a ready deployment pass nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

from deployments.cancelling import end_task
from deployments.hints import hint_demand
from deployments.lifecycle.phases import ENDED
from deployments.redis import RedisError
from deployments.redis_keys import start_state
from deployments.start_states import StartState
from playground.exceptions import BusyError, GatewayError, NotStartedError

from .ahead import EVENTS, LINES, Ahead
from .endpoints import IMAGES
from .images.answering import ADAPTED
from .ollama.body import OllamaBody
from .start_words import only_by_hand, progress_words, too_slow
from .startable import Startable, able
from .starting import Patience, Starting, parsed

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from .relay import Job
    from .routing import RoutingTable

#: Requests that may wait for starts, of one gateway process.
MOST_WAITING: Final = 256
_STATES_WITHIN_S: Final = 2.0


class WaitingLine:
    """Lets requests wait until ``table`` has a route for them."""

    def __init__(
        self,
        connect: Callable[[], Redis],
        table: RoutingTable,
        *,
        hint: Callable[[], None] = hint_demand,
        most_waiting: int = MOST_WAITING,
        patience: Patience | None = None,
    ) -> None:
        self._connect = connect
        self._table = table
        self.hint = hint
        self._redis: Redis | None = None
        self._starting: dict[str, Starting] = {}
        self._tasks: dict[Starting, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.waiting = 0
        self.most_waiting = most_waiting
        self.patience = patience or Patience()

    async def stop(self) -> None:
        """End what is followed. Safe to repeat."""
        tasks, self._tasks = [*self._tasks.values(), *self._ending], {}
        await asyncio.gather(*map(end_task, tasks))
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    def look_again(self) -> None:
        """The table changed."""
        for starting in [*self._starting.values()]:
            starting.wake()

    async def wait(self, job: Job, missing: NotStartedError) -> None:
        """Return as soon as the table has a route for ``job``, which found ``missing``.

        A stream gets keep-alives meanwhile. Raises EndpointMismatchError, BusyError when too many wait, NotStartedError
        when a request may not start it, or StartFailedError when it failed, took too long or nobody began it.
        """
        startable = await self._choose(job, missing)
        if self.waiting >= self.most_waiting:
            raise BusyError(_("Too many requests wait for models to start already. Try again in a moment."))
        began = time.perf_counter()
        starting = self._join(startable)
        try:
            await self._hold(job, starting)
        finally:
            self._leave(starting)
            waited_s = time.perf_counter() - began
            job.tally.queue_s += waited_s
            job.tally.start_s += waited_s
        if isinstance(job.body, OllamaBody):
            job.body.note_loaded()

    async def _choose(self, job: Job, missing: NotStartedError) -> Startable:
        name = job.body.model
        known = able(name, missing.startable, job.endpoint)
        may = [each for each in known if each.may_start]
        asked = next((each for each in may if each.config in self._starting), None)
        if asked is not None or len(may) == 1:
            return asked or may[0]
        states = await self._states(may or known)
        on_its_way = next((each for each in may or known if each.config in states), None)
        if may:
            return on_its_way or may[0]
        chosen = on_its_way or known[0]
        raise only_by_hand(name, chosen, states.get(chosen.config))

    async def _states(self, configs: Sequence[Startable]) -> dict[str, StartState]:
        """Those that are on their way; none while Redis is away."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_STATES_WITHIN_S):
                texts = await self._client().mget([start_state(each.config) for each in configs])
            states = {each.config: parsed(text) for each, text in zip(configs, texts, strict=True)}
            return {config: state for config, state in states.items() if state and state.phase not in ENDED}
        return {}

    def _client(self) -> Redis:
        if self._redis is None:
            self._redis = self._connect()
        return self._redis

    def _join(self, startable: Startable) -> Starting:
        starting = self._starting.get(startable.config)
        if starting is None:
            starting = Starting(startable, self._client(), hint=self.hint, patience=self.patience)
            self._starting[startable.config] = starting
            name = f"berth start of {startable.config}"
            self._tasks[starting] = asyncio.create_task(starting.follow(), name=name)
        starting.waiting += 1
        self.waiting += 1
        return starting

    def _leave(self, starting: Starting) -> None:
        self.waiting -= 1
        starting.waiting -= 1
        if not starting.waiting:
            self._forget(starting)
            task = self._tasks.pop(starting, None)
            if task is not None:
                starting.end()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
                task.cancel()

    def _forget(self, starting: Starting) -> None:
        """Whoever comes from here on begins anew."""
        if self._starting.get(starting.startable.config) is starting:
            del self._starting[starting.startable.config]

    async def _hold(self, job: Job, starting: Starting) -> None:
        began = time.monotonic()
        most_s = starting.startable.load_timeout_s + self.patience.margin_s
        speak_at = began + self.patience.keep_alive_s if _takes_keep_alives(job, starting.startable) else float("inf")
        while not self._is_served(job):
            if starting.failure is not None:
                self._forget(starting)
                raise starting.failure
            now = time.monotonic()
            if now - began >= most_s:
                raise too_slow(starting.startable, starting.state, waited_s=most_s)
            if now >= speak_at:
                await _keep_alive(job, starting)
                speak_at = time.monotonic() + self.patience.keep_alive_s
                continue
            await starting.news(min(began + most_s, speak_at) - now)

    def _is_served(self, job: Job) -> bool:
        try:
            return bool(self._table.candidates(job.body.model, job.endpoint))
        except GatewayError:
            return False


def _takes_keep_alives(job: Job, startable: Startable) -> bool:
    """Whether the answer will be a stream of events or lines, into which something can be put beforehand."""
    if not job.body.streams:
        return False
    endpoint = job.endpoint
    return bool(endpoint.ending) or (endpoint is IMAGES and startable.engine in ADAPTED)


async def _keep_alive(job: Job, starting: Starting) -> None:
    """Say that it goes on, in the protocol's own way: a comment, or a line without content. The first one says 200."""
    exchange, body = job.exchange, job.body
    if not exchange.went_ahead:
        job.tally.streamed = True
        job.departure.streaming()
        kind = LINES if exchange.shape == "ollama" else EVENTS + b"; charset=utf-8"
        headers = [
            (b"content-type", kind),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await exchange.go_ahead(
            headers,
            lambda send: Ahead(
                send,
                shape=exchange.shape,
                ending=job.endpoint.ending,
                language=exchange.language,
                tells_facts=exchange.headers.get(b"x-berth-facts") == b"1",
            ),
        )
    if isinstance(body, OllamaBody):
        await exchange.send_part(body.nothing_yet())
    else:
        words = progress_words(starting.state, exchange.language)
        await exchange.send_part(b": " + words.encode() + b"\n\n")
