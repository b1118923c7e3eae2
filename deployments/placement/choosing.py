"""The pure choice: the best node and GPUs for a request, or exactly why there are none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from .obstacles import obstacles, short_detail
from .views import Choice, GpuView, Holder, NodeView, Refusal, Request

#: More holders than this at once are not offered to be stopped: that is a decision for people, not for a button.
MOST_STOPS = 4


def choose(request: Request, nodes: Sequence[NodeView]) -> Choice | Refusal:
    """The same answer for the same situation, whatever the order of ``nodes``.

    Prefers GPUs of one island, then those that nobody else computes on, then a node that has the image and the
    weights, then the tightest fit, so that the largest island stays whole for what needs it.
    """
    eligible, refusal = _eligible(request, nodes)
    if refusal is not None:
        return replace(refusal, obstacles=obstacles(request, nodes))
    found = [(node, _pick(request, node)) for node in eligible]
    fitting = [(node, gpus) for node, gpus in found if gpus is not None]
    if fitting:
        node, gpus = min(fitting, key=lambda pair: _cost(request, *pair))
        return Choice(
            node=node.name,
            gpu_uuids=tuple(gpu.uuid for gpu in gpus),
            one_island=len({gpu.island for gpu in gpus}) <= 1,
            has_image=node.has_image,
            has_weights=node.has_weights,
        )
    return replace(_refuse(request, eligible), obstacles=obstacles(request, nodes))


def _eligible(request: Request, nodes: Sequence[NodeView]) -> tuple[list[NodeView], Refusal | None]:
    """The nodes that could take it, narrowed step by step; the first step that leaves none is the reason."""
    left = sorted(nodes, key=lambda node: node.name)
    for code, keep in (
        ("pinned_node_unknown", lambda node: not request.node or node.name == request.node),
        ("no_node_answers", lambda node: node.is_fresh),
        ("no_node_offers_runtime", lambda node: request.runtime in node.runtimes),
        ("node_in_maintenance", lambda node: not node.in_maintenance),
    ):
        kept = [node for node in left if keep(node)]
        if not kept:
            detail = request.node or ", ".join(node.name for node in left)
            return [], Refusal(code=_said_of_pin(code, request, nodes), detail=detail)
        left = kept
    return left, None


def _said_of_pin(code: str, request: Request, nodes: Sequence[NodeView]) -> str:
    if not nodes:
        return "no_node_answers"
    return "pinned_node_silent" if request.node and code == "no_node_answers" else code


def _pick(request: Request, node: NodeView) -> tuple[GpuView, ...] | None:
    """The best GPUs of one node; None when it has too few that are free. Empty for a request without GPUs."""
    if not request.gpus:
        return ()
    wanted = [gpu for gpu in node.gpus if not request.gpu_uuids or gpu.uuid in request.gpu_uuids]
    free = [gpu for gpu in wanted if gpu.fits(request.memory_bytes)]
    if len(free) < request.gpus:
        return None
    unshared = [gpu for gpu in free if not gpu.is_shared]
    islands = _large_enough(unshared, request) or _large_enough(free, request)
    pool = min(islands, key=lambda island: (len(island), island[0].index)) if islands else free
    tightest = sorted(pool, key=lambda gpu: (gpu.is_shared, gpu.free_bytes or 0, gpu.index))[: request.gpus]
    return tuple(sorted(tightest, key=lambda gpu: gpu.index))


def _large_enough(gpus: Iterable[GpuView], request: Request) -> list[list[GpuView]]:
    return [island for island in _islands(gpus) if len(island) >= request.gpus]


def _islands(gpus: Iterable[GpuView]) -> list[list[GpuView]]:
    grouped: defaultdict[str, list[GpuView]] = defaultdict(list)
    for gpu in sorted(gpus, key=lambda gpu: gpu.index):
        grouped[gpu.island].append(gpu)
    return list(grouped.values())


def _cost(request: Request, node: NodeView, gpus: Sequence[GpuView]) -> tuple[object, ...]:
    apart = len({gpu.island for gpu in gpus}) > 1
    shared = sum(gpu.is_shared for gpu in gpus)
    free = sum(gpu.fits(request.memory_bytes) for gpu in node.gpus) if request.gpus else 0
    return apart, shared, not node.has_image, not node.has_weights, free - len(gpus), node.live, node.name


def _refuse(request: Request, nodes: Sequence[NodeView]) -> Refusal:
    detail = short_detail(request, nodes)
    possible = [node for node in nodes if _could_ever(request, node)]
    if not possible:
        return Refusal(code="fits_nowhere", detail=detail)
    code = "pinned_gpus_held" if request.gpu_uuids else "gpus_held"
    return Refusal(code=code, detail=detail, stops=_fewest_stops(request, possible))


def _could_ever(request: Request, node: NodeView) -> bool:
    """Whether an otherwise empty node would do."""
    big = [gpu for gpu in node.gpus if not gpu.replay and gpu.memory_bytes >= request.memory_bytes]
    if request.gpu_uuids:
        big = [gpu for gpu in big if gpu.uuid in request.gpu_uuids]
    return len(big) >= request.gpus


def _fewest_stops(request: Request, nodes: Sequence[NodeView]) -> tuple[Holder, ...]:
    """The smallest set of holders of one node whose stop makes room; the first by node and id among equals."""
    best: tuple[Holder, ...] = ()
    for node in nodes:
        usable = [gpu for gpu in node.gpus if not request.gpu_uuids or gpu.uuid in request.gpu_uuids]
        gained = [gpu for gpu in usable if gpu.would_fit(request.memory_bytes)]
        holders = sorted({gpu.holder for gpu in gained if gpu.holder}, key=lambda holder: holder.deployment_id)
        most = min(MOST_STOPS, len(holders), len(best) - 1 if best else MOST_STOPS)
        for count in range(1, most + 1):
            enough = [
                chosen
                for chosen in combinations(holders, count)
                if sum(gpu.holder in chosen if gpu.holder else gpu.fits(request.memory_bytes) for gpu in gained)
                >= request.gpus
            ]
            if enough:
                best = enough[0]
                break
    return best
