"""GPUs as the pages draw them: bars in percent, sparklines as points, sums of the fleet. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deployments.gpu_readings import REPLAY, GpuProcess, GpuReading, HostReading, NodeReading, RunReading
from deployments.gpu_reasons import in_words

from .gpu_verdicts import NAMED_FROM_BYTES, Surroundings, Verdict, run_of, verdict_of
from .gpu_words import limiter_words

#: What a deployment or a stranger holds is named from here on: less would read as 0.0 GiB.
HELD_FROM_BYTES = 1 << 26
SPARK_POINTS = 90
SPARK_HEIGHT = 20.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a GPU's memory; ``start`` and ``width`` are percent of it.

    ``kind`` is held (a deployment's, ``run`` is known unless its node tells nothing), foreign, unknown (nobody can tell
    whose the process is), used (no process explains it) or reserved. ``key`` is stable: the page updates parts by it.
    """

    key: str
    kind: str
    size_bytes: int
    start: float
    width: float
    config: str = ""
    deployment_id: int | None = None

    @property
    def is_named(self) -> bool:
        """Whether the key beside the bar names it."""
        held = self.kind in {"held", "foreign"}
        return self.size_bytes >= (HELD_FROM_BYTES if held else NAMED_FROM_BYTES)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One GPU of a page. ``gpu`` is None while its node tells nothing."""

    node: str
    uuid: str
    index: int
    name: str
    gpu: GpuReading | None
    verdict: Verdict
    at: float | None = None
    is_replay: bool = False
    parts: Sequence[Part] = ()
    spark: Sequence[float | None] = ()
    limiter: str = ""

    @property
    def short_name(self) -> str:
        """The name without its maker: ``H200``; of an instance its profile: ``MIG 1g.18gb``."""
        if self.gpu is not None and self.gpu.parent_uuid:
            return "MIG" + self.name.partition(" MIG")[2]
        return self.name.removeprefix("NVIDIA ").removeprefix("GeForce ")

    @property
    def spark_path(self) -> str:
        """Its utilisation of the last 15 minutes, drawn."""
        return spark_path(self.spark)

    @property
    def spark_values(self) -> str:
        """The same for the page, which goes on drawing: ``12,,40``."""
        return ",".join("" if value is None else str(round(value)) for value in self.spark[-SPARK_POINTS:])

    @property
    def power_percent(self) -> float | None:
        """Power in percent of the limit, 100 at most."""
        return None if self.gpu is None else percent(self.gpu.power_watts, self.gpu.power_limit_watts)


@dataclass(frozen=True, kw_only=True)
class ProcessRow:
    """A process of the table; ``run`` is None for a foreign one."""

    uuid: str
    index: int
    process: GpuProcess
    run: RunReading | None


@dataclass(frozen=True, kw_only=True)
class ShownNode:
    """A node with its GPUs. ``silent`` when its agent tells nothing; ``reason`` says why it has no GPUs."""

    name: str
    silent: bool
    tiles: Sequence[Tile] = ()
    at: float | None = None
    driver: str = ""
    source: str = ""
    reason: str = ""
    host: HostReading | None = None
    processes: Sequence[ProcessRow] = ()
    #: Listing them failed on some GPU, and why.
    processes_error: str = ""

    @property
    def is_replay(self) -> bool:
        """Whether what it shows is a recording."""
        return self.source.startswith(REPLAY)


@dataclass(frozen=True, kw_only=True)
class FleetSums:
    """All GPUs together; a sum counts what was measured."""

    nodes: int = 0
    gpus: int = 0
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    power_watts: float | None = None
    is_replay: bool = False


@dataclass(frozen=True, kw_only=True)
class KnownGpu:
    """What the database knows of a GPU: shown while nothing is measured."""

    uuid: str
    index: int
    name: str
    quarantined: str = ""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is known of one node: its GPUs as recorded, and its agent's last word if that is fresh."""

    name: str
    known: Sequence[KnownGpu] = ()
    reading: NodeReading | None = None
    sparks: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


def shown_node(told: Told, *, now: float) -> ShownNode:
    """One node for the page."""
    reading = told.reading
    if reading is None:
        return ShownNode(name=told.name, silent=True, tiles=[_silent_tile(told.name, gpu) for gpu in told.known])
    quarantined = {gpu.uuid: gpu.quarantined for gpu in told.known}
    is_replay = reading.is_replay
    tiles = []
    for gpu in reading.gpus:
        around = Surroundings(
            runs=reading.runs, now=now, is_replay=is_replay, quarantined=quarantined.get(gpu.uuid, "")
        )
        tiles.append(
            Tile(
                node=told.name,
                uuid=gpu.uuid,
                index=gpu.index,
                name=gpu.name or next((each.name for each in told.known if each.uuid == gpu.uuid), ""),
                gpu=gpu,
                verdict=verdict_of(gpu, around),
                at=reading.at,
                is_replay=is_replay,
                parts=memory_parts(gpu, reading.runs),
                spark=tuple(told.sparks.get(gpu.uuid, ())),
                limiter=limiter_words(gpu.limited_s),
            )
        )
    return ShownNode(
        name=told.name,
        silent=False,
        tiles=tiles,
        at=reading.at,
        driver=reading.driver,
        source=reading.source,
        reason=in_words(reading.reason),
        host=reading.host,
        processes=process_rows(reading),
        processes_error=in_words(next((gpu.processes_error for gpu in reading.gpus if gpu.processes_error), "")),
    )


