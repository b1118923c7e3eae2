"""What other programs say of the same GPUs at the same time, where they are installed, and how long they take."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import smi

MIB = 1024**2
TIMES = 5
#: What is shown of each: memory in MiB, share of time, °C, W.
SHOWN = ("memory_mib", "utilization_percent", "temperature_celsius", "power_watts")


def side_by_side() -> dict[str, dict[str, Any]]:
    """By program: its values by UUID, the median milliseconds of one look, or why it was skipped."""
    found: dict[str, dict[str, Any]] = {}
    for name, look in (("nvidia-smi", _nvidia_smi), ("gpustat", _gpustat), ("nvitop", _nvitop)):
        try:
            look()  # what is done once only is not measured
            costs, values = [], {}
            for _ in range(TIMES):
                began = time.perf_counter()
                values = look()
                costs.append((time.perf_counter() - began) * 1000)
                time.sleep(0.3)
            found[name] = {"gpus": values, "median_ms": round(statistics.median(costs), 2)}
        except ImportError as error:
            found[name] = {"skipped": f"not installed: {error}"}
        except Exception as error:  # noqa: BLE001 - another program's fault is a line of the result
            found[name] = {"skipped": f"{type(error).__name__}: {error}"}
    return found


def _nvidia_smi() -> dict[str, Mapping[str, Any]]:
    fields = "uuid,memory.used,utilization.gpu,temperature.gpu,power.draw"
    lines = smi.ask(f"--query-gpu={fields}", "--format=csv,noheader,nounits").splitlines()
    rows = [[part.strip() for part in line.split(",")] for line in lines]
    return {uuid: dict(zip(SHOWN, values, strict=True)) for uuid, *values in rows}


def _gpustat() -> dict[str, Mapping[str, Any]]:
    gpustat = importlib.import_module("gpustat")
    return {
        gpu.uuid: dict(zip(SHOWN, (gpu.memory_used, gpu.utilization, gpu.temperature, gpu.power_draw), strict=True))
        for gpu in gpustat.new_query()
    }


def _nvitop() -> dict[str, Mapping[str, Any]]:
    nvitop = importlib.import_module("nvitop")
    asked: tuple[Callable[[Any], Any], ...] = (
        lambda gpu: round(gpu.memory_used() / MIB),
        lambda gpu: gpu.gpu_utilization(),
        lambda gpu: gpu.temperature(),
        lambda gpu: round(gpu.power_usage() / 1000, 1),
    )
    return {
        gpu.uuid(): dict(zip(SHOWN, (question(gpu) for question in asked), strict=True)) for gpu in nvitop.Device.all()
    }
