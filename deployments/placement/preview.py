"""Where a config would go now, as pages and commands show it: the answer, and a drawing of every GPU."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from deployments.models import Config, Deployment, Node

from .choosing import choose
from .obstacles import why_not_gpu, why_not_node
from .situation import Fleet, request_of
from .views import GIB, Choice, GpuView, Refusal, Request, Why


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a GPU's memory, in percent of it. ``kind`` is held, foreign or used; ``config`` names a holder."""

    kind: str
    start: float
    width: float
    config: str = ""


@dataclass(frozen=True, kw_only=True)
class DrawnGpu:
    """One GPU of the drawing; ``chosen`` when the config would get it, ``why`` when it could not get it."""

    gpu: GpuView
    segments: Sequence[Segment]
    chosen: bool
    why: Why | None = None

    @property
    def free_gib(self) -> float | None:
        """Free memory as measured; None when it is not known."""
        return None if self.gpu.free_bytes is None else self.gpu.free_bytes / GIB

    @property
    def memory_gib(self) -> float:
        """All memory of it."""
        return self.gpu.memory_bytes / GIB


@dataclass(frozen=True, kw_only=True)
class DrawnNode:
    """A node with its GPUs by index; ``why`` when it is no candidate, ``may_be_chosen`` when it is one by itself."""

    name: str
    gpus: Sequence[DrawnGpu]
    in_maintenance: bool
    why: Why | None = None
    may_be_chosen: bool = True

    @property
    def is_real(self) -> bool:
        """Whether it has GPUs that are not of a recording."""
        return any(not drawn.gpu.replay for drawn in self.gpus)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The answer for one config's ``request``, and every node that has GPUs.

    While the config runs, nothing else is started of it: ``running`` is that run, and its GPUs are the chosen ones.
    ``is_incomplete`` when GPUs were chosen and not as many as it needs: they are drawn, the answer leaves them out.
    """

    request: Request
    answer: Choice | Refusal
    nodes: Sequence[DrawnNode]
    running: Deployment | None = None
    is_incomplete: bool = False

    @property
    def choice(self) -> Choice | None:
        """Where it would go."""
        return self.answer if isinstance(self.answer, Choice) else None

    @property
    def refusal(self) -> Refusal | None:
        """Why it would wait."""
        return self.answer if isinstance(self.answer, Refusal) else None

    @property
    def chosen_indexes(self) -> list[int]:
        """The indexes of the GPUs that it would get."""
        return [gpu.gpu.index for node in self.nodes for gpu in node.gpus if gpu.chosen]


def preview_placement(
    config: Config,
    *,
    node: str = "",
    gpus: Collection[int] = (),
    running: Deployment | None = None,
    fleet: Fleet | None = None,
) -> Preview:
    """Where a start of ``config`` would go as things are, or where it runs. Takes nothing.

    ``node`` and the indexes ``gpus`` are what an operator would choose.
    """
    seen = fleet or Fleet()
    spec = config.serving_spec()
    views = {view.name: view for view in seen.views(spec)}
    picked = frozenset(gpu.uuid for gpu in views[node].gpus if gpu.index in gpus) if node in views else frozenset()
    is_incomplete = bool(picked) and len(picked) != spec.gpus
    request = request_of(spec, node=node, gpu_uuids=() if is_incomplete else sorted(picked))
    by_itself = request_of(spec)
    answer = choose(request, list(views.values()))
    chosen = (node, picked) if is_incomplete and not running else _marked(answer, running)
    drawn = [
        DrawnNode(
            name=each.name,
            gpus=[
                draw(
                    gpu,
                    chosen=each.name == chosen[0] and gpu.uuid in chosen[1],
                    why=None if running or not request.gpus else why_not_gpu(request, gpu),
                )
                for gpu in seen.gpus(each)
            ],
            in_maintenance=each.maintenance_since is not None,
            why=None if running else why_not_node(request, views[each.name]),
            may_be_chosen=why_not_node(by_itself, views[each.name]) is None,
        )
        for each in seen.nodes
    ]
    return Preview(
        request=request,
        answer=answer,
        nodes=[each for each in drawn if each.gpus],
        running=running,
        is_incomplete=is_incomplete,
    )


def _marked(answer: Choice | Refusal, running: Deployment | None) -> tuple[str, frozenset[str]]:
    """Node and GPUs to be marked in the drawing."""
    if running is not None:
        return (running.node.name if running.node else ""), frozenset(running.gpu_uuids)
    return (answer.node, frozenset(answer.gpu_uuids)) if isinstance(answer, Choice) else ("", frozenset())


def draw(gpu: GpuView, *, chosen: bool = False, why: Why | None = None) -> DrawnGpu:
    """The parts of a GPU's memory: its holder's, foreign processes', and what else is used."""
    total = gpu.memory_bytes or 1
    used = total - gpu.free_bytes if gpu.free_bytes is not None else 0
    foreign = sum(process.memory_bytes or 0 for process in gpu.foreign)
    held = gpu.returned_bytes
    parts = (
        ("held", held, gpu.holder.config if gpu.holder else ""),
        ("foreign", foreign, ""),
        ("used", max(0, used - foreign - held), ""),
    )
    segments, start = [], 0.0
    for kind, size, config in parts:
        width = 100 * size / total
        if width > 0:
            segments.append(Segment(kind=kind, start=round(start, 2), width=round(width, 2), config=config))
        start += width
    return DrawnGpu(gpu=gpu, segments=segments, chosen=chosen, why=why)


def nodes_with_gpus(fleet: Fleet) -> list[tuple[Node, list[DrawnGpu]]]:
    """Every node with all its GPUs, drawn."""
    return [(node, [draw(gpu) for gpu in fleet.gpus(node)]) for node in fleet.nodes]
