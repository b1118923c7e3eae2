"""What is in the way of a request: for every node and GPU that it could not be given, why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .views import GIB, GpuView, NodeView, Obstacle, Request, Why


def obstacles(request: Request, nodes: Iterable[NodeView]) -> tuple[Obstacle, ...]:
    """In order of nodes and GPUs. A free GPU has none: there are only too few of them."""
    return tuple(each for node in sorted(nodes, key=lambda node: node.name) for each in _of_node(request, node))


def _of_node(request: Request, node: NodeView) -> Iterator[Obstacle]:
    why = why_not_node(request, node)
    if why is not None:
        yield Obstacle(node=node.name, why=why)
        return
    for gpu in sorted(node.gpus, key=lambda gpu: gpu.index):
        reason = why_not_gpu(request, gpu)
        if reason is not None:
            yield Obstacle(node=node.name, why=reason, gpu=gpu)


def why_not_node(request: Request, node: NodeView) -> Why | None:
    """Why the node as a whole is no candidate; None when it is one."""
    if request.node and node.name != request.node:
        return Why.OTHER_NODE
    if not node.is_fresh:
        return Why.SILENT
    if request.runtime not in node.runtimes:
        return Why.NO_RUNTIME
    if node.in_maintenance:
        return Why.MAINTENANCE
    return Why.TOO_FEW if len(node.gpus) < request.gpus else None


def why_not_gpu(request: Request, gpu: GpuView) -> Why | None:
    """Why the GPU cannot be given now; None exactly when it can."""
    if request.gpu_uuids and gpu.uuid not in request.gpu_uuids:
        return Why.OTHER_GPU
    if gpu.replay:
        return Why.REPLAY
    if gpu.memory_bytes < request.memory_bytes:
        return Why.TOO_SMALL
    if gpu.holder is not None:
        return Why.HELD
    if gpu.quarantined:
        return Why.QUARANTINED
    if gpu.free_bytes is None:
        return Why.UNMEASURED
    return None if gpu.fits(request.memory_bytes) else Why.MEMORY_USED


def short_detail(request: Request, nodes: Sequence[NodeView]) -> str:
    """What is in the way on the candidates, in names and numbers that need no translation.

    Nodes with too few GPUs are left out where others have enough.
    """
    enough = [node for node in nodes if len(node.gpus) >= request.gpus]
    return "; ".join(_node_detail(request, node) for node in enough or nodes)


def _node_detail(request: Request, node: NodeView) -> str:
    ordered = sorted(node.gpus, key=lambda gpu: gpu.index)
    in_the_way = [gpu for gpu in ordered if why_not_gpu(request, gpu) not in {None, Why.OTHER_GPU}]
    told = [f"GPU {gpu.index} {_gpu_detail(request, gpu)}" for gpu in in_the_way]
    return f"{node.name}: " + (", ".join(told) or f"{len(ordered)} GPU")


def _gpu_detail(request: Request, gpu: GpuView) -> str:
    match why_not_gpu(request, gpu):
        case Why.REPLAY:
            return "(replay)"
        case Why.HELD if gpu.holder is not None:
            return f"← {gpu.holder.config} #{gpu.holder.deployment_id}"
        case Why.QUARANTINED:
            return "(quarantine)"
        case Why.TOO_SMALL:
            return f"{gpu.memory_bytes / GIB:.0f} < {request.memory_bytes / GIB:.1f} GiB"
    if gpu.free_bytes is None:
        return f"(? {gpu.trouble})" if gpu.trouble else "(?)"
    told = f"{gpu.free_bytes / GIB:.1f}/{gpu.memory_bytes / GIB:.0f} GiB"
    for process in gpu.foreign[:3]:
        held = "" if process.memory_bytes is None else f" {process.memory_bytes / GIB:.1f} GiB"
        told += f" ← pid {process.pid} {process.command or '?'} ({process.user or '?'}){held}"
    return told
