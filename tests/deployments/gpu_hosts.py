"""A node with GPUs for tests of placement: rows, and readings as the agent publishes them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.utils import timezone

from deployments.gpu_readings import GpuProcess, GpuReading, NodeReading, publish_reading
from deployments.models import Gpu, Node
from deployments.placement.views import GIB

MEMORY_BYTES = 80 * GIB


def add_gpus(node: Node, count: int = 2, *, replay: bool = False) -> list[Gpu]:
    """GPUs of 80 GiB, all joined by NVLink, and a first reading that shows them free."""
    uuids = [f"GPU-{node.name}-{index}" for index in range(count)]
    rows = [
        Gpu(
            node=node,
            uuid=uuid,
            index=index,
            name="NVIDIA H200",
            memory_bytes=MEMORY_BYTES,
            nvlink_peers=[other for other in uuids if other != uuid],
            numa_node=0,
            replay=replay,
            seen_at=timezone.now(),
        )
        for index, uuid in enumerate(uuids)
    ]
    made = Gpu.objects.bulk_create(rows)
    measure(node)
    return made


def measure(node: Node, processes: dict[int, Sequence[GpuProcess]] | None = None, *, driver: str = "") -> None:
    """Publish what each GPU holds now, by index; the others are free."""
    readings = []
    for gpu in Gpu.objects.filter(node=node).order_by("index"):
        on_it = tuple((processes or {}).get(gpu.index, ()))
        used = sum(each.memory_bytes or 0 for each in on_it)
        readings.append(
            GpuReading(
                uuid=gpu.uuid,
                index=gpu.index,
                memory_total_bytes=MEMORY_BYTES,
                memory_used_bytes=used,
                memory_free_bytes=MEMORY_BYTES - used,
                processes=on_it,
            )
        )
    publish_reading(NodeReading(node=node.name, at=time.time(), source="nvml", driver=driver, gpus=tuple(readings)))
