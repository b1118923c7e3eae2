"""What NVML is asked for each GPU, how often, and which fields of a reading the answers are.

Each answer is in the units of :class:`deployments.gpu_readings.GpuReading`. Sources: nvml.h and
https://docs.nvidia.com/deploy/nvml-api/; the lanes follow what each call costs at one call a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.gpu_readings import GpuProcess

from .facts import Target
from .gpm import METRICS, Gpm
from .nvml_values import (
    FUNCTION_NOT_FOUND,
    LIMITER_BITS,
    NOT_FOUND,
    RECOVERY_ACTIONS,
    code_of,
    field_value,
    reason_of,
)
from .refusals import Refusals

HOT_S, WARM_S, HEALTH_S, SELDOM_S = 1.0, 5.0, 10.0, 60.0
#: Kept between the questions and the reading: percent by pid.
PROCESS_UTILIZATION = "process_utilization"
#: NVML_FI_DEV_*: volatile ECC errors, remapped rows, whether remapping waits for a reset or failed, what is to be done.
ECC_CORRECTED, ECC_UNCORRECTED = 3, 4
REMAPPED_CORRECTABLE, REMAPPED_UNCORRECTABLE, REMAP_PENDING, REMAP_FAILED = 142, 143, 144, 145
RECOVERY_ACTION, MEMORY_TEMPERATURE = 230, 82
HEALTH = (
    ECC_CORRECTED,
    ECC_UNCORRECTED,
    REMAPPED_CORRECTABLE,
    REMAPPED_UNCORRECTABLE,
    REMAP_PENDING,
    REMAP_FAILED,
    RECOVERY_ACTION,
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Values by field. ``missing`` has the reason of those that are not there."""

    values: Mapping[str, Any]
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Questions:
    """How each question is put. ``module`` is pynvml; methods raise NVMLError, or AttributeError for an old one."""

    module: Any
    refusals: Refusals
    gpm: Gpm
    #: Of each GPU the time, in the driver's microseconds, of the newest sample of its processes.
    _sampled_at: dict[str, int] = field(default_factory=dict)

    def memory(self, target: Target) -> Answer:
        """Version 2, whose ``used`` leaves out what the driver reserves; drivers before 510 have version 1 only."""
        memory = memory_info(self.module, target.handle)
        names = ("total", "used", "free", "reserved")
        told = {f"memory_{name}_bytes": getattr(memory, name, None) for name in names}
        return Answer(
            values={name: None if value is None else int(value) for name, value in told.items()},
            missing={name: "not_supported" for name, value in told.items() if value is None},
        )

    def processes(self, target: Target) -> Answer:
        """Compute and graphics together. One that is both stands in both lists, with the same memory."""
        module, handle = self.module, target.handle
        found = {_instance(item): item for item in module.nvmlDeviceGetComputeRunningProcesses(handle)}
        drawing = self.refusals.optional(
            target.uuid, "graphics", lambda: module.nvmlDeviceGetGraphicsRunningProcesses(handle)
        )
        for item in drawing or ():
            found.setdefault(_instance(item), item)
        totals: dict[int, int | None] = {}
        for item in found.values():
            used, before = item.usedGpuMemory, totals.get(item.pid, 0)
            # A sum only of what is wholly known.
            totals[int(item.pid)] = None if used is None or before is None else before + int(used)
        known = tuple(GpuProcess(pid=pid, memory_bytes=size) for pid, size in sorted(totals.items()))
        return Answer(values={"processes": known})

    def utilization(self, target: Target) -> Answer:
        """Shares of time: a kernel ran, the memory controller was busy."""
        rates = self.module.nvmlDeviceGetUtilizationRates(target.handle)
        return Answer(
            values={"utilization_gpu_percent": float(rates.gpu), "utilization_memory_percent": float(rates.memory)}
        )

    def temperature(self, target: Target) -> Answer:
        """Of the GPU itself."""
        return Answer(values={"temperature_gpu_celsius": float(self.module.nvmlDeviceGetTemperature(target.handle, 0))})

    def power(self, target: Target) -> Answer:
        """A mean over a second on most GPUs."""
        return Answer(values={"power_watts": self.module.nvmlDeviceGetPowerUsage(target.handle) / 1000})

    def clock(self, target: Target) -> Answer:
        """Of the SMs (NVML_CLOCK_SM)."""
        return Answer(values={"clock_sm_mhz": int(self.module.nvmlDeviceGetClockInfo(target.handle, 1))})

    def limiters(self, target: Target) -> Answer:
        """What slows the clocks; older bindings call it throttling."""
        module = self.module
        ask = getattr(module, "nvmlDeviceGetCurrentClocksEventReasons", None) or (
            module.nvmlDeviceGetCurrentClocksThrottleReasons
        )
        bits = int(ask(target.handle))
        return Answer(values={"limiters": tuple(name for bit, name in LIMITER_BITS.items() if bits & bit)})

    def activity(self, target: Target) -> Answer:
        """See :mod:`dashboard.telemetry.gpm`."""
        return Answer(values=self.gpm.ask(target))

    def process_utilization(self, target: Target) -> Answer:
        """The mean of each process's samples since the last question; it may add up to more than 100."""
        since = self._sampled_at.get(target.uuid, 0)
        try:
            samples = self.module.nvmlDeviceGetProcessUtilization(target.handle, since)
        except self.module.NVMLError as error:
            if code_of(error) != NOT_FOUND:
                raise
            samples = ()  # nobody computed
        shares: dict[int, list[int]] = {}
        for sample in samples:
            # The driver's buffer is not full at first: its empty places have no time.
            if int(sample.timeStamp) > since:
                shares.setdefault(int(sample.pid), []).append(int(sample.smUtil))
        newest = max((int(sample.timeStamp) for sample in samples), default=since)
        self._sampled_at[target.uuid] = max(since, newest)
        return Answer(
            values={PROCESS_UTILIZATION: {pid: min(100.0, sum(each) / len(each)) for pid, each in shares.items()}}
        )

    def health(self, target: Target) -> Answer:
        """One batch: no field of it is slow."""
        found = self._field_values(target, HEALTH)
        values: dict[str, Any] = {
            "ecc_corrected": found[ECC_CORRECTED][0],
            "ecc_uncorrected": found[ECC_UNCORRECTED][0],
            "remapped_rows": _sum(found[REMAPPED_CORRECTABLE][0], found[REMAPPED_UNCORRECTABLE][0]),
        }
        missing = {
            "ecc_corrected": found[ECC_CORRECTED][1],
            "ecc_uncorrected": found[ECC_UNCORRECTED][1],
            "remapped_rows": found[REMAPPED_CORRECTABLE][1] or found[REMAPPED_UNCORRECTABLE][1],
        }
        action = found[RECOVERY_ACTION][0]
        values["recovery_action"] = RECOVERY_ACTIONS.get(int(action), f"action_{action}") if action is not None else ""
        if action is None:
            missing["recovery_action"] = found[RECOVERY_ACTION][1]
        if not values["recovery_action"] and found[REMAP_FAILED][0]:
            values["recovery_action"] = "replace"
        elif not values["recovery_action"] and found[REMAP_PENDING][0]:
            values["recovery_action"] = "gpu_reset"
        return Answer(values=values, missing={name: reason for name, reason in missing.items() if reason})

    def memory_temperature(self, target: Target) -> Answer:
        """A field of its own: in one batch with the others it would slow them."""
        value, reason = self._field_values(target, (MEMORY_TEMPERATURE,))[MEMORY_TEMPERATURE]
        # GPUs without the sensor say 0, which no memory at work has.
        value, reason = (None, "not_supported") if value == 0 else (value, reason)
        return Answer(
            values={"temperature_memory_celsius": None if value is None else float(value)},
            missing={"temperature_memory_celsius": reason} if reason else {},
        )

    def memory_clock(self, target: Target) -> Answer:
        """NVML_CLOCK_MEM."""
        return Answer(values={"clock_memory_mhz": int(self.module.nvmlDeviceGetClockInfo(target.handle, 2))})

    def performance_state(self, target: Target) -> Answer:
        """0 is the fastest; 32 means that the driver does not know."""
        state = int(self.module.nvmlDeviceGetPerformanceState(target.handle))
        return Answer(
            values={"performance_state": state if state < 32 else None},
            missing={} if state < 32 else {"performance_state": "error"},
        )

    def pcie(self, target: Target) -> Answer:
        """The link as it is now; an idle one may be slower."""
        return Answer(
            values={
                "pcie_generation": int(self.module.nvmlDeviceGetCurrPcieLinkGeneration(target.handle)),
                "pcie_width": int(self.module.nvmlDeviceGetCurrPcieLinkWidth(target.handle)),
            }
        )

    def fan(self, target: Target) -> Answer:
        """Cards in servers have none."""
        return Answer(values={"fan_percent": float(self.module.nvmlDeviceGetFanSpeed(target.handle))})

    def energy(self, target: Target) -> Answer:
        """Since the driver was loaded."""
        return Answer(values={"energy_joules": self.module.nvmlDeviceGetTotalEnergyConsumption(target.handle) / 1000})

    def power_limit(self, target: Target) -> Answer:
        """As set, which nvidia-smi calls power.limit."""
        return Answer(values={"power_limit_watts": self.module.nvmlDeviceGetPowerManagementLimit(target.handle) / 1000})

    def clock_limit(self, target: Target) -> Answer:
        """The most that the SMs may have."""
        return Answer(values={"clock_sm_max_mhz": int(self.module.nvmlDeviceGetMaxClockInfo(target.handle, 1))})

    def _field_values(self, target: Target, ids: tuple[int, ...]) -> dict[int, tuple[Any, str]]:
        """Value and reason of each field."""
        told = self.module.nvmlDeviceGetFieldValues(target.handle, list(ids))
        return {
            number: (field_value(one), "") if one.nvmlReturn == 0 else (None, reason_of(int(one.nvmlReturn)))
            for number, one in zip(ids, told, strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question. ``instances``: MIG instances have it too. ``pinned``: never demoted, since a stop waits for it."""

    name: str
    every_s: float
    fields: tuple[str, ...]
    ask: Callable[[Questions, Target], Answer]
    instances: bool = False
    pinned: bool = False


MEMORY = Question(
    name="memory",
    every_s=HOT_S,
    fields=("memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes"),
    ask=Questions.memory,
    instances=True,
    pinned=True,
)
PROCESSES = Question(
    name="processes",
    every_s=HOT_S,
    fields=("processes",),
    ask=Questions.processes,
    instances=True,
    pinned=True,
)


def _question(
    every_s: float, ask: Callable[[Questions, Target], Answer], *fields: str, instances: bool = False
) -> Question:
    return Question(name=ask.__name__.replace("_", " "), every_s=every_s, fields=fields, ask=ask, instances=instances)


#: Memory comes first: when a GPU is lost it says so, and the rest is not asked.
QUESTIONS = (
    MEMORY,
    PROCESSES,
    _question(HOT_S, Questions.utilization, "utilization_gpu_percent", "utilization_memory_percent"),
    _question(HOT_S, Questions.temperature, "temperature_gpu_celsius"),
    _question(HOT_S, Questions.power, "power_watts"),
    _question(HOT_S, Questions.clock, "clock_sm_mhz"),
    _question(HOT_S, Questions.limiters, "limiters"),
    _question(HOT_S, Questions.activity, *METRICS, instances=True),
    _question(WARM_S, Questions.process_utilization, PROCESS_UTILIZATION),
    _question(HEALTH_S, Questions.health, "ecc_corrected", "ecc_uncorrected", "remapped_rows", "recovery_action"),
    _question(HEALTH_S, Questions.memory_temperature, "temperature_memory_celsius"),
    _question(HEALTH_S, Questions.memory_clock, "clock_memory_mhz"),
    _question(HEALTH_S, Questions.performance_state, "performance_state"),
    _question(HEALTH_S, Questions.pcie, "pcie_generation", "pcie_width"),
    _question(HEALTH_S, Questions.fan, "fan_percent"),
    _question(SELDOM_S, Questions.energy, "energy_joules"),
    _question(SELDOM_S, Questions.power_limit, "power_limit_watts"),
    _question(SELDOM_S, Questions.clock_limit, "clock_sm_max_mhz"),
)


def memory_info(module: Any, handle: Any) -> Any:
    """NVML's structure in the newest version that the driver has. Raises NVMLError."""
    try:
        return module.nvmlDeviceGetMemoryInfo(handle, module.nvmlMemory_v2)
    except module.NVMLError as error:
        if code_of(error) != FUNCTION_NOT_FOUND:
            raise
        return module.nvmlDeviceGetMemoryInfo(handle)


def _instance(item: Any) -> tuple[int, Any, Any]:
    return (int(item.pid), getattr(item, "gpuInstanceId", None), getattr(item, "computeInstanceId", None))


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
