"""A stand-in for the module pynvml: GPUs that a test describes, and errors where it wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    #: Ends of its links: a bus id, or "switch".
    links: tuple[str, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class FakeNvml:
    """Give an instance to `dashboard.telemetry.nvml.Nvml` as its module."""

    NVMLError = NVMLError
    nvmlMemory_v2 = 2 << 24  # noqa: N815 - the library's name
    NVML_NVLINK_MAX_LINKS = 18
    NVML_P2P_CAPS_INDEX_NVLINK = 2

    def __init__(self, *gpus: FakeGpu, driver: str = "580.159.04", pairs: bool = True) -> None:
        self.gpus: list[FakeGpu] = list(gpus)
        self.driver = driver
        #: Whether the driver answers for pairs of GPUs; else links have to be followed.
        self.pairs = pairs
        self.errors: dict[str, int] = {}
        self.inits = 0

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
        }
        if function not in readers:
            raise AttributeError(function)

        def ask(gpu: FakeGpu) -> Any:
            self._ask(function, gpu)
            return readers[function](gpu)

        return ask
