"""How much of a GPU worked, by its own counters (GPM): SMs, tensor cores, memory. Hopper and newer.

The driver compares two samples. The first is the one of the tick before, so nothing ever waits for the second.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .facts import Target
from .nvml_values import NOT_SUPPORTED

#: Ids of nvmlGpmMetricId_t by the field of a reading.
METRICS = {"sm_active_percent": 2, "tensor_active_percent": 5, "dram_active_percent": 10}
LEAST_APART_S = 0.1
#: Over a longer gap the mean would not be about now.
MOST_APART_S = 3.0


@dataclass
class _Samples:
    older: Any
    newer: Any
    taken_at: float | None = None


@dataclass
class Gpm:
    """Two samples for each GPU, used in turn. ``module`` is pynvml."""

    module: Any
    clock: Callable[[], float] = time.monotonic
    _samples: dict[str, _Samples] = field(default_factory=dict)

    def ask(self, target: Target) -> dict[str, float | None]:
        """The shares since the last call in percent; None for all at the first. Raises NVMLError."""
        samples = self._samples.get(target.uuid)
        if samples is None:
            device = target.parent_handle or target.handle
            if not self.module.nvmlGpmQueryDeviceSupport(device).isSupportedDevice:
                raise self.module.NVMLError(NOT_SUPPORTED)
            older, newer = self.module.nvmlGpmSampleAlloc(), self.module.nvmlGpmSampleAlloc()
            samples = self._samples[target.uuid] = _Samples(older, newer)
        now, before = self.clock(), samples.taken_at
        if before is not None and now - before < LEAST_APART_S:
            return dict.fromkeys(METRICS)
        samples.older, samples.newer, samples.taken_at = samples.newer, samples.older, None
        self._take(target, samples.newer)
        samples.taken_at = now
        if before is None or now - before > MOST_APART_S:
            return dict.fromkeys(METRICS)
        return self._compare(samples)

    def close(self) -> None:
        """Give the samples back; never raises."""
        for samples in self._samples.values():
            for sample in (samples.older, samples.newer):
                with contextlib.suppress(self.module.NVMLError):
                    self.module.nvmlGpmSampleFree(sample)
        self._samples = {}

    def _take(self, target: Target, sample: Any) -> None:
        if target.parent_handle is not None and target.instance is not None:
            self.module.nvmlGpmMigSampleGet(target.parent_handle, target.instance, sample)
        else:
            self.module.nvmlGpmSampleGet(target.handle, sample)

    def _compare(self, samples: _Samples) -> dict[str, float | None]:
        asked = self.module.c_nvmlGpmMetricsGet_t()
        asked.version = self.module.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = len(METRICS)
        asked.sample1, asked.sample2 = samples.older, samples.newer
        for position, metric in enumerate(METRICS.values()):
            asked.metrics[position].metricId = metric
        self.module.nvmlGpmMetricsGet(asked)
        return {name: _percent(asked.metrics[position]) for position, name in enumerate(METRICS)}


def _percent(metric: Any) -> float | None:
    value = float(metric.value)
    # After a reset of the counters there is no number.
    return None if metric.nvmlReturn != 0 or not math.isfinite(value) else round(min(100.0, max(0.0, value)), 2)
