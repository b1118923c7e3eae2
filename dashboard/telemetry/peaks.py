"""The most memory that each run was seen to hold: measured while it runs, read when its attempt is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from deployments.gpu_readings import GpuReading
from deployments.redis import client
from deployments.redis_keys import gpu_peak

from .rows import counted

#: Longer than the close of an attempt can be late, renewed while the run holds memory.
KEPT_S = 86_400
RENEWED_EVERY_S = 600.0


def held_by_runs(gpus: Iterable[GpuReading]) -> dict[str, int]:
    """Bytes by run over all GPUs; a run with a part that the driver does not tell is left out."""
    totals: dict[str, int | None] = {}
    for gpu in counted(gpus):
        for process in gpu.processes or ():
            if process.run_name:
                before = totals.get(process.run_name, 0)
                unknown = before is None or process.memory_bytes is None
                totals[process.run_name] = None if unknown else (before or 0) + (process.memory_bytes or 0)
    return {run: total for run, total in totals.items() if total is not None}


@dataclass
class Peaks:
    """What was written, so that Redis hears only of growth."""

    clock: Callable[[], float] = time.monotonic
    _written: dict[str, tuple[int, float]] = field(default_factory=dict)

    def watch(self, gpus: Iterable[GpuReading]) -> None:
        """Write the runs that hold more than ever. Raises RedisError."""
        now, held = self.clock(), held_by_runs(gpus)
        for run, total in held.items():
            peak, at = self._written.get(run) or (self._kept(run), float("-inf"))
            if total > peak or now - at > RENEWED_EVERY_S:
                client().set(gpu_peak(run), str(max(total, peak)), ex=KEPT_S)
                self._written[run] = (max(total, peak), now)
        # A run that holds nothing at the moment may again; Redis remembers its peak.
        self._written = {run: written for run, written in self._written.items() if run in held}

    def _kept(self, run: str) -> int:
        """What an agent before this one saw."""
        text = client().get(gpu_peak(run))
        return int(text) if text and text.isdigit() else 0
