"""The rows of the GPUs that this node has."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models.functions import Now
from django.utils import timezone

from deployments.models import Gpu, Node

from .facts import GpuFacts


def write_gpus(node_name: str, facts: Iterable[GpuFacts], *, replay: bool) -> bool:
    """Bring the rows up to date and mark them as seen now; False while the node has no row yet.

    One query to read and one to mark when nothing changed. A row of a GPU that is gone stays: its ``seen_at`` tells.
    Rows of a recording go when the driver is asked again, since nothing can ever have run on them.
    """
    node = Node.objects.filter(name=node_name).first()
    if node is None:
        return False
    rows = {row.uuid: row for row in Gpu.objects.filter(node=node)}
    seen = []
    for found in facts:
        wanted = _columns(found, replay=replay)
        row = rows.get(found.uuid)
        if row is None:
            row, _made = Gpu.objects.get_or_create(
                node=node, uuid=found.uuid, defaults={**wanted, "seen_at": timezone.now()}
            )
        changed = [name for name, value in wanted.items() if getattr(row, name) != value]
        for name in changed:
            setattr(row, name, wanted[name])
        if changed:
            row.save(update_fields=changed)
        seen.append(row.pk)
    Gpu.objects.filter(pk__in=seen).update(seen_at=Now())
    if not replay and any(row.replay for row in rows.values()):
        Gpu.objects.filter(node=node, replay=True, lease=None).delete()
    return True


def _columns(found: GpuFacts, *, replay: bool) -> dict[str, object]:
    return {
        "index": found.index,
        "name": f"{found.name} (MIG)" if found.mig else found.name,
        "memory_bytes": found.memory_total_bytes,
        "pci_bus_id": found.pci_bus_id,
        "numa_node": found.numa_node,
        "nvlink_peers": list(found.nvlink_peers),
        "compute_capability": found.compute_capability,
        "replay": replay,
    }
