"""What a deployment's GPUs did during a level, from the telemetry's history."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deployments.gpu_history import series
from deployments.redis import RedisError

from .figures import GpuFigures

#: Up to this age the history has every second.
_SECONDS_KEPT_S: Final = 14 * 60
#: Reasons why there are no figures; the words are :mod:`.words`'.
NO_GPUS, NO_HISTORY, NO_SAMPLE, UNKNOWN = "no_gpus", "no_history", "no_sample", "unknown"


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """GPUs of one node, by UUID."""

    node: str
    uuids: tuple[str, ...]


def gpu_figures(gpus: Sequence[Gpus], *, began: float, ended: float) -> GpuFigures:
    """Between two moments, in epoch seconds: memory and power are sums over all GPUs at each moment.

    Null with a reason where there are none, or Redis, the agent or the driver told nothing.
    """
    names = [(each.node, uuid) for each in gpus for uuid in each.uuids]
    if not names:
        return GpuFigures(reason=NO_GPUS, gpus=0)
    range_name = "15m" if time.time() - began < _SECONDS_KEPT_S else "6h"
    try:
        histories = [series(uuid, node=node, range_name=range_name) for node, uuid in names]
    except RedisError:
        return GpuFigures(reason=NO_HISTORY, gpus=len(names))
    return figures_of(histories, began=began, ended=ended)


def figures_of(histories: Sequence[Mapping[str, Any]], *, began: float, ended: float) -> GpuFigures:
    """From one series (:func:`deployments.gpu_history.series`) a GPU."""
    memory = _together([_within(each, "memory_used_bytes", began, ended) for each in histories])
    power = _together([_within(each, "power_watts", began, ended) for each in histories])
    busy = _together([_within(each, "utilization_gpu_percent", began, ended) for each in histories])
    if not memory and not power:
        return GpuFigures(reason=NO_SAMPLE, gpus=len(histories))
    return GpuFigures(
        reason="",
        gpus=len(histories),
        memory_peak_bytes=max(memory, default=None),
        power_mean_watts=_mean(power),
        power_peak_watts=max(power, default=None),
        utilization_mean_percent=None if not busy else _mean([each / len(histories) for each in busy]),
    )


def _within(history: Mapping[str, Any], field: str, began: float, ended: float) -> dict[int, float]:
    """By the second, what was known then."""
    values = history["fields"][field]["mean"]
    step_s = history["step_s"]
    return {
        int(at // step_s): value
        for at, value in zip(history["at"], values, strict=True)
        if value is not None and began - step_s < at <= ended
    }


def _together(each: Sequence[Mapping[int, float]]) -> list[float]:
    """Sums of the moments at which all are known: of one alone nobody can say how much the others had."""
    moments: Iterable[int] = set.intersection(*(set(known) for known in each)) if each else ()
    return [sum(known[moment] for known in each) for moment in sorted(moments)]


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None
