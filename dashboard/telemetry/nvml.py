"""NVML, NVIDIA's management library: what each GPU is and what it holds. The only module that imports pynvml.

Stands alone with its two neighbours: it needs nothing but nvidia-ml-py, so that it can be tried on a bare host.
An instance belongs to one thread at a time. A GPU that fails is reported as failing; the others go on.

The calls and their meaning: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .nvlink import nvlink_peers
from .nvml_values import (
    CLOSED,
    FUNCTION_NOT_FOUND,
    NO_DRIVER,
    NOT_FOUND,
    NOT_SUPPORTED,
    VERSION_MISMATCH,
    code_of,
    text_of,
)

#: A field that a GPU does not have is asked for again after this long.
ASK_AGAIN_S = 3600.0


class DriverUnavailableError(Exception):
    """There is no usable driver; the message says why. Opening again later may help."""


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """What a GPU is. Memory in bytes; ``nvlink_peers`` are UUIDs; ``mig`` means that it is cut into instances."""

    uuid: str
    index: int
    name: str
    memory_total_bytes: int
    pci_bus_id: str = ""
    numa_node: int | None = None
    nvlink_peers: tuple[str, ...] = ()
    compute_capability: str = ""
    mig: bool = False


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """What a GPU holds now, as nvidia-smi counts: ``memory_reserved_bytes`` is no part of ``memory_used_bytes``.

    ``processes`` are (pid, bytes or None). What the driver did not answer is None; ``error`` has its words about
    the GPU and its memory, ``processes_error`` those about the list of processes.
    """

    uuid: str
    index: int
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    processes: tuple[tuple[int, int | None], ...] | None = None
    error: str = ""
    processes_error: str = ""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The GPUs of this host. ``failed`` are those that could not be asked: index, UUID if it was known, and why."""

    driver: str
    gpus: tuple[GpuFacts, ...]
    failed: tuple[tuple[int, str, str], ...] = ()


