"""From what a GPU answered to its reading, and in what state it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.gpu_readings import GpuProcess, GpuReading

from .facts import Target
from .lanes import Sweep
from .nvml_values import LOST, NO_PERMISSION, TIMEOUT
from .questions import MEMORY, PROCESS_UTILIZATION, PROCESSES, QUESTIONS

#: Every field that the driver is asked for.
MEASURED = tuple(
    name
    for question in QUESTIONS
    for name in question.fields
    if name not in {PROCESS_UTILIZATION, "processes", "limiters"}
)
WINDOW_S = 60.0
#: A gap longer than this is no time in which anything is known.
MOST_GAP_S = 3.0
#: For so long an error event counts against a GPU.
XID_S = 3600.0
#: Error events that a program causes, not the GPU: https://docs.nvidia.com/deploy/xid-errors/
XIDS_OF_PROGRAMS = frozenset({13, 31, 43, 45, 68, 69})


def reading_of(target: Target, sweep: Sweep) -> GpuReading:
    """One GPU's reading; ``degraded`` is judged later, by :func:`judged`."""
    values: dict[str, Any] = dict(sweep.values)
    shares: Mapping[int, float] = values.pop(PROCESS_UTILIZATION, {})
    processes: tuple[GpuProcess, ...] | None = values.pop("processes", None)
    if processes is not None:
        processes = tuple(replace(one, utilization_percent=shares.get(one.pid)) for one in processes)
    error = sweep.errors.get(MEMORY.name, "")
    code = sweep.codes.get(MEMORY.name, 0)
    missing = {name: reason for name, reason in sweep.missing.items() if name != PROCESS_UTILIZATION}
    return GpuReading(
        uuid=target.uuid,
        index=target.index,
        name=target.name,
        parent_uuid=target.parent_uuid,
        state=state_of(code),
        processes=processes,
        processes_error=sweep.errors.get(PROCESSES.name, error if code in LOST else ""),
        error=error,
        missing=missing,
        **values,
    )


def state_of(code: int) -> str:
    """The state of a GPU whose first question, that for its memory, was answered with ``code``; 0 is success."""
    if code in LOST:
        return "lost"
    # Any other error, as one that asks for a reset, leaves a GPU that cannot be used: never "ok".
    return {0: "ok", NO_PERMISSION: "no_permission", TIMEOUT: "stale"}.get(code, "degraded")


def counted(gpus: Iterable[GpuReading]) -> tuple[GpuReading, ...]:
    """The rows whose processes add up: of a GPU that is cut, its instances, since both list the same processes."""
    rows = tuple(gpus)
    cut = {gpu.parent_uuid for gpu in rows}
    return tuple(gpu for gpu in rows if gpu.uuid not in cut)


def judged(gpu: GpuReading, now: float) -> GpuReading:
    """``degraded`` instead of ``ok`` where it works and needs attention. ``now`` is epoch seconds."""
    recent = gpu.xid is not None and gpu.xid_at is not None and now - gpu.xid_at < XID_S
    troubled = (
        bool(gpu.ecc_uncorrected)
        or bool(gpu.recovery_action)
        or "thermal_hardware" in gpu.limiters
        or (recent and gpu.xid not in XIDS_OF_PROGRAMS)
    )
    return replace(gpu, state="degraded") if gpu.state == "ok" and troubled else gpu


@dataclass
class LimiterWindow:
    """For how many of the last 60 seconds each limiter held the clocks of each GPU."""

    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, deque[tuple[float, float, tuple[str, ...]]]] = field(default_factory=dict)

    def seconds(self, gpu: GpuReading) -> dict[str, int]:
        """Count this reading too; seconds by limiter, without those that held for none."""
        now = self.clock()
        seen = self._seen.setdefault(gpu.uuid, deque())
        lasted = min(MOST_GAP_S, now - seen[-1][0]) if seen else 1.0
        seen.append((now, lasted, gpu.limiters))
        while seen and now - seen[0][0] >= WINDOW_S:
            seen.popleft()
        totals: dict[str, float] = {}
        for _at, lasted, limiters in seen:
            for name in limiters:
                totals[name] = totals.get(name, 0.0) + lasted
        return {name: seconds for name, total in totals.items() if (seconds := min(60, round(total)))}

    def forget_others(self, uuids: set[str]) -> None:
        """Drop what is kept of GPUs that are gone."""
        self._seen = {uuid: seen for uuid, seen in self._seen.items() if uuid in uuids}
