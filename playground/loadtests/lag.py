"""How late the generator itself is: what it measures can be no better."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from .figures import percentile

EVERY_S: Final = 0.02


class Lateness:
    """Run :meth:`watch` beside what is measured; then ask. Costs 50 wake-ups a second."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._cpu_s = time.thread_time()
        self._began = time.perf_counter()

    async def watch(self) -> None:
        """Note how much later than asked for the event loop comes round. Cancel it at the end."""
        while True:
            due = time.perf_counter() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._late.append(max(0.0, time.perf_counter() - due))

    @property
    def late_ms(self) -> float | None:
        """The 95th percentile so far."""
        ordered = sorted([*self._late])
        return round(1000 * percentile(ordered, 95), 2) if ordered else None

    def cpu_percent(self) -> float:
        """Of one core, since it was made. Call it in the thread that made it."""
        passed = max(time.perf_counter() - self._began, 1e-6)
        return round(100 * (time.thread_time() - self._cpu_s) / passed, 1)