@dataclass
class Nvml:
    """The library, opened. ``module`` stands in for pynvml in tests."""

    module: Any = None
    sysfs: Path = Path("/sys/bus/pci/devices")
    clock: Callable[[], float] = time.monotonic
    _opened_by: int = 0
    _handles: dict[str, tuple[int, Any]] = field(default_factory=dict)
    _failed: tuple[tuple[int, str, str], ...] = ()
    _unsupported: dict[tuple[str, str], float] = field(default_factory=dict)

    def open(self) -> None:
        """Load and initialise the library; nothing if it is open. Raises DriverUnavailableError."""
        if self._opened_by == os.getpid():
            return
        # Handles made before a fork mean nothing after it.
        self._forget()
        try:
            self.module = self.module or importlib.import_module("pynvml")
        except ImportError:
            raise DriverUnavailableError("The Python package nvidia-ml-py is not installed.") from None
        try:
            self.module.nvmlInit()
        except self.module.NVMLError as error:
            self._unload(code_of(error))
            raise DriverUnavailableError(_told(error)) from error
        self._opened_by = os.getpid()

    def close(self) -> None:
        """Let go of the library; never raises."""
        if self._opened_by == os.getpid():
            with contextlib.suppress(self.module.NVMLError):
                self.module.nvmlShutdown()
        self._forget()

    def inventory(self) -> Inventory:
        """Find every GPU anew. Raises DriverUnavailableError when the library must be opened again."""
        self.open()
        try:
            driver = text_of(self.module.nvmlSystemGetDriverVersion())
            count = int(self.module.nvmlDeviceGetCount())
        except self.module.NVMLError as error:
            raise self._closed(error) from error
        handles: dict[str, tuple[int, Any]] = {}
        facts: list[GpuFacts] = []
        failed: list[tuple[int, str, str]] = []
        # An index keeps its GPU until the host restarts.
        known = {index: uuid for uuid, (index, _handle) in self._handles.items()}
        known.update({index: uuid for index, uuid, _error in self._failed})
        for index in range(count):
            try:
                handle = self.module.nvmlDeviceGetHandleByIndex(index)
                found = self._facts(index, handle)
            except self.module.NVMLError as error:
                if code_of(error) in CLOSED:
                    raise self._closed(error) from error
                if code_of(error) != NOT_FOUND:
                    failed.append((index, known.get(index, ""), _told(error)))
                continue
            handles[found.uuid] = (index, handle)
            facts.append(found)
        self._handles, self._failed = handles, tuple(failed)
        try:
            peers = nvlink_peers(self.module, {gpu.uuid: (gpu.pci_bus_id, handles[gpu.uuid][1]) for gpu in facts})
        except self.module.NVMLError as error:
            raise self._closed(error) from error
        linked = tuple(replace(gpu, nvlink_peers=peers[gpu.uuid]) for gpu in facts)
        return Inventory(driver=driver, gpus=linked, failed=tuple(failed))

    def states(self) -> tuple[GpuState, ...]:
        """What each GPU of the last :meth:`inventory` holds now. Raises DriverUnavailableError."""
        if self._opened_by != os.getpid():
            raise DriverUnavailableError("The driver has not been asked for its GPUs yet.")
        known = [self._state(uuid, index, handle) for uuid, (index, handle) in self._handles.items()]
        failed = [GpuState(uuid=uuid, index=index, error=error) for index, uuid, error in self._failed]
        return tuple(sorted([*known, *failed], key=lambda state: state.index))

    def _facts(self, index: int, handle: Any) -> GpuFacts:
        uuid = text_of(self.module.nvmlDeviceGetUUID(handle))
        bus = self._optional(uuid, "pci", lambda: text_of(self.module.nvmlDeviceGetPciInfo(handle).busId)) or ""
        capability = self._optional(uuid, "capability", lambda: self.module.nvmlDeviceGetCudaComputeCapability(handle))
        return GpuFacts(
            uuid=uuid,
            index=index,
            name=text_of(self.module.nvmlDeviceGetName(handle)),
            memory_total_bytes=int(self._memory(handle).total),
            pci_bus_id=bus,
            numa_node=self._numa_node(uuid, handle, bus),
            compute_capability=".".join(str(part) for part in capability or ()),
            mig=bool((self._optional(uuid, "mig", lambda: self.module.nvmlDeviceGetMigMode(handle)) or [0])[0]),
        )

    def _numa_node(self, uuid: str, handle: Any, bus: str) -> int | None:
        """The driver's answer, which older ones do not have, else the kernel's; -1 there means none."""
        told = self._optional(uuid, "numa", lambda: self.module.nvmlDeviceGetNumaNodeId(handle))
        if told is None and bus:
            # NVML writes the domain with eight digits, the kernel with four.
            domain, _, rest = bus.lower().partition(":")
            try:
                told = int((self.sysfs / f"{domain[-4:]}:{rest}" / "numa_node").read_text())
            except (OSError, ValueError):
                return None
        return int(told) if told is not None and 0 <= int(told) < 0xFFFF else None

    def _state(self, uuid: str, index: int, handle: Any) -> GpuState:
        memory, processes, error, processes_error = None, None, "", ""
        try:
            memory = self._supported(uuid, "memory", lambda: self._memory(handle))
        except self.module.NVMLError as raised:
            error = self._unless_closed(raised)
        try:
            processes = self._supported(uuid, "processes", lambda: self._processes(uuid, handle))
        except self.module.NVMLError as raised:
            processes_error = self._unless_closed(raised)
        return GpuState(
            uuid=uuid,
            index=index,
            memory_total_bytes=_bytes(memory, "total"),
            memory_used_bytes=_bytes(memory, "used"),
            memory_free_bytes=_bytes(memory, "free"),
            memory_reserved_bytes=_bytes(memory, "reserved"),
            processes=processes,
            error=error,
            processes_error=processes_error,
        )

    def _memory(self, handle: Any) -> Any:
        """Version 2, whose ``used`` leaves out what the driver reserves; drivers before 510 have version 1 only."""
        try:
            return self.module.nvmlDeviceGetMemoryInfo(handle, self.module.nvmlMemory_v2)
        except self.module.NVMLError as error:
            if code_of(error) != FUNCTION_NOT_FOUND:
                raise
            return self.module.nvmlDeviceGetMemoryInfo(handle)

    def _processes(self, uuid: str, handle: Any) -> tuple[tuple[int, int | None], ...]:
        """Compute and graphics together. One that is both stands in both lists, with the same memory."""
        found = {_instance(item): item for item in self.module.nvmlDeviceGetComputeRunningProcesses(handle)}
        drawing = self._optional(uuid, "graphics", lambda: self.module.nvmlDeviceGetGraphicsRunningProcesses(handle))
        for item in drawing or ():
            found.setdefault(_instance(item), item)
        totals: dict[int, int | None] = {}
        for item in found.values():
            used, before = item.usedGpuMemory, totals.get(item.pid, 0)
            # A sum only of what is wholly known.
            totals[int(item.pid)] = None if used is None or before is None else before + int(used)
        return tuple(sorted(totals.items()))

    def _optional(self, uuid: str, what: str, ask: Callable[[], Any]) -> Any:
        """The answer, or None when the GPU cannot tell."""
        try:
            return self._supported(uuid, what, ask)
        except self.module.NVMLError as error:
            self._unless_closed(error)
            return None

    def _supported(self, uuid: str, what: str, ask: Callable[[], Any]) -> Any:
        """Ask, unless the GPU said within the last hour that it does not have this: then that error again."""
        refused_at = self._unsupported.get((uuid, what))
        if refused_at is not None and self.clock() - refused_at < ASK_AGAIN_S:
            raise self.module.NVMLError(NOT_SUPPORTED)
        try:
            answer = ask()
        except self.module.NVMLError as error:
            if code_of(error) in {NOT_SUPPORTED, FUNCTION_NOT_FOUND}:
                self._unsupported[uuid, what] = self.clock()
            raise
        self._unsupported.pop((uuid, what), None)
        return answer

    def _unless_closed(self, error: Any) -> str:
        """The words of one GPU's error. Raises DriverUnavailableError when it is about the whole library."""
        if code_of(error) in CLOSED:
            raise self._closed(error) from error
        return _told(error)

    def _closed(self, error: Any) -> DriverUnavailableError:
        code = code_of(error)
        self.close()
        self._unload(code)
        return DriverUnavailableError(_told(error))

    def _forget(self) -> None:
        self._opened_by = 0
        self._handles, self._failed, self._unsupported = {}, (), {}

    def _unload(self, code: int) -> None:
        """Drop a library that is older than the driver, so that the next opening loads the new one."""
        library = getattr(self.module, "nvmlLib", None)
        if code != VERSION_MISMATCH or library is None:
            return
        try:
            import _ctypes

            _ctypes.dlclose(library._handle)  # noqa: SLF001 - ctypes has no public way
            self.module = importlib.reload(self.module)
        except (ImportError, OSError, AttributeError, TypeError):
            # Then the sentence asks for a restart of the agent.
            return


def _instance(item: Any) -> tuple[int, Any, Any]:
    return (int(item.pid), getattr(item, "gpuInstanceId", None), getattr(item, "computeInstanceId", None))


def _told(error: Any) -> str:
    if code_of(error) == VERSION_MISMATCH:
        return "The driver was changed while it was in use: restart the host, or the agent if that was done already."
    if code_of(error) in NO_DRIVER:
        return f"No NVIDIA driver answers on this host ({error})."
    return str(error)


def _bytes(memory: Any, what: str) -> int | None:
    value = getattr(memory, what, None)
    return None if value is None else int(value)
