"""What the database knows for one scrape: four queries, however much there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from deployments.lifecycle.phases import ENDED
from deployments.models import Deployment, Gpu, Node
from playground.selectors_gateway import GatewaySums, gateway_sums

#: So long a deployment is told of after its end: several scrapes see that it failed.
ENDED_FOR: Final = timedelta(minutes=15)
#: The newest of them: an answer has a bound.
MOST_DEPLOYMENTS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class StoredNode:
    """A node; ``heartbeat_at`` in epoch seconds."""

    name: str
    heartbeat_at: float | None
    in_maintenance: bool


@dataclass(frozen=True, kw_only=True)
class StoredGpu:
    """A GPU that an agent once found."""

    node: str
    uuid: str
    index: int
    name: str
    is_quarantined: bool


@dataclass(frozen=True, kw_only=True)
class StoredDeployment:
    """A deployment that lives or ended lately; times are epoch seconds. ``gpus`` and their memory are its leases'."""

    pk: int
    config: str
    model: str
    node: str
    phase: str
    attempt: int
    failures: int
    created_at: float
    phase_since: float
    gpus: int
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Everything that one scrape reads."""

    nodes: Sequence[StoredNode]
    gpus: Sequence[StoredGpu]
    deployments: Sequence[StoredDeployment]
    gateway: Sequence[GatewaySums]


def read_stored() -> Stored:
    """Read it now. Raises DatabaseError."""
    gpus, leases = _gpus()
    return Stored(nodes=_nodes(), gpus=gpus, deployments=_deployments(leases), gateway=gateway_sums())


def _nodes() -> list[StoredNode]:
    rows = Node.objects.order_by("name").values_list("name", "heartbeat_at", "maintenance_since")
    return [
        StoredNode(name=name, heartbeat_at=_epoch(at), in_maintenance=since is not None) for name, at, since in rows
    ]


def _gpus() -> tuple[list[StoredGpu], dict[int, list[int]]]:
    """The GPUs, and deployment -> memory of each GPU that it holds."""
    gpus, leases = [], defaultdict(list)
    rows = Gpu.objects.order_by("node__name", "index").values_list(
        "node__name", "uuid", "index", "name", "memory_bytes", "quarantined_at", "lease__deployment_id"
    )
    for node, uuid, index, name, memory_bytes, quarantined_at, holder in rows:
        gpus.append(StoredGpu(node=node, uuid=uuid, index=index, name=name, is_quarantined=quarantined_at is not None))
        if holder is not None:
            leases[holder].append(memory_bytes)
    return gpus, leases


def _deployments(leases: dict[int, list[int]]) -> list[StoredDeployment]:
    lately = timezone.now() - ENDED_FOR
    rows = Deployment.objects.filter(~Q(phase__in=ENDED) | Q(ended_at__gte=lately)).order_by("-created_at")
    columns = ("pk", "config__name", "config__model__name", "node__name", "phase", "attempt", "failures")
    found = rows.values_list(*columns, "created_at", "phase_since")[:MOST_DEPLOYMENTS]
    return [
        StoredDeployment(
            pk=pk,
            config=config,
            model=model,
            node=node or "",
            phase=phase,
            attempt=attempt,
            failures=failures,
            created_at=created_at.timestamp(),
            phase_since=phase_since.timestamp(),
            gpus=len(leases.get(pk, ())),
            memory_bytes=sum(leases.get(pk, ())),
        )
        for pk, config, model, node, phase, attempt, failures, created_at, phase_since in found
    ]


def _epoch(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
