"""A stand-in for the module pynvml: GPUs that a test describes, and errors where it wants them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

GIB = 1024**3


class NVMLError(Exception):
    """As pynvml's: ``value`` is the return code of the C library."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


def process(pid: int, used: int | None = GIB, instance: int | None = None) -> SimpleNamespace:
    """One line of the driver's process list."""
    return SimpleNamespace(pid=pid, usedGpuMemory=used, gpuInstanceId=instance, computeInstanceId=instance)


@dataclass(kw_only=True)
class FakeGpu:
    """One GPU. ``errors`` maps a function's name, or "*" for all, to the code that it fails with."""

    uuid: str
    bus: str = "00000000:01:00.0"
    name: str = "NVIDIA H200"
    total: int = 141 * GIB
    used: int = 0
    reserved: int = GIB // 2
    compute: list[SimpleNamespace] = field(default_factory=list)
    graphics: list[SimpleNamespace] = field(default_factory=list)
    numa: int | None = 0
    mig: int = 0
    #: MIG instances by their position; None is an empty place.
    instances: tuple[FakeGpu | None, ...] = ()
    instance: int = 0
    gpu_percent: int = 0
    memory_percent: int = 0
    temperature: int = 40
    power_mw: int = 120_000
    sm_mhz: int = 345
    limiters: int = 1
    energy_mj: int = 5_000_000
    #: Values of nvmlDeviceGetFieldValues; an absent one is not supported.
    fields: dict[int, int] = field(default_factory=lambda: {3: 0, 4: 0, 142: 0, 143: 0, 144: 0, 145: 0, 230: 0, 82: 45})
    #: (pid, percent, driver's time in µs)
    samples: list[tuple[int, int, int]] = field(default_factory=list)
    #: What the counters say, by metric; empty where they are not supported.
    gpm: dict[int, float] = field(default_factory=lambda: {2: 81.5, 5: 40.0, 10: 33.25})
    #: Ends of its links: a bus id, or "switch".
    links: tuple[str, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class Metric:
    """One metric of a comparison of two samples."""

    metricId = 0  # noqa: N815 - the library's name
    nvmlReturn = 0  # noqa: N815
    value = 0.0


class MetricsGet:
    """As the structure that nvmlGpmMetricsGet fills."""

    def __init__(self) -> None:
        self.version = self.numMetrics = 0
        self.sample1: Any = None
        self.sample2: Any = None
        self.metrics = [Metric() for _ in range(10)]


class FakeNvml:
    """Give an instance to `dashboard.telemetry.nvml.Nvml` as its module."""

    NVMLError = NVMLError
    nvmlMemory_v2 = 2 << 24  # noqa: N815 - the library's name
    NVML_NVLINK_MAX_LINKS = 18
    NVML_P2P_CAPS_INDEX_NVLINK = 2
    NVML_GPM_METRICS_GET_VERSION = 1
    c_nvmlGpmMetricsGet_t = MetricsGet  # noqa: N815

    def __init__(self, *gpus: FakeGpu, driver: str = "580.159.04", pairs: bool = True) -> None:
        self.gpus: list[FakeGpu] = list(gpus)
        self.driver = driver
        #: Whether the driver answers for pairs of GPUs; else links have to be followed.
        self.pairs = pairs
        self.errors: dict[str, int] = {}
        self.inits = 0
        self.shutdowns = 0
        self.samples_alive = 0
        #: Xid events that the listener gets: (GPU, number).
        self.events: SimpleQueue[tuple[FakeGpu, int]] = SimpleQueue()

    def _ask(self, function: str, gpu: FakeGpu | None = None) -> None:
        if function in self.errors:
            raise NVMLError(self.errors[function])
        if gpu is not None:
            gpu.asked.append(function)
            code = gpu.errors.get(function, gpu.errors.get("*"))
            if code is not None:
                raise NVMLError(code)

    def nvmlInit(self) -> None:  # noqa: N802 - the names here are the library's
        self._ask("nvmlInit")
        self.inits += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._ask("nvmlShutdown")
        self.shutdowns += 1

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        self._ask("nvmlSystemGetDriverVersion")
        return self.driver.encode()

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._ask("nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        self._ask("nvmlDeviceGetHandleByIndex", self.gpus[index])
        return self.gpus[index]

    def nvmlDeviceGetP2PStatus(self, one: FakeGpu, other: FakeGpu, _what: int) -> int:  # noqa: N802
        self._ask("nvmlDeviceGetP2PStatus", one)
        if not self.pairs:
            raise NVMLError(3)
        return 0 if other.bus in one.links or ("switch" in one.links and "switch" in other.links) else 5

    def nvmlDeviceGetNvLinkState(self, gpu: FakeGpu, link: int) -> int:  # noqa: N802
        self._ask("nvmlDeviceGetNvLinkState", gpu)
        if link >= len(gpu.links):
            raise NVMLError(2)
        return 1 if gpu.links[link] else 0

    def nvmlDeviceGetNvLinkRemoteDeviceType(self, gpu: FakeGpu, link: int) -> int:  # noqa: N802
        return 2 if gpu.links[link] == "switch" else 0

    def nvmlDeviceGetNvLinkRemotePciInfo(self, gpu: FakeGpu, link: int) -> Any:  # noqa: N802
        return SimpleNamespace(busId=gpu.links[link].encode())

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu, version: int | None = None) -> Any:  # noqa: N802
        self._ask("nvmlDeviceGetMemoryInfo_v2" if version else "nvmlDeviceGetMemoryInfo", gpu)
        free = gpu.total - gpu.used - gpu.reserved
        if version:
            return SimpleNamespace(total=gpu.total, used=gpu.used, free=free, reserved=gpu.reserved)
        return SimpleNamespace(total=gpu.total, used=gpu.used + gpu.reserved, free=free)

    def nvmlDeviceGetFieldValues(self, gpu: FakeGpu, ids: list[int]) -> list[Any]:  # noqa: N802
        self._ask("nvmlDeviceGetFieldValues", gpu)
        return [
            SimpleNamespace(
                nvmlReturn=0 if number in gpu.fields else 3,
                valueType=3,
                value=SimpleNamespace(ullVal=gpu.fields.get(number, 0)),
            )
            for number in ids
        ]

    def nvmlDeviceGetProcessUtilization(self, gpu: FakeGpu, since: int) -> list[Any]:  # noqa: N802
        self._ask("nvmlDeviceGetProcessUtilization", gpu)
        found = [one for one in gpu.samples if one[2] > since]
        if not found:
            raise NVMLError(6)
        return [SimpleNamespace(pid=pid, smUtil=percent, timeStamp=at) for pid, percent, at in found]

    def nvmlGpmQueryDeviceSupport(self, gpu: FakeGpu) -> Any:  # noqa: N802
        self._ask("nvmlGpmQueryDeviceSupport", gpu)
        return SimpleNamespace(isSupportedDevice=int(bool(gpu.gpm)))

    def nvmlGpmSampleAlloc(self) -> SimpleNamespace:  # noqa: N802
        self.samples_alive += 1
        return SimpleNamespace(values={})

    def nvmlGpmSampleFree(self, _sample: Any) -> None:  # noqa: N802
        self.samples_alive -= 1

    def nvmlGpmSampleGet(self, gpu: FakeGpu, sample: Any) -> None:  # noqa: N802
        self._ask("nvmlGpmSampleGet", gpu)
        sample.values = dict(gpu.gpm)

    def nvmlGpmMigSampleGet(self, gpu: FakeGpu, instance: int, sample: Any) -> None:  # noqa: N802
        self._ask("nvmlGpmMigSampleGet", gpu)
        sample.values = {metric: value / instance for metric, value in gpu.gpm.items()}

    def nvmlGpmMetricsGet(self, asked: MetricsGet) -> None:  # noqa: N802
        self._ask("nvmlGpmMetricsGet")
        if not asked.sample1.values:
            raise NVMLError(2)
        for metric in asked.metrics[: asked.numMetrics]:
            metric.value = asked.sample2.values.get(metric.metricId, math.nan)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:  # noqa: N802
        instance = gpu.instances[index]
        if instance is None:
            raise NVMLError(6)
        return instance

    def nvmlEventSetCreate(self) -> SimpleNamespace:  # noqa: N802
        self._ask("nvmlEventSetCreate")
        return SimpleNamespace(gpus=[])

    def nvmlDeviceRegisterEvents(self, gpu: FakeGpu, _types: int, events: SimpleNamespace) -> None:  # noqa: N802
        self._ask("nvmlDeviceRegisterEvents", gpu)
        events.gpus.append(gpu)

    def nvmlEventSetWait_v2(self, _events: SimpleNamespace, _timeout_ms: int) -> Any:  # noqa: N802
        self._ask("nvmlEventSetWait_v2")
        try:
            gpu, xid = self.events.get(timeout=0.25)
        except Empty:
            raise NVMLError(10) from None
        return SimpleNamespace(device=gpu, eventType=8, eventData=xid)

    def nvmlEventSetFree(self, _events: SimpleNamespace) -> None:  # noqa: N802
        self._ask("nvmlEventSetFree")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: N802
        found = next(gpu for gpu in self.gpus if gpu.uuid == uuid)
        self._ask("nvmlDeviceGetHandleByUUID", found)
        return found

    def __getattr__(self, function: str) -> Any:
        """The functions that only read one attribute."""
        readers: dict[str, Any] = {
            "nvmlDeviceGetUUID": lambda gpu: gpu.uuid,
            "nvmlDeviceGetName": lambda gpu: gpu.name.encode(),
            "nvmlDeviceGetPciInfo": lambda gpu: SimpleNamespace(busId=gpu.bus.encode()),
            "nvmlDeviceGetCudaComputeCapability": lambda _gpu: (9, 0),
            "nvmlDeviceGetNumaNodeId": lambda gpu: gpu.numa,
            "nvmlDeviceGetMigMode": lambda gpu: [gpu.mig, gpu.mig],
            "nvmlDeviceGetComputeRunningProcesses": lambda gpu: gpu.compute,
            "nvmlDeviceGetGraphicsRunningProcesses": lambda gpu: gpu.graphics,
            "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(
                gpu=gpu.gpu_percent, memory=gpu.memory_percent
            ),
            "nvmlDeviceGetTemperature": lambda gpu: gpu.temperature,
            "nvmlDeviceGetPowerUsage": lambda gpu: gpu.power_mw,
            "nvmlDeviceGetClockInfo": lambda gpu: gpu.sm_mhz,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: gpu.limiters,
            "nvmlDeviceGetPerformanceState": lambda _gpu: 0,
            "nvmlDeviceGetCurrPcieLinkGeneration": lambda _gpu: 5,
            "nvmlDeviceGetCurrPcieLinkWidth": lambda _gpu: 16,
            "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: gpu.energy_mj,
            "nvmlDeviceGetPowerManagementLimit": lambda _gpu: 700_000,
            "nvmlDeviceGetMaxClockInfo": lambda _gpu: 1980,
            "nvmlDeviceGetMaxMigDeviceCount": lambda gpu: len(gpu.instances),
            "nvmlDeviceGetGpuInstanceId": lambda gpu: gpu.instance,
        }
        if function not in readers:
            raise AttributeError(function)

        def ask(gpu: FakeGpu, *_which: int) -> Any:
            self._ask(function, gpu)
            return readers[function](gpu)

        return ask
