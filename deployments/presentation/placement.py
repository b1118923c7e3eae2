"""Placement in words: what is in the way of a request, and in the catalogue's few, whether a config fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.gpu_readings import GpuProcess, NodeReading
from deployments.lifecycle.reasons import Explanation, explain
from deployments.models import Node
from deployments.placement.fits import Fits, FitsKind
from deployments.placement.views import GIB, GpuView, Obstacle, Refusal, Request, Why

#: Refusals that are about GPUs: said with what is asked for, since the drawing shows the rest.
ABOUT_GPUS = frozenset({"gpus_held", "pinned_gpus_held", "fits_nowhere"})

#: What the drawing of a GPU shows by itself: its holder, a chip, or the memory that was not measured.
DRAWN = frozenset({Why.HELD, Why.QUARANTINED, Why.REPLAY, Why.UNMEASURED})


def gib(size: int | float | None) -> str:
    """``36 GiB``, with one decimal where it matters; a question mark when unknown."""
    if size is None:
        return "?"
    amount = size / GIB
    return f"{number_format(amount, decimal_pos=0 if amount == int(amount) else 1)} GiB"


def holder_words(process: GpuProcess) -> str:
    """``pid 8123 python3 (root) 60 GiB``: what is not known is left out."""
    parts = [f"pid {process.pid}", process.command, f"({process.user})" if process.user else ""]
    parts.append("" if process.memory_bytes is None else gib(process.memory_bytes))
    return " ".join(part for part in parts if part)


def node_words(node: Node, reading: NodeReading | None, gpus: Sequence[GpuView]) -> list[str]:
    """``docker 27.1.1``, ``process``, ``driver 580.159``, ``4 × H200``; what is not known is left out."""
    versions = node.facts.get("versions", {})
    has = [f"{name} {versions.get(name, '')}".rstrip() for name in node.runtimes]
    if reading and reading.driver:
        has.append(_("driver %(version)s") % {"version": reading.driver})
    kinds = Counter(gpu.name.removeprefix("NVIDIA ") for gpu in gpus)
    has += [f"{count} × {kind}" for kind, count in kinds.items() if kind]
    if reading and reading.is_replay:
        has.append(reading.source)
    return has


def refusal_words(refusal: Refusal, request: Request) -> Explanation:
    """Why a start would wait, and what to do. Without the detail of each GPU."""
    plain = explain(refusal.code, {"detail": refusal.detail, "runtime": request.runtime})
    if refusal.code not in ABOUT_GPUS:
        return plain
    if refusal.code == "pinned_gpus_held":
        return Explanation(sentence=_("Not now: the GPUs that were chosen are not free."), next_step=plain.next_step)
    next_step = plain.next_step
    if refusal.code == "gpus_held" and not refusal.stops:
        next_step = _("It starts by itself once they are free. Stopping a few deployments would not be enough.")
    wanted = {"count": request.gpus, "memory": gib(request.memory_bytes)}
    if refusal.code == "fits_nowhere":
        sentence = ngettext(
            "Nowhere: no node has %(count)s GPU of at least %(memory)s.",
            "Nowhere: no node has %(count)s GPUs of at least %(memory)s each.",
            request.gpus,
        )
    else:
        sentence = ngettext(
            "Not now: no node has %(count)s GPU with %(memory)s free.",
            "Not now: no node has %(count)s GPUs with %(memory)s free each.",
            request.gpus,
        )
    return Explanation(sentence=sentence % wanted, next_step=next_step)


def node_obstacle(why: Why, request: Request) -> str:
    """What keeps a whole node from being a candidate."""
    match why:
        case Why.OTHER_NODE:
            return _("another node was chosen")
        case Why.SILENT:
            return _("it has not reported in the last 15 seconds")
        case Why.NO_RUNTIME:
            return _("it does not offer the runtime “%(runtime)s”") % {"runtime": request.runtime}
        case Why.MAINTENANCE:
            return _("it is in maintenance")
        case _:
            return ngettext("it has fewer than %(count)s GPU", "it has fewer than %(count)s GPUs", request.gpus) % {
                "count": request.gpus
            }


def gpu_obstacle(why: Why, gpu: GpuView, request: Request) -> str:
    """What keeps one GPU from being given."""
    match why:
        case Why.OTHER_GPU:
            return _("another GPU was chosen")
        case Why.REPLAY:
            return _("it is of a recording, where nothing can run")
        case Why.TOO_SMALL:
            return _("too small: %(memory)s are needed") % {"memory": gib(request.memory_bytes)}
        case Why.HELD:
            config, number = (gpu.holder.config, gpu.holder.deployment_id) if gpu.holder else ("?", "?")
            return _("held by %(config)s (deployment %(number)s)") % {"config": config, "number": number}
        case Why.QUARANTINED:
            return _("quarantined: memory of a stopped run did not return")
        case Why.UNMEASURED:
            told = _("not measured now: %(trouble)s") if gpu.trouble else _("not measured now")
            return told % {"trouble": gpu.trouble}
    return _("too little free: %(memory)s are needed") % {"memory": gib(request.memory_bytes)}


def obstacle_lines(obstacles: Sequence[Obstacle], request: Request) -> list[str]:
    """One line for each, as the command line prints them: ``gpu-01 GPU 2: held by llama3-8b (deployment 5)``."""
    return [_line(each, request) for each in obstacles]


def _line(obstacle: Obstacle, request: Request) -> str:
    gpu = obstacle.gpu
    if gpu is None:
        return f"{obstacle.node}: {node_obstacle(obstacle.why, request)}"
    parts = [gpu_obstacle(obstacle.why, gpu, request)]
    if obstacle.why is Why.MEMORY_USED:
        free = {"free": gib(gpu.free_bytes), "total": gib(gpu.memory_bytes)}
        parts = [*parts, _("%(free)s of %(total)s free") % free, *map(holder_words, gpu.foreign)]
    return f"{obstacle.node} GPU {gpu.index}: " + "; ".join(parts)


def fits_words(fits: Fits) -> str:
    """``gpu-01 now``, ``after stopping llama3-8b``, ``nowhere``: what the catalogue says after “fits”."""
    match fits.kind:
        case FitsKind.NOW:
            return _("fits: %(node)s now") % {"node": fits.node}
        case FitsKind.AFTER_STOPPING:
            return _("fits: after stopping %(names)s") % {"names": ", ".join(each.config for each in fits.stops)}
        case FitsKind.WAITS:
            return _("fits: not now")
        case FitsKind.NOWHERE:
            return _("fits: nowhere")
        case FitsKind.NO_NODE:
            return _("fits: no node takes it now")


def fits_help(fits: Fits) -> str:
    """The whole sentence, for the tooltip."""
    return "" if fits.refusal is None else refusal_words(fits.refusal, fits.request).sentence
