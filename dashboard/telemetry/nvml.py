"""NVML, NVIDIA's management library: what each GPU is and what it holds. The only module that imports pynvml.

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

from deployments.gpu_readings import GpuReading
from deployments.gpu_reasons import CHANGED, NO_ANSWER, NOT_INSTALLED

from .facts import DriverUnavailableError, GpuFacts, Inventory, Target, instances_of, read_facts
from .gpm import Gpm
from .lanes import Lanes
from .nvlink import nvlink_peers
from .nvml_values import CLOSED, NO_DRIVER, NOT_FOUND, VERSION_MISMATCH, code_of, text_of
from .questions import Questions, memory_info
from .refusals import Refusals
from .rows import MEASURED, reading_of, state_of
from .xids import OnXid, XidListener

#: Names a GPU that has failed since before it was asked for its UUID: two such GPUs stay two.
UNKNOWN_UUID = "unknown-"


@dataclass
class Nvml:
    """The library, opened. ``module`` stands in for pynvml in tests.

    ``on_xid`` hears of the driver's error events, in a thread of its own: UUID, number, epoch seconds.
    """

    module: Any = None
    sysfs: Path = Path("/sys/bus/pci/devices")
    clock: Callable[[], float] = time.monotonic
    on_xid: OnXid | None = None
    lanes: Lanes | None = None
    _opened_by: int = 0
    _targets: tuple[Target, ...] = ()
    _failed: tuple[tuple[int, str, str], ...] = ()
    _failed_states: dict[int, str] = field(default_factory=dict)
    _refusals: Refusals = field(default_factory=Refusals)
    _gpm: Gpm | None = None
    _xids: XidListener | None = None

    def open(self) -> None:
        """Load and initialise the library; nothing if it is open. Raises DriverUnavailableError."""
        if self._opened_by == os.getpid():
            return
        # Handles made before a fork mean nothing after it.
        self._forget()
        try:
            self.module = self.module or importlib.import_module("pynvml")
        except ImportError:
            raise DriverUnavailableError(NOT_INSTALLED) from None
        try:
            self.module.nvmlInit()
        except self.module.NVMLError as error:
            self._unload(code_of(error))
            raise DriverUnavailableError(_told(error)) from error
        self._opened_by = os.getpid()
        self._refusals = Refusals(error=self.module.NVMLError, clock=self.clock)
        self._gpm = Gpm(module=self.module, clock=self.clock)
        questions = Questions(module=self.module, refusals=self._refusals, gpm=self._gpm)
        self.lanes = Lanes(questions=questions, error=self.module.NVMLError, clock=self.clock)

    def close(self) -> None:
        """Let go of the library; never raises."""
        if self._opened_by == os.getpid():
            if self._xids is not None:
                self._xids.stop()
            if self._gpm is not None:
                self._gpm.close()
            with contextlib.suppress(self.module.NVMLError):
                self.module.nvmlShutdown()
        self._forget()

    def inventory(self) -> Inventory:
        """Find every GPU anew. Raises DriverUnavailableError when the library must be opened again."""
        self.open()
        try:
            driver = text_of(self.module.nvmlSystemGetDriverVersion())
            gpus, handles, failed = self._look(int(self.module.nvmlDeviceGetCount()))
            targets: list[Target] = []
            for gpu in gpus:
                handle = handles[gpu.uuid]
                targets.append(Target(uuid=gpu.uuid, index=gpu.index, handle=handle, name=gpu.name))
                targets.extend(instances_of(self.module, gpu, handle, self._refusals))
            peers = nvlink_peers(self.module, {gpu.uuid: (gpu.pci_bus_id, handles[gpu.uuid]) for gpu in gpus})
        except self.module.NVMLError as error:
            raise self._closed(error) from error
        self._targets, self._failed = tuple(targets), tuple((index, uuid, told) for index, uuid, told, _code in failed)
        self._failed_states = {index: state_of(code) for index, _uuid, _error, code in failed}
        if self.lanes is not None:
            self.lanes.forget_others({target.uuid for target in targets})
        self._listen()
        linked = tuple(replace(gpu, nvlink_peers=peers[gpu.uuid]) for gpu in gpus)
        return Inventory(driver=driver, gpus=linked, failed=self._failed)

    def states(self) -> tuple[GpuReading, ...]:
        """What each GPU of the last :meth:`inventory` holds now. Raises DriverUnavailableError."""
        if self._opened_by != os.getpid() or self.lanes is None:
            raise DriverUnavailableError("The driver has not been asked for its GPUs yet.")
        try:
            known = [reading_of(target, self.lanes.sweep(target)) for target in self._targets]
        except self.module.NVMLError as error:
            raise self._closed(error) from error
        failed = [
            GpuReading(
                uuid=uuid,
                index=index,
                state=self._failed_states[index],
                error=error,
                processes_error=error,
                missing=dict.fromkeys(MEASURED, "error"),
            )
            for index, uuid, error in self._failed
        ]
        return tuple(sorted([*known, *failed], key=lambda state: (state.index, bool(state.parent_uuid))))

    def _look(self, count: int) -> tuple[list[GpuFacts], dict[str, Any], list[tuple[int, str, str, int]]]:
        """Each GPU, its handle, and those that failed: index, UUID or a stand-in, words, code. Raises NVMLError."""
        # An index keeps its GPU until the host restarts.
        known = {target.index: target.uuid for target in self._targets if not target.parent_uuid}
        known.update({index: uuid for index, uuid, _error in self._failed})
        gpus: list[GpuFacts] = []
        handles: dict[str, Any] = {}
        failed: list[tuple[int, str, str, int]] = []
        for index in range(count):
            try:
                handle = self.module.nvmlDeviceGetHandleByIndex(index)
                memory = int(memory_info(self.module, handle).total)
                found = read_facts(self.module, index, handle, refusals=self._refusals, memory=memory, sysfs=self.sysfs)
            except self.module.NVMLError as error:
                if code_of(error) in CLOSED:
                    raise
                if code_of(error) != NOT_FOUND:
                    uuid = known.get(index, f"{UNKNOWN_UUID}{index}")
                    failed.append((index, uuid, _told(error), code_of(error)))
                continue
            handles[found.uuid] = handle
            gpus.append(found)
        return gpus, handles, failed

    def _listen(self) -> None:
        """Hear of error events on the GPUs that there are now."""
        if self.on_xid is None:
            return
        uuids = tuple(target.uuid for target in self._targets if not target.parent_uuid)
        if self._xids is not None:
            if self._xids.uuids == uuids and self._xids.works:
                return
            self._xids.stop()
        self._xids = XidListener(self.module, uuids, self.on_xid)
        self._xids.start()

    def _closed(self, error: Any) -> DriverUnavailableError:
        code = code_of(error)
        self.close()
        self._unload(code)
        return DriverUnavailableError(_told(error))

    def _forget(self) -> None:
        self._opened_by = 0
        self._targets, self._failed, self._failed_states = (), (), {}
        self._gpm = self.lanes = self._xids = None

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


def _told(error: Any) -> str:
    if code_of(error) == VERSION_MISMATCH:
        return CHANGED
    if code_of(error) in NO_DRIVER:
        return NO_ANSWER % {"error": error}
    return str(error)
