"""All levels of a load test, one after the other, after a warm-up that is not counted.

The loop is closed: a user asks again when the answer is there. So a slow server is asked less, as by a fixed number
of people who wait for it, and what these wait is measured whole, connecting included. It is not what arrivals at a
fixed rate would wait, who do not care how long the line is (coordinated omission): for those, look at the level whose
requests a second are theirs, and at its 99th percentile.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from playground.gateway.http1.client import SILENCE_S, UpstreamClient

from .asking import KINDS, Wanted
from .figures import Level
from .level import CANCELLED, GONE, REFUSING, LevelRun
from .outcomes import LATE, LoadError, Outcome
from .prompts import prompt, words_for
from .sending import Sender
from .settings import LoadSettings
from .target import Target

#: Numbers of prompts: those of a level follow its concurrency, so that no level is asked what another was.
_NUMBERS_A_LEVEL: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class ContextProbe:
    """What became of the one prompt that fills the context: its tokens with the answer's, as counted."""

    wanted: int
    tokens: int | None
    error: LoadError | None


class Ramp:
    """Run :meth:`run` once. What is public may be read from other threads meanwhile.

    Two tests with another ``seed`` send other prompts.
    """

    def __init__(self, target: Target, settings: LoadSettings, *, seed: int = 0) -> None:
        self._seed = seed
        self._target = target
        self._settings = settings
        self._kind = KINDS[settings.kind]
        self._words = settings.prompt_tokens
        self._until = time.perf_counter() + settings.total_s
        self.levels: list[Level] = []
        self.current: LevelRun | None = None
        self.context: ContextProbe | None = None
        #: Why nothing could be measured at all.
        self.failure: LoadError | None = None
        #: Whether time was over before the last level.
        self.is_cut = False

    async def run(self) -> None:
        """Warm up, then every level until one is not worth the next. Cancelled, the level under way is kept."""
        client = UpstreamClient(silence_s=min(SILENCE_S, self._settings.level_s))
        sender = Sender(client=client, target=self._target, kind=self._kind)
        try:
            if await self._warm_up(sender):
                if self._settings.context_length:
                    self.context = await self._fill_context(sender)
                await self._run_levels(sender)
        finally:
            await client.close()

    async def _run_levels(self, sender: Sender) -> None:
        for concurrency in self._settings.concurrency:
            left_s = self._until - time.perf_counter()
            if left_s <= 0:
                self.is_cut = True
                return
            run = LevelRun(
                sender,
                concurrency=concurrency,
                requests=self._settings.requests_at(concurrency),
                wanted=lambda number, first=concurrency * _NUMBERS_A_LEVEL: self._wanted(first + number),  # type: ignore[misc]
                level_s=min(self._settings.level_s, left_s),
            )
            self.current = run
            try:
                await run.run()
            finally:
                self.levels.append(run.figures())
                self.current = None
            if run.ended in (GONE, REFUSING, CANCELLED) or not self.levels[-1]["done"]:
                return

    async def _warm_up(self, sender: Sender) -> bool:
        """Whether it is worth going on. Learns how many words make the wanted tokens."""
        failures = []
        for number in range(self._settings.warm_up):
            outcome = await self._send(sender, self._wanted(number))
            if outcome.error is not None:
                failures.append(outcome.error)
                continue
            self._words = words_for(self._settings.prompt_tokens, words=self._words, counted=outcome.prompt_tokens)
        if failures and len(failures) == self._settings.warm_up:
            self.failure = failures[-1]
        return self.failure is None

    async def _fill_context(self, sender: Sender) -> ContextProbe:
        wanted, output = self._settings.context_length, self._settings.output_tokens
        # What the template adds to a prompt was learnt in the warm-up.
        words = max(1, wanted - output - (self._settings.prompt_tokens - self._words))
        outcome = await self._send(sender, self._wanted(-1, words=words))
        tokens = None if outcome.prompt_tokens is None else outcome.prompt_tokens + outcome.tokens
        return ContextProbe(wanted=wanted, tokens=tokens, error=outcome.error)

    async def _send(self, sender: Sender, wanted: Wanted) -> Outcome:
        """One request beside the levels, within a level's time."""
        outcome = Outcome(sent_at=time.perf_counter())
        sending = asyncio.create_task(sender.send(wanted, outcome))
        try:
            await asyncio.wait({sending}, timeout=self._settings.level_s)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if not outcome.ended_at:
            outcome.error = LoadError(LATE, f"{self._settings.level_s:g}")
        return outcome

    def _wanted(self, number: int, *, words: int | None = None) -> Wanted:
        settings = self._settings
        return Wanted(
            model=self._target.model,
            engine=self._target.engine,
            text=prompt(number, words=words or self._words, seed=self._seed),
            output_tokens=settings.output_tokens,
            stream=settings.stream and self._kind.streams,
            size=settings.size,
        )
