"""Readings of GPUs for tests and benchmarks of their history."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from deployments.gpu_readings import GpuProcess, GpuReading, NodeReading, RunReading

RECORDING = Path(__file__).parents[2] / "dashboard" / "telemetry" / "recordings" / "h200x4.jsonl"
#: A moment with no remainder at any resolution.
NOON = 1_800_000_000.0 // 3600 * 3600
NODE = "gpu-01"
UUID = "GPU-a"


def one_gpu(
    at: float, *processes: GpuProcess, uuid: str = UUID, runs: tuple[RunReading, ...] = (), **known: Any
) -> NodeReading:
    """A reading of one GPU; a busy one unless told."""
    values: dict[str, Any] = {"utilization_gpu_percent": 50.0, "processes": processes, **known}
    gpu = GpuReading(uuid=uuid, index=0, **values)
    return NodeReading(node=NODE, at=at, source="nvml", gpus=(gpu,), runs=runs)


@cache
def recorded() -> tuple[tuple[GpuReading, ...], ...]:
    """The GPUs of the recording, second by second; its four processes belong to the runs ``berth-x-1-1`` to 4."""
    lines = [json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]
    return tuple(tuple(_gpu(gpu) for gpu in line["gpus"]) for line in lines)


def recorded_runs() -> tuple[RunReading, ...]:
    """Whose the processes of the recording are."""
    return tuple(
        RunReading(run_name=f"berth-x-{number}-1", deployment_id=number, config=f"config-{number}")
        for number in range(1, 5)
    )


def _gpu(told: dict[str, Any]) -> GpuReading:
    bits = told["clocks_event_reasons"]
    return GpuReading(
        uuid=told["uuid"],
        index=told["index"],
        memory_used_bytes=told["memory_used"],
        memory_reserved_bytes=told["memory_reserved"],
        utilization_gpu_percent=told["utilization_gpu"],
        power_watts=told["power_usage_mw"] / 1000,
        temperature_gpu_celsius=told["temperature_gpu"],
        clock_sm_mhz=told["clock_sm_mhz"],
        limiters=tuple(name for bit, name in ((1, "idle"), (4, "power_cap")) if bits & bit),
        processes=tuple(
            GpuProcess(pid=one["pid"], memory_bytes=one["used_memory"], run_name=f"berth-x-{told['index'] + 1}-1")
            for one in told["processes"]
        ),
    )
