"""What each GPU does, as its node's agent measured it last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from deployments.gpu_readings import LIMITERS, STATES, GpuReading, NodeReading

from .families import counter, gauge, put, put_one_hot, texts
from .stored import StoredGpu

LABELS: Final = ("node", "uuid", "index", "name")


class Field(NamedTuple):
    """One field of GpuReading: its metric, and what one of its units is in the metric's."""

    field: str
    metric: str
    unit: str
    times: float
    help: str


PERCENT: Final = 0.01
MEGAHERTZ: Final = 1e6
FIELDS: Final = (
    Field("memory_used_bytes", "memory_used", "bytes", 1, "Memory in use; what the driver reserves is apart."),
    Field("memory_total_bytes", "memory_total", "bytes", 1, "Memory in all."),
    Field("memory_reserved_bytes", "memory_reserved", "bytes", 1, "Memory that the driver keeps to itself."),
    Field("memory_free_bytes", "memory_free", "bytes", 1, "Memory that can be allocated."),
    Field("utilization_gpu_percent", "utilization", "ratio", PERCENT, "Share of time in which a kernel ran."),
    Field(
        "utilization_memory_percent", "memory_utilization", "ratio", PERCENT, "Share of time in which memory was used."
    ),
    Field("sm_active_percent", "sm_active", "ratio", PERCENT, "Share of the multiprocessors that were active."),
    Field("tensor_active_percent", "tensor_active", "ratio", PERCENT, "Share of time in which tensor cores worked."),
    Field("dram_active_percent", "dram_active", "ratio", PERCENT, "Share of the memory's bandwidth in use."),
    Field("temperature_gpu_celsius", "temperature", "celsius", 1, "Temperature of the GPU."),
    Field("temperature_memory_celsius", "memory_temperature", "celsius", 1, "Temperature of the memory."),
    Field("power_watts", "power", "watts", 1, "Power drawn."),
    Field("power_limit_watts", "power_limit", "watts", 1, "Power that it may draw."),
    Field("clock_sm_mhz", "clock_sm", "hertz", MEGAHERTZ, "Clock of the multiprocessors."),
    Field("clock_sm_max_mhz", "clock_sm_max", "hertz", MEGAHERTZ, "The highest clock of the multiprocessors."),
    Field("clock_memory_mhz", "clock_memory", "hertz", MEGAHERTZ, "Clock of the memory."),
    Field("fan_percent", "fan_speed", "ratio", PERCENT, "Speed of the fan as a share of the highest."),
    Field("remapped_rows", "remapped_rows", "", 1, "Rows of memory that were replaced by spare ones."),
    Field("xid", "last_xid", "", 1, "Number of the last error event (Xid) of the driver."),
)


def gpu_families(readings: Iterable[NodeReading], *, now: float) -> list[Metric]:
    """Every measured value of the readings; of one that is too old to tell about ``now`` only its age."""
    readings = list(readings)
    age = gauge("berth_gpu_reading_age", "Time since the GPU was read.", LABELS, unit="seconds")
    for reading in readings:
        for gpu in reading.gpus:
            put(age, _labels(reading, gpu), max(0.0, now - reading.at))
    fresh = [(reading, gpu) for reading in readings if reading.is_fresh(now) for gpu in reading.gpus]
    return [age, *_values(fresh), *_states(fresh), *_counters(fresh), _info(fresh)]


def quarantine_family(gpus: Iterable[StoredGpu]) -> Metric:
    """Which GPUs take nothing new, as the database knows."""
    family = gauge("berth_gpu_quarantined", "1 while nothing new is put on the GPU.", LABELS)
    for gpu in gpus:
        put(family, (gpu.node, gpu.uuid, gpu.index, gpu.name), gpu.is_quarantined)
    return family


Measured = Sequence[tuple[NodeReading, GpuReading]]


def _labels(reading: NodeReading, gpu: GpuReading) -> tuple[object, ...]:
    return (reading.node, gpu.uuid, gpu.index, gpu.name)


def _values(measured: Measured) -> list[GaugeMetricFamily]:
    families = []
    for field in FIELDS:
        family = gauge(f"berth_gpu_{field.metric}", field.help, LABELS, unit=field.unit)
        for reading, gpu in measured:
            put(family, _labels(reading, gpu), getattr(gpu, field.field), times=field.times)
        families.append(family)
    return families


def _states(measured: Measured) -> list[Metric]:
    state = gauge("berth_gpu_state", "1 for the state that the GPU is in.", (*LABELS, "state"))
    active = gauge("berth_gpu_limiter_active", "1 while this slows the clocks.", (*LABELS, "limiter"))
    limited = gauge(
        "berth_gpu_limited",
        "Of the last 60 seconds, those in which this slowed the clocks.",
        (*LABELS, "limiter"),
        unit="seconds",
    )
    for reading, gpu in measured:
        labels = _labels(reading, gpu)
        put_one_hot(state, labels, [gpu.state], STATES)
        # Without an answer there is no "nothing limits it".
        if gpu.state in {"ok", "degraded"} and "limiters" not in gpu.missing:
            put_one_hot(active, labels, gpu.limiters, LIMITERS)
        for name, seconds in gpu.limited_s.items():
            put(limited, (*labels, name), seconds)
    return [state, active, limited]


def _counters(measured: Measured) -> list[Metric]:
    energy = counter("berth_gpu_energy", "Energy used since the driver was loaded.", LABELS, unit="joules")
    ecc = counter("berth_gpu_ecc_errors", "Errors of memory that the GPU found.", (*LABELS, "kind"))
    for reading, gpu in measured:
        labels = _labels(reading, gpu)
        put(energy, labels, gpu.energy_joules)
        put(ecc, (*labels, "corrected"), gpu.ecc_corrected)
        put(ecc, (*labels, "uncorrected"), gpu.ecc_uncorrected)
    return [energy, ecc]


def _info(measured: Measured) -> Metric:
    names = ("parent_uuid", "driver", "source")
    family = InfoMetricFamily(
        "berth_gpu", "Driver and source; parent_uuid is that of the GPU that a MIG instance is part of.", labels=LABELS
    )
    for reading, gpu in measured:
        told = texts((gpu.parent_uuid, reading.driver, reading.source))
        family.add_metric(texts(_labels(reading, gpu)), dict(zip(names, told, strict=True)))
    return family
