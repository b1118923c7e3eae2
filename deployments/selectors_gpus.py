"""Reads for the pages of GPUs: one query, however many there are; readings and history come from Redis."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count, Q

from .gpu_history import sparklines
from .gpu_memory import quarantine_sentence
from .gpu_readings import NodeReading, RunReading, latest_readings
from .lifecycle.phases import Phase
from .models import Deployment, Gpu, Node
from .presentation.gpu_tiles import FleetSums, KnownGpu, ShownNode, Tile, Told, fleet_sums, shown_node
from .presentation.states import ON_ITS_WAY
from .redis import RedisError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GpuFleet:
    """Every node with its GPUs, and their sums."""

    nodes: Sequence[ShownNode]
    sums: FleetSums

    @property
    def tiles(self) -> list[Tile]:
        """All GPUs of all nodes."""
        return [tile for node in self.nodes for tile in node.tiles]

    @property
    def is_replay(self) -> bool:
        """Whether any of it is a recording."""
        return self.sums.is_replay

    @property
    def why_none(self) -> str:
        """Why no node has a GPU, as the first one that is heard says it."""
        return next((node.reason for node in self.nodes if node.reason), "")

    @property
    def has_processes(self) -> bool:
        """Whether any process was seen on a GPU."""
        return any(node.processes for node in self.nodes)


@dataclass(frozen=True, kw_only=True)
class RunGpu:
    """One GPU of a run."""

    tile: Tile
    is_given: bool
    is_seen: bool
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class RunGpus:
    """The GPUs of one run: those it was given and those it was seen on. ``run`` is None when nobody measures it.

    ``flags`` are its own and those of its earlier attempts.
    """

    node: ShownNode | None
    tiles: Sequence[Tile]
    run: RunReading | None
    assigned: frozenset[str]
    memory_bytes: dict[str, int]
    flags: Sequence[str] = ()

    @property
    def rows(self) -> list[RunGpu]:
        """GPU by GPU: given, seen, and what it holds there."""
        observed = frozenset(self.run.observed) if self.run else frozenset()
        return [
            RunGpu(
                tile=tile,
                is_given=tile.uuid in self.assigned,
                is_seen=tile.uuid in observed,
                memory_bytes=self.memory_bytes.get(tile.uuid, 0),
            )
            for tile in self.tiles
        ]

    @property
    def given(self) -> list[Tile]:
        """The GPUs that it was given."""
        return [row.tile for row in self.rows if row.is_given]

    @property
    def seen(self) -> list[Tile]:
        """The GPUs on which a process of it was seen."""
        return [row.tile for row in self.rows if row.is_seen]


def gpu_fleet(nodes: Sequence[Node]) -> GpuFleet:
    """The GPUs of ``nodes`` as they are now: one query."""
    readings = latest_readings([node.name for node in nodes])
    known: dict[int, list[KnownGpu]] = defaultdict(list)
    for gpu in Gpu.objects.order_by("node_id", "index"):
        known[gpu.node_id].append(_known(gpu))
    now = time.time()
    shown = []
    for node in sorted(nodes, key=lambda each: each.name):
        reading = readings.get(node.name)
        sparks = _sparks(reading) if reading and reading.gpus else {}
        told = Told(name=node.name, known=known[node.pk], reading=reading, sparks=sparks)
        shown.append(shown_node(told, now=now))
    return GpuFleet(nodes=shown, sums=fleet_sums(readings.values(), nodes=len(nodes)))


@dataclass(frozen=True, kw_only=True)
class RunCounts:
    """How many runs answer, and how many are on their way."""

    ready: int
    on_their_way: int


def run_counts() -> RunCounts:
    """Counted now: one query."""
    counted = Deployment.objects.aggregate(
        ready=Count("pk", filter=Q(phase=Phase.READY)), on_their_way=Count("pk", filter=Q(phase__in=ON_ITS_WAY))
    )
    return RunCounts(**counted)


def run_gpus(deployment: Deployment) -> RunGpus:
    """What a run was given and what it uses: one query, none for a run without a node."""
    assigned = frozenset(deployment.gpu_uuids)
    if deployment.node is None:
        return RunGpus(node=None, tiles=[], run=None, assigned=assigned, memory_bytes={})
    readings = latest_readings([deployment.node.name])
    reading = readings.get(deployment.node.name)
    attempts = [each for each in reading.runs if each.deployment_id == deployment.pk] if reading else []
    # Memory that an earlier attempt still holds is told beside what the current one uses, not as its own.
    run = next((each for each in attempts if each.run_name == deployment.run_name), None)
    earlier = [each for each in attempts if each is not run]
    shown = gpu_fleet([deployment.node]).nodes[0]
    wanted = assigned.union(*(each.observed for each in attempts))
    tiles = [tile for tile in shown.tiles if tile.uuid in wanted]
    held = {
        tile.uuid: sum(part.size_bytes for part in tile.parts if part.key == f"run:{deployment.run_name}")
        for tile in tiles
    }
    flags = [*(run.flags if run else ()), *(["earlier"] if any("orphaned" in each.flags for each in earlier) else [])]
    return RunGpus(node=shown, tiles=tiles, run=run, assigned=assigned, memory_bytes=held, flags=flags)


def _sparks(reading: NodeReading) -> Mapping[str, Sequence[float | None]]:
    try:
        return sparklines([gpu.uuid for gpu in reading.gpus], node=reading.node)
    except RedisError as error:
        logger.warning("The sparklines of %s are not known: %s", reading.node, error)
        return {}


def _known(gpu: Gpu) -> KnownGpu:
    quarantined = quarantine_sentence(gpu.quarantine_params) if gpu.quarantined_at else ""
    return KnownGpu(uuid=gpu.uuid, index=gpu.index, name=gpu.name, quarantined=quarantined)
