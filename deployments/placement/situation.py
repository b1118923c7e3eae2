"""Reads the nodes as a placement sees them: rows, leases and the agents' readings. Eight queries, however many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from django.db.models.functions import Now

from deployments.gpu_memory import runs_of
from deployments.gpu_readings import GpuReading, NodeReading, latest_readings
from deployments.lifecycle.freshness import FRESH
from deployments.lifecycle.phases import ENDED
from deployments.models import Attempt, Config, Deployment, Fetch, Gpu, GpuLease, Node
from deployments.spec import ServingSpec

from .islands import islands
from .views import GIB, GpuView, Holder, NodeView, Request


def request_of(spec: ServingSpec, *, node: str = "", gpu_uuids: Collection[str] = ()) -> Request:
    """What a specification asks for, with an operator's pins."""
    each = int(spec.memory_gib / spec.gpus * GIB) if spec.gpus else 0
    return Request(runtime=spec.runtime, gpus=spec.gpus, memory_bytes=each, node=node, gpu_uuids=tuple(gpu_uuids))


class Fleet:
    """The nodes at one moment, for any number of requests: read it once for a page."""

    def __init__(self) -> None:
        self.nodes = list(Node.objects.order_by("name"))
        self._fresh = set(Node.objects.filter(heartbeat_at__gt=Now() - FRESH).values_list("pk", flat=True))
        self._gpus = list(Gpu.objects.order_by("node_id", "index"))
        leases = GpuLease.objects.select_related("deployment").only("gpu", "deployment__spec")
        self._holders = {
            lease.gpu_id: Holder(deployment_id=lease.deployment_id, config=lease.deployment.spec["config"])
            for lease in leases
        }
        live = Deployment.objects.exclude(phase__in=ENDED).values_list("node", flat=True)
        self._live = Counter(live)
        self._readings: Mapping[str, NodeReading] = latest_readings([node.name for node in self.nodes])
        self._drawn: dict[int, tuple[GpuView, ...]] = {}
        self._images = {
            (node, runtime, image)
            for node, runtime, image in Fetch.objects.filter(state=Fetch.State.DONE).values_list(
                "node", "runtime", "image"
            )
        }

    @cached_property
    def _served(self) -> frozenset[tuple[int | None, str]]:
        """Nodes with what was loaded there before: a repository of weights, or a config that names none."""
        loaded = Attempt.objects.filter(ready_at__isnull=False, deployment__node__isnull=False).order_by()
        columns = ("deployment__node", "deployment__config__weights_repository", "deployment__config__name")
        return frozenset((node, weights or name) for node, weights, name in loaded.values_list(*columns).distinct())

    @cached_property
    def _weights(self) -> Mapping[str, str]:
        """The repository of each config that names one."""
        named = Config.objects.exclude(weights_repository="").order_by()
        return dict(named.values_list("name", "weights_repository"))

    def views(self, spec: ServingSpec) -> list[NodeView]:
        """The nodes as a request for ``spec`` sees them."""
        weights, served = self._weights.get(spec.config, spec.config), self._served
        return [
            NodeView(
                name=node.name,
                gpus=self.gpus(node),
                runtimes=frozenset(node.runtimes),
                is_fresh=node.pk in self._fresh,
                in_maintenance=node.maintenance_since is not None,
                has_image=(node.pk, spec.runtime, spec.image) in self._images,
                # Without a volume, what an earlier run loaded went with its container.
                has_weights=bool(spec.volumes) and (node.pk, weights) in served,
                live=self._live[node.pk],
            )
            for node in self.nodes
        ]

    def gpus(self, node: Node) -> tuple[GpuView, ...]:
        """The GPUs of a node, by index."""
        if node.pk not in self._drawn:
            self._drawn[node.pk] = self._gpus_of(node)
        return self._drawn[node.pk]

    def _gpus_of(self, node: Node) -> tuple[GpuView, ...]:
        rows = [gpu for gpu in self._gpus if gpu.node_id == node.pk]
        reading = self._readings.get(node.name)
        measured = {gpu.uuid: gpu for gpu in reading.gpus} if reading else {}
        island_of = islands({gpu.uuid: (gpu.nvlink_peers, gpu.numa_node) for gpu in rows})
        return tuple(self._view(gpu, measured.get(gpu.uuid), island_of[gpu.uuid]) for gpu in rows)

    def quarantines(self, node: Node) -> Mapping[str, Mapping[str, Any]]:
        """The quarantined GPUs of a node by UUID, with who holds their memory: see ``gpu_memory``."""
        return {gpu.uuid: gpu.quarantine_params for gpu in self._gpus if gpu.node_id == node.pk and gpu.quarantined_at}

    def reading(self, node: Node) -> NodeReading | None:
        """What the node's agent measured in the last seconds."""
        return self._readings.get(node.name)

    def _view(self, gpu: Gpu, measured: GpuReading | None, island: str) -> GpuView:
        processes = (measured.processes or ()) if measured else ()
        holder = self._holders.get(gpu.pk)
        own = [each for each in processes if each.run_name and holder and runs_of(holder.deployment_id)(each.run_name)]
        return GpuView(
            uuid=gpu.uuid,
            index=gpu.index,
            name=gpu.name,
            memory_bytes=gpu.memory_bytes,
            free_bytes=measured.memory_free_bytes if measured and not measured.error else None,
            trouble=measured.error if measured else "",
            returned_bytes=sum(each.memory_bytes or 0 for each in own),
            island=island,
            holder=holder,
            foreign=tuple(each for each in processes if each not in own),
            quarantined=gpu.quarantined_at is not None,
            replay=gpu.replay,
        )
