"""Recordings of GPUs: one JSON object a line, ``{"t": seconds, "driver": …, "gpus": [{…}]}``, units in the names."""

from __future__ import annotations

import bisect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.gpu_readings import GpuProcess, GpuReading

from .facts import GpuFacts
from .nvml_values import LIMITER_BITS, RECOVERY_ACTIONS
from .rows import MEASURED

MOST_BYTES = 50_000_000
#: What a recording calls a field, and what one of its units is in the field's.
FIELDS: dict[str, tuple[str, float]] = {
    "memory_total_bytes": ("memory_total", 1),
    "memory_used_bytes": ("memory_used", 1),
    "memory_free_bytes": ("memory_free", 1),
    "memory_reserved_bytes": ("memory_reserved", 1),
    "utilization_gpu_percent": ("utilization_gpu", 1.0),
    "utilization_memory_percent": ("utilization_memory", 1.0),
    "sm_active_percent": ("sm_active", 1.0),
    "tensor_active_percent": ("tensor_active", 1.0),
    "dram_active_percent": ("dram_active", 1.0),
    "temperature_gpu_celsius": ("temperature_gpu", 1.0),
    "temperature_memory_celsius": ("temperature_memory", 1.0),
    "power_watts": ("power_usage_mw", 0.001),
    "power_limit_watts": ("power_limit_mw", 0.001),
    "energy_joules": ("energy_mj", 0.001),
    "clock_sm_mhz": ("clock_sm_mhz", 1),
    "clock_sm_max_mhz": ("clock_sm_max_mhz", 1),
    "clock_memory_mhz": ("clock_mem_mhz", 1),
    "performance_state": ("performance_state", 1),
    "fan_percent": ("fan_percent", 1.0),
    "pcie_generation": ("pcie_gen", 1),
    "pcie_width": ("pcie_width", 1),
    "ecc_corrected": ("ecc_corrected", 1),
    "ecc_uncorrected": ("ecc_uncorrected", 1),
    "remapped_rows": ("remapped_rows", 1),
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What all GPUs held ``at`` seconds after the recording began."""

    at: float
    states: tuple[GpuReading, ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Moments in order of time. ``facts`` are those of the first one."""

    driver: str
    facts: tuple[GpuFacts, ...]
    moments: tuple[Moment, ...]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file. Raises OSError, or ValueError naming the line that is wrong."""
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
        driver, facts, moments = "", None, []
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
                if facts is None:
                    driver, facts = str(line.get("driver", "")), tuple(_facts(gpu) for gpu in line["gpus"])
                moments.append(Moment(at=float(line["t"]), states=tuple(_state(gpu) for gpu in line["gpus"])))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"line {number}: {type(error).__name__}: {error}") from error
        if not moments or facts is None:
            raise ValueError("it is empty")
        return cls(driver=driver, facts=facts, moments=tuple(sorted(moments, key=lambda moment: moment.at)))

    def at(self, seconds: float) -> Moment:
        """The newest moment ``seconds`` after the beginning; after the end it begins again, a second later."""
        first = self.moments[0].at
        length = self.moments[-1].at - first + 1.0
        position = bisect.bisect_right(self.moments, first + seconds % length, key=lambda moment: moment.at)
        return self.moments[max(0, position - 1)]


def _facts(gpu: dict[str, Any]) -> GpuFacts:
    return GpuFacts(
        uuid=str(gpu["uuid"]),
        index=int(gpu["index"]),
        name=str(gpu["name"]),
        memory_total_bytes=int(gpu["memory_total"]),
        pci_bus_id=str(gpu.get("pci_bus_id") or ""),
        numa_node=gpu.get("numa_node"),
        nvlink_peers=tuple(gpu.get("nvlink_peers") or ()),
        compute_capability=".".join(str(part) for part in gpu.get("compute_capability") or ()),
        mig=bool((gpu.get("mig") or [0])[0]),
    )


def _state(gpu: dict[str, Any]) -> GpuReading:
    processes = gpu.get("processes")
    values: dict[str, Any] = {}
    for field, (name, unit) in FIELDS.items():
        value = gpu.get(name)
        if value is not None:
            values[field] = value if unit == 1 else round(value * unit, 3)
    bits = int(gpu.get("clocks_event_reasons") or 0)
    return GpuReading(
        uuid=str(gpu["uuid"]),
        index=int(gpu["index"]),
        name=str(gpu["name"]),
        limiters=tuple(name for bit, name in LIMITER_BITS.items() if bits & bit),
        recovery_action=RECOVERY_ACTIONS.get(int(gpu.get("recovery_action") or 0), ""),
        processes=None
        if processes is None
        else tuple(
            GpuProcess(pid=int(one["pid"]), memory_bytes=one.get("used_memory"), utilization_percent=one.get("sm"))
            for one in processes
        ),
        # As the driver of the recorded host had it.
        missing={name: "not_supported" for name in MEASURED if name not in values},
        **values,
    )
