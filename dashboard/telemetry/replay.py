"""Recordings of GPUs: one JSON object a line, ``{"t": seconds, "driver": …, "gpus": [{…}]}``, units in the names."""

from __future__ import annotations

import bisect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .nvml import GpuFacts, GpuState

MOST_BYTES = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What all GPUs held ``at`` seconds after the recording began."""

    at: float
    states: tuple[GpuState, ...]


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


def _state(gpu: dict[str, Any]) -> GpuState:
    processes = gpu.get("processes")
    return GpuState(
        uuid=str(gpu["uuid"]),
        index=int(gpu["index"]),
        memory_total_bytes=gpu.get("memory_total"),
        memory_used_bytes=gpu.get("memory_used"),
        memory_free_bytes=gpu.get("memory_free"),
        memory_reserved_bytes=gpu.get("memory_reserved"),
        processes=None if processes is None else tuple((int(one["pid"]), one.get("used_memory")) for one in processes),
    )
