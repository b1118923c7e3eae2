"""What each deployment is at, and what it was given and seen to use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import Metric

from deployments.gpu_readings import NodeReading, RunReading
from deployments.lifecycle.phases import ENDED, LIVE, Phase

from .families import counter, gauge, put, put_one_hot
from .gpus import PERCENT
from .stored import StoredDeployment

LABELS: Final = ("deployment", "config", "model", "node")
FLAGS: Final = ("elsewhere", "orphaned")
WAITING: Final = (Phase.QUEUED, Phase.BACKOFF)


def deployment_families(rows: Iterable[StoredDeployment], *, now: float) -> list[Metric]:
    """Phase, restarts, failures, ages, and the memory of the GPUs that it holds."""
    phase = gauge("berth_deployment_phase", "1 for the phase that the deployment is in.", (*LABELS, "phase"))
    ready = gauge("berth_deployment_ready", "1 while it answers requests.", LABELS)
    restarts = counter("berth_deployment_restarts", "Attempts after the first one.", LABELS)
    failures = gauge("berth_deployment_failures", "Failures in a row.", LABELS)
    age = gauge("berth_deployment_age", "Time since somebody started it.", LABELS, unit="seconds")
    phase_age = gauge("berth_deployment_phase_age", "Time in its phase.", LABELS, unit="seconds")
    gpus = gauge("berth_deployment_gpus", "GPUs that it holds.", LABELS)
    assigned = gauge("berth_deployment_gpu_memory_assigned", "Memory of the GPUs that it holds.", LABELS, unit="bytes")
    for row in rows:
        labels = _labels(row)
        put_one_hot(phase, labels, [row.phase], Phase.values)
        put(ready, labels, row.phase == Phase.READY)
        put(restarts, labels, row.attempt - 1)
        put(failures, labels, row.failures)
        put(age, labels, max(0.0, now - row.created_at))
        put(phase_age, labels, max(0.0, now - row.phase_since))
        if row.phase not in ENDED:
            put(gpus, labels, row.gpus)
            put(assigned, labels, row.memory_bytes)
    return [phase, ready, restarts, failures, age, phase_age, gpus, assigned]


def waiting_families(rows: Iterable[StoredDeployment]) -> list[Metric]:
    """How many live deployments there are in each phase, and how many of them wait."""
    counts = Counter(row.phase for row in rows)
    live = gauge("berth_deployments", "Live deployments in each phase.", ("phase",))
    for phase in Phase.values:
        if phase in LIVE:
            put(live, (phase,), counts[phase])
    waiting = gauge("berth_deployments_waiting", "Live deployments that wait: queued or backing off.")
    put(waiting, (), sum(counts[phase] for phase in WAITING))
    return [live, waiting]


def observed_families(rows: Iterable[StoredDeployment], readings: Iterable[NodeReading], *, now: float) -> list[Metric]:
    """What fresh readings saw of each deployment."""
    memory = gauge(
        "berth_deployment_gpu_memory_observed", "GPU memory that its processes were seen to hold.", LABELS, unit="bytes"
    )
    expected = gauge(
        "berth_deployment_gpu_memory_expected", "GPU memory estimated, or held by an earlier run.", LABELS, unit="bytes"
    )
    busy = gauge(
        "berth_deployment_gpu_utilization", "Its share of multiprocessors, summed over its GPUs.", LABELS, unit="ratio"
    )
    flagged = gauge(
        "berth_deployment_gpu_flag",
        "1 while it is on a GPU not given to it, or ended and holds memory.",
        (*LABELS, "flag"),
    )
    known: Mapping[int, StoredDeployment] = {row.pk: row for row in rows}
    for node, run in _runs(readings, now=now):
        row = known.get(run.deployment_id)
        labels = (run.deployment_id, run.config, row.model, node) if row else (run.deployment_id, run.config, "", node)
        put(memory, labels, run.memory_bytes)
        put(expected, labels, run.expected_bytes)
        put(busy, labels, run.utilization_percent, times=PERCENT)
        put_one_hot(flagged, labels, run.flags, FLAGS)
    return [memory, expected, busy, flagged]


def _runs(readings: Iterable[NodeReading], *, now: float) -> Iterable[tuple[str, RunReading]]:
    """The runs of fresh readings; of two attempts of one deployment the last one told, since labels name no attempt."""
    found = {
        (reading.node, run.deployment_id): run for reading in readings if reading.is_fresh(now) for run in reading.runs
    }
    return [(node, run) for (node, _deployment), run in found.items()]


def _labels(row: StoredDeployment) -> tuple[object, ...]:
    return (row.pk, row.config, row.model, row.node)
