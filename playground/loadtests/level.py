"""One level: so many users who each wait for their answer before they ask again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from .asking import Wanted
from .figures import Level, Span, level_figures
from .lag import Lateness
from .outcomes import BROKE_OFF, UNREACHABLE, Outcome
from .sending import Sender

#: How a level ended: every request was sent and answered; its time was over; the server was gone; it refused or
#: failed all that was asked; somebody cancelled.
COMPLETE, TIME, GONE, REFUSING, CANCELLED = "complete", "time", "gone", "refusing", "cancelled"
#: So many requests in a row without one whole answer among them, beyond those of all users once.
_GONE_AFTER: Final = 10
_REFUSING_AFTER: Final = 20
#: Whoever got an error waits a moment, as clients do; else a server that refuses at once would be flooded.
_PAUSE_S: Final = 0.1


class LevelRun:
    """Run :meth:`run` once. Figures can be asked for at any time, from other threads too."""

    def __init__(
        self, sender: Sender, *, concurrency: int, requests: int, wanted: Callable[[int], Wanted], level_s: float
    ) -> None:
        self._sender = sender
        self._wanted = wanted
        self._left = requests
        self._level_s = level_s
        self._lateness = Lateness()
        self._over = asyncio.Event()
        self._failed_in_a_row = 0
        self._only_lost = True
        self.concurrency = concurrency
        self.requests = requests
        self.outcomes: list[Outcome] = []
        self.ended = ""
        self._began_at = time.time()
        self._began = time.perf_counter()
        self._until = 0.0
        self._cpu_percent: float | None = None

    async def run(self) -> None:
        """Until all is answered, the time is over or the server is lost. Cancelled, it leaves nothing under way."""
        users = [asyncio.create_task(self._use()) for _user in range(self.concurrency)]
        watching = asyncio.create_task(self._lateness.watch())
        over: asyncio.Future[Any] = asyncio.create_task(self._over.wait())
        all_users: asyncio.Future[Any] = asyncio.gather(*users)
        try:
            await asyncio.wait({all_users, over}, timeout=self._level_s, return_when=asyncio.FIRST_COMPLETED)
            if all_users.done():
                # Senders never raise: what does is a fault of ours, and not to be taken for a result.
                all_users.result()
            self.ended = self.ended or (COMPLETE if all_users.done() else TIME)
        except asyncio.CancelledError:
            self.ended = CANCELLED
            raise
        finally:
            self._until = max((one.ended_at for one in self.outcomes), default=0.0)
            self._until = self._until if self.ended == COMPLETE else time.perf_counter()
            self._cpu_percent = self._lateness.cpu_percent()
            for task in (*users, watching, over):
                task.cancel()
            await asyncio.gather(*users, watching, over, all_users, return_exceptions=True)

    def figures(self) -> Level:
        """What is known now."""
        span = Span(began=self._began, ended=self._until or time.perf_counter())
        makes_tokens = self._sender.kind.makes_tokens
        level = level_figures([*self.outcomes], span, concurrency=self.concurrency, makes_tokens=makes_tokens)
        level["started_at"] = round(self._began_at, 3)
        level["ended"] = self.ended
        level["late_ms"] = self._lateness.late_ms
        level["cpu_percent"] = self._cpu_percent
        return level

    async def _use(self) -> None:
        while self._left > 0 and not self._over.is_set():
            self._left -= 1
            outcome = Outcome(sent_at=time.perf_counter())
            self.outcomes.append(outcome)
            await self._sender.send(self._wanted(len(self.outcomes)), outcome)
            self._judge(outcome)
            if outcome.error is not None:
                await asyncio.sleep(_PAUSE_S)

    def _judge(self, outcome: Outcome) -> None:
        error = outcome.error
        if error is None:
            self._failed_in_a_row, self._only_lost = 0, True
            return
        self._failed_in_a_row += 1
        self._only_lost &= error.code in (UNREACHABLE, BROKE_OFF)
        most = self.concurrency + (_GONE_AFTER if self._only_lost else _REFUSING_AFTER)
        if self._failed_in_a_row >= most and not self.ended:
            self.ended = GONE if self._only_lost else REFUSING
            self._over.set()
