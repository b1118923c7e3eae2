"""What a GPU is: what placement needs to know of it, read through NVML once a minute."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .nvml_values import text_of
from .refusals import Refusals


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
class Inventory:
    """The GPUs of this host. ``failed`` are those that could not be asked: index, UUID or a stand-in, and why."""

    driver: str
    gpus: tuple[GpuFacts, ...]
    failed: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that can be measured: a GPU, or an instance of one, which has a parent.

    ``handle`` is NVML's; ``instance`` the number of the GPU instance on ``parent_handle``.
    """

    uuid: str
    index: int
    handle: Any
    name: str = ""
    parent_uuid: str = ""
    parent_handle: Any = None
    instance: int | None = None


def read_facts(module: Any, index: int, handle: Any, *, refusals: Refusals, memory: int, sysfs: Path) -> GpuFacts:
    """The facts of one GPU without its peers. ``module`` is pynvml. Raises NVMLError."""
    uuid = text_of(module.nvmlDeviceGetUUID(handle))
    bus = refusals.optional(uuid, "pci", lambda: text_of(module.nvmlDeviceGetPciInfo(handle).busId)) or ""
    capability = refusals.optional(uuid, "capability", lambda: module.nvmlDeviceGetCudaComputeCapability(handle))
    numa = refusals.optional(uuid, "numa", lambda: module.nvmlDeviceGetNumaNodeId(handle))
    return GpuFacts(
        uuid=uuid,
        index=index,
        name=text_of(module.nvmlDeviceGetName(handle)),
        memory_total_bytes=memory,
        pci_bus_id=bus,
        numa_node=_numa_node(numa, bus, sysfs),
        compute_capability=".".join(str(part) for part in capability or ()),
        mig=bool((refusals.optional(uuid, "mig", lambda: module.nvmlDeviceGetMigMode(handle)) or [0])[0]),
    )


def _numa_node(told: Any, bus: str, sysfs: Path) -> int | None:
    """The driver's answer, which older ones do not have, else the kernel's; -1 there means none."""
    if told is None and bus:
        # NVML writes the domain with eight digits, the kernel with four.
        domain, _, rest = bus.lower().partition(":")
        try:
            told = int((sysfs / f"{domain[-4:]}:{rest}" / "numa_node").read_text())
        except (OSError, ValueError):
            return None
    return int(told) if told is not None and 0 <= int(told) < 0xFFFF else None


def instances_of(module: Any, gpu: GpuFacts, handle: Any, refusals: Refusals) -> tuple[Target, ...]:
    """The MIG instances of a GPU; indexes without one are passed over. Raises NVMLError when the library is closed."""
    if not gpu.mig:
        return ()
    count = refusals.optional(gpu.uuid, "mig count", lambda: module.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
    found = []
    for number in range(int(count)):
        instance = refusals.tried(partial(module.nvmlDeviceGetMigDeviceHandleByIndex, handle, number))
        if instance is None:
            continue
        uuid = refusals.tried(partial(module.nvmlDeviceGetUUID, instance))
        if uuid:
            name = refusals.tried(partial(module.nvmlDeviceGetName, instance))
            number_of = refusals.tried(partial(module.nvmlDeviceGetGpuInstanceId, instance))
            found.append(
                Target(
                    uuid=text_of(uuid),
                    index=gpu.index,
                    handle=instance,
                    name=text_of(name) if name else gpu.name,
                    parent_uuid=gpu.uuid,
                    parent_handle=handle,
                    instance=None if number_of is None else int(number_of),
                )
            )
    return tuple(found)
