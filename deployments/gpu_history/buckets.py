"""A bucket: what is known of one GPU in a stretch of time. A sample is a bucket of its own. Pure."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from deployments.gpu_readings import LIMITERS, GpuReading, RunReading

FOREIGN = "memory_foreign_bytes"
#: A bit mask in the order of LIMITERS. Its ``min`` has what held throughout; ``mean`` and ``max`` what held at all.
MASK = "limiters"
#: Kept fields, and how many decimals of each.
FIELDS: dict[str, int] = {
    "memory_used_bytes": 0,
    "memory_reserved_bytes": 0,
    "utilization_gpu_percent": 1,
    "sm_active_percent": 1,
    "tensor_active_percent": 1,
    "dram_active_percent": 1,
    "power_watts": 1,
    "temperature_gpu_celsius": 1,
    "clock_sm_mhz": 0,
    MASK: 0,
    FOREIGN: 0,
}
MEASURED = tuple(name for name in FIELDS if name not in {MASK, FOREIGN})


class Value(NamedTuple):
    """Of the ``samples`` in which the field was known. A tuple: ten thousands of them are made for a chart."""

    samples: int
    mean: float
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class RunMemory:
    """What a run held on this GPU in the mean; ``mean_bytes`` None when the driver did not say."""

    config: str
    mean_bytes: float | None


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """``at`` is where it begins, epoch seconds. ``values`` has only the fields that were known at least once.

    In ``known`` of its samples the processes were listed; of those, a run that is not in ``runs`` (by the
    deployment's id) held nothing.
    """

    at: float
    samples: int = 1
    values: Mapping[str, Value] = field(default_factory=dict)
    known: int = 0
    runs: Mapping[int, RunMemory] = field(default_factory=dict)


def sample(gpu: GpuReading, runs: Iterable[RunReading], *, at: float) -> Bucket | None:
    """One reading of one GPU; None when nothing of it was known, which makes a gap."""
    found = {name: getattr(gpu, name) for name in MEASURED}
    if all(number is None for number in found.values()):
        return None
    found[MASK] = sum(1 << LIMITERS.index(name) for name in gpu.limiters if name in LIMITERS)
    held, found[FOREIGN] = _memory(gpu, {run.run_name: run for run in runs})
    numbers = {name: float(number) for name, number in found.items() if number is not None and math.isfinite(number)}
    return Bucket(
        at=round(at, 2),
        values={name: single(name, number) for name, number in numbers.items()},
        known=int(gpu.processes is not None),
        runs=held,
    )


def single(name: str, number: float) -> Value:
    """A value that was seen once."""
    rounded = round(number, FIELDS[name])
    return Value(1, rounded, rounded, rounded)


def roll_up(buckets: Iterable[Bucket], *, step_s: int) -> list[Bucket]:
    """Coarser buckets from finer ones, which are in order of time. Where nothing was, nothing is."""
    grouped = groupby(buckets, key=lambda bucket: int(bucket.at // step_s) * step_s)
    return [_together(at, list(parts)) for at, parts in grouped]


def in_order(buckets: Iterable[Bucket]) -> list[Bucket]:
    """As written, in order of time. After the clock was set back, the later measurement of a moment counts."""
    kept: list[Bucket] = []
    for bucket in buckets:
        while kept and kept[-1].at >= bucket.at:
            kept.pop()
        kept.append(bucket)
    return kept


def _memory(gpu: GpuReading, runs: Mapping[str, RunReading]) -> tuple[dict[int, RunMemory], int | None]:
    """What each run holds, and what foreign processes do: None while somebody's size or owner is not known.

    A process of a run that the reading does not list is counted to neither.
    """
    held: dict[int, RunMemory] = {}
    foreign: int | None = None if gpu.processes is None else 0
    for process in gpu.processes or ():
        size = process.memory_bytes
        if (run := runs.get(process.run_name)) is not None:
            before = held.get(run.deployment_id)
            total = None if size is None or (before and before.mean_bytes is None) else size
            if before and total is not None:
                total += int(before.mean_bytes or 0)
            held[run.deployment_id] = RunMemory(config=run.config, mean_bytes=total)
        elif not process.attributed or (not process.run_name and size is None):
            foreign = None
        elif not process.run_name and foreign is not None:
            foreign += size or 0
    return held, foreign


def _together(at: float, parts: Sequence[Bucket]) -> Bucket:
    return Bucket(
        at=at,
        samples=sum(part.samples for part in parts),
        values={name: value for name in FIELDS if (value := _values(name, parts)) is not None},
        known=sum(part.known for part in parts),
        runs=_runs([part for part in parts if part.known]),
    )


def _values(name: str, parts: Sequence[Bucket]) -> Value | None:
    found = [value for part in parts if (value := part.values.get(name)) is not None]
    if not found:
        return None
    count = sum(value.samples for value in found)
    if name == MASK:
        some = functools.reduce(operator.or_, (int(value.max) for value in found))
        always = functools.reduce(operator.and_, (int(value.min) for value in found))
        return Value(samples=count, mean=some, min=always, max=some)
    mean = round(sum(value.samples * value.mean for value in found) / count, FIELDS[name])
    return Value(
        samples=count,
        mean=mean,
        min=min(value.min for value in found),
        max=max(value.max for value in found),
    )


def _runs(parts: Sequence[Bucket]) -> dict[int, RunMemory]:
    configs = {pk: memory.config for part in parts for pk, memory in part.runs.items()}
    return {pk: RunMemory(config=config, mean_bytes=_mean_held(pk, parts)) for pk, config in configs.items()}


def _mean_held(pk: int, parts: Sequence[Bucket]) -> float | None:
    """Over the samples in which its size was known; where the run was not there it held nothing."""
    total, weight = 0.0, 0
    for part in parts:
        memory = part.runs.get(pk)
        if memory is None or memory.mean_bytes is not None:
            total += part.known * (memory.mean_bytes or 0.0 if memory else 0.0)
            weight += part.known
    return round(total / weight) if weight else None
