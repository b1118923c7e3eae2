"""What each deployment was given and what it was seen to use on the GPUs of this node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Q

from deployments.gpu_readings import GpuProcess, GpuReading, RunReading
from deployments.lifecycle.phases import LIVE, MAY_HOLD_A_RUN
from deployments.memory_expected import expected_bytes
from deployments.models import Deployment

from .rows import counted

#: One query in so many seconds, however many runs there are.
EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """A deployment as the database has it."""

    pk: int
    attempt: int
    phase: str
    config: str
    config_id: int
    cleared: bool
    assigned: tuple[str, ...]


@dataclass
class Runs:
    """``expected`` tells what a deployment will need, for its config's id; it is asked once for each deployment."""

    node: str
    clock: Callable[[], float] = time.monotonic
    expected: Callable[[int], int | None] = expected_bytes
    _known: dict[int, KnownRun] = field(default_factory=dict)
    _asked_at: float = float("-inf")
    _seen: frozenset[str] = frozenset()
    _expected: dict[int, int | None] = field(default_factory=dict)

    def read(self, gpus: Sequence[GpuReading]) -> tuple[RunReading, ...]:
        """Each live deployment of the node and each run that holds memory. Raises DatabaseError."""
        rows = counted(gpus)
        seen: dict[str, list[tuple[GpuReading, GpuProcess]]] = {}
        for gpu in rows:
            for process in gpu.processes or ():
                if process.run_name:
                    seen.setdefault(process.run_name, []).append((gpu, process))
        self._refresh(frozenset(seen))
        readings = []
        for run in self._known.values():
            name = _run_name(run.pk, run.attempt)
            found = seen.pop(name, [])
            if run.phase in LIVE or found:
                readings.append(self._reading(name, run, found, rows))
        for name, found in seen.items():
            pk = _deployment_of(name)
            known = self._known.get(pk) if pk is not None else None
            if pk is not None:
                readings.append(self._reading(name, known, found, rows, earlier=True))
        return tuple(sorted(readings, key=lambda reading: (reading.deployment_id, reading.run_name)))

    def _refresh(self, seen: frozenset[str]) -> None:
        """Ask every two seconds, and at once for a run that was not seen before: it may be of a new attempt."""
        now = self.clock()
        if now - self._asked_at < EVERY_S and seen <= self._seen:
            return
        self._seen = seen
        wanted = Q(node__name=self.node, phase__in=sorted(LIVE))
        named = {pk for name in seen if (pk := _deployment_of(name)) is not None}
        if ended := named - {pk for pk, run in self._known.items() if run.phase in LIVE}:
            wanted |= Q(pk__in=sorted(ended))
        rows = Deployment.objects.filter(wanted).values_list(
            "pk", "attempt", "phase", "spec__config", "config_id", "run_cleared_at", "leases__gpu__uuid"
        )
        known: dict[int, KnownRun] = {}
        for pk, attempt, phase, config, config_id, cleared_at, uuid in rows.order_by("pk", "leases__gpu__index"):
            before = known[pk].assigned if pk in known else ()
            known[pk] = KnownRun(
                pk=pk,
                attempt=attempt,
                phase=phase,
                config=config or "",
                config_id=config_id,
                cleared=cleared_at is not None,
                assigned=(*before, uuid) if uuid else before,
            )
        self._known, self._asked_at = known, now
        self._expected = {pk: size for pk, size in self._expected.items() if pk in known}
        for run in known.values():
            if run.pk not in self._expected and run.assigned:
                self._expected[run.pk] = self.expected(run.config_id)

    def _reading(
        self,
        name: str,
        run: KnownRun | None,
        found: list[tuple[GpuReading, GpuProcess]],
        gpus: tuple[GpuReading, ...],
        *,
        earlier: bool = False,
    ) -> RunReading:
        assigned = () if run is None or earlier else run.assigned
        observed = tuple(dict.fromkeys(gpu.parent_uuid or gpu.uuid for gpu, _process in found))
        flags = []
        if not earlier and set(observed) - set(assigned) and run is not None and run.phase in MAY_HOLD_A_RUN:
            flags.append("elsewhere")
        if found and (earlier or run is None or run.cleared or run.phase not in MAY_HOLD_A_RUN):
            flags.append("orphaned")
        values: dict[str, Any] = {}
        if run is not None:
            values = {"config": run.config, "phase": str(run.phase), "expected_bytes": self._expected.get(run.pk)}
        silent = any(gpu.uuid in assigned and gpu.processes is None for gpu in gpus)
        shares = [one.utilization_percent for _gpu, one in found if one.utilization_percent is not None]
        return RunReading(
            run_name=name,
            deployment_id=run.pk if run is not None else _deployment_of(name) or 0,
            assigned=assigned,
            observed=observed,
            memory_bytes=None if silent else _sum(one.memory_bytes for _gpu, one in found),
            utilization_percent=round(sum(shares), 1) if shares else None,
            flags=tuple(flags),
            **{"config": "", **values},
        )


def _sum(parts: Iterable[int | None]) -> int | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _run_name(pk: int, attempt: int) -> str:
    return f"berth-{settings.BERTH_INSTALLATION}-{pk}-{attempt}"


def _deployment_of(run_name: str) -> int | None:
    """The deployment whose run has this name; None for a name that is none of this installation's."""
    prefix = f"berth-{settings.BERTH_INSTALLATION}-"
    number = run_name.removeprefix(prefix).partition("-")[0]
    return int(number) if run_name.startswith(prefix) and number.isdigit() else None