def memory_parts(gpu: GpuReading, runs: Sequence[RunReading]) -> list[Part]:
    """Whose the memory is, from the left: deployments, foreign, not known, unexplained; reserved ends the bar.

    Foreign, used and reserved are always there, perhaps with no width: the page then only moves edges.
    """
    total = gpu.memory_total_bytes
    if not total:
        return []
    held, owner, sums = _held(gpu.processes or (), runs)
    explained = sum(held.values()) + sum(sums.values())
    reserved = gpu.memory_reserved_bytes or 0
    sizes = [(f"run:{name}", "held", size) for name, size in held.items()]
    sizes += [(kind, kind, sums[kind]) for kind in ("foreign", "unknown")]
    sizes.append(("used", "used", max(0, (gpu.memory_used_bytes or 0) - explained)))
    parts, start = [], 0.0
    for key, kind, size in sizes:
        width = min(100 * size / total, 100 - start)
        run = owner.get(key)
        parts.append(
            Part(
                key=key,
                kind=kind,
                size_bytes=size,
                start=round(start, 3),
                width=round(width, 3),
                config=run.config if run else "",
                deployment_id=run.deployment_id if run else None,
            )
        )
        start += width
    width = min(100 * reserved / total, 100 - start)
    parts.append(
        Part(key="reserved", kind="reserved", size_bytes=reserved, start=round(100 - width, 3), width=round(width, 3))
    )
    return parts


def _held(
    processes: Iterable[GpuProcess], runs: Sequence[RunReading]
) -> tuple[dict[str, int], dict[str, RunReading], dict[str, int]]:
    """Bytes by run name, the run of each part's key, and the bytes of foreign and unknown processes."""
    held: dict[str, int] = defaultdict(int)
    owner: dict[str, RunReading] = {}
    sums = {"foreign": 0, "unknown": 0}
    for process in processes:
        size = process.memory_bytes or 0
        if process.run_name:
            held[process.run_name] += size
            if run := run_of(process, runs):
                owner[f"run:{process.run_name}"] = run
        else:
            sums["foreign" if process.attributed else "unknown"] += size
    return dict(sorted(held.items())), owner, sums


def process_rows(reading: NodeReading) -> list[ProcessRow]:
    """Every process on the node's GPUs, the largest of each GPU first."""
    return [
        ProcessRow(uuid=gpu.uuid, index=gpu.index, process=process, run=run_of(process, reading.runs))
        for gpu in reading.gpus
        for process in sorted(gpu.processes or (), key=lambda each: -(each.memory_bytes or 0))
    ]


def spark_path(values: Sequence[float | None]) -> str:
    """An SVG path over 0 to 90 and 20 to 0 for values of 0 to 100 percent, the newest at the right; gaps stay gaps."""
    shown = list(values)[-SPARK_POINTS:]
    offset = SPARK_POINTS - len(shown)
    path, is_down = [], False
    for place, value in enumerate(shown, start=offset):
        if value is None:
            is_down = False
            continue
        height = SPARK_HEIGHT - min(max(value, 0.0), 100.0) * SPARK_HEIGHT / 100
        path.append(f"{'L' if is_down else 'M'}{place} {height:.1f}")
        if not is_down and (place + 1 - offset >= len(shown) or shown[place + 1 - offset] is None):
            path.append("h.5")  # a value between two gaps is a dot
        is_down = True
    return "".join(path)


def fleet_sums(readings: Iterable[NodeReading], *, nodes: int) -> FleetSums:
    """The fleet's line. MIG instances are parts of their GPU and do not count again."""
    told = list(readings)
    gpus = [gpu for reading in told for gpu in reading.gpus if not gpu.parent_uuid]
    watts = [gpu.power_watts for gpu in gpus if gpu.power_watts is not None]
    return FleetSums(
        nodes=nodes,
        gpus=len(gpus),
        memory_used_bytes=sum(gpu.memory_used_bytes or 0 for gpu in gpus),
        memory_total_bytes=sum(gpu.memory_total_bytes or 0 for gpu in gpus),
        power_watts=sum(watts) if watts else None,
        is_replay=any(reading.is_replay for reading in told),
    )


def percent(part: float | None, whole: float | None) -> float | None:
    """``part`` of ``whole`` in percent, at most 100; None when either is not known."""
    return None if part is None or not whole else round(min(100.0, 100 * part / whole), 1)


def _silent_tile(node: str, gpu: KnownGpu) -> Tile:
    verdict = verdict_of(None, Surroundings())
    return Tile(node=node, uuid=gpu.uuid, index=gpu.index, name=gpu.name, gpu=None, verdict=verdict)
