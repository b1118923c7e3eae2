"""Whether the GPU memory of a run has returned, who holds it, and the quarantine of a GPU where it has not.

Only processes are counted, never the difference of two totals: memory of others that grows meanwhile is not ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from .actors import OPERATE, Actor
from .audit import record_audit
from .gpu_readings import GpuProcess, GpuReading, NodeReading, latest_readings
from .models import Deployment, Gpu, Node
from .redis import RedisError, client
from .redis_keys import gpu_peak

logger = logging.getLogger(__name__)
#: Used memory that no listed process explains and that still means nobody: less than any CUDA context takes.
UNEXPLAINED_BYTES = 200 * 1024**2


class MemoryState(StrEnum):
    """Whether a run's memory is back. UNCONFIRMED: nobody can tell, so it is not called free."""

    FREE = "free"
    HELD = "held"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process of ours that still holds memory. ``memory_bytes`` is None when the driver does not say."""

    gpu_uuid: str
    gpu_index: int
    pid: int
    memory_bytes: int | None
    user: str
    command: str
    run_name: str


@dataclass(frozen=True, kw_only=True)
class MemoryHeld:
    """What became of a run's GPU memory. ``why`` says for UNCONFIRMED what is missing:

    ``no_reading``, ``gpu_missing``, ``gpu_silent``, ``processes_hidden`` or ``owner_unknown``; ``detail`` is the
    driver's own sentence, if there is one.
    """

    state: MemoryState
    holders: tuple[Holder, ...] = ()
    why: str = ""
    detail: str = ""

    def params(self, deployment: Deployment) -> dict[str, Any]:
        """JSON for :func:`quarantine` and for a reason's parameters; says which deployment and who holds what."""
        return {
            "deployment": deployment.pk,
            "config": deployment.spec["config"],
            "state": str(self.state),
            "why": self.why,
            "holders": [asdict(holder) for holder in self.holders],
        }


def memory_held(deployment: Deployment) -> MemoryHeld:
    """Whether the GPUs of ``deployment`` still hold memory of any of its attempts. Asks Redis once; never raises."""
    if not deployment.gpu_uuids:
        return MemoryHeld(state=MemoryState.FREE)
    if deployment.node is None:
        return MemoryHeld(state=MemoryState.UNCONFIRMED, why="no_reading")
    reading = latest_readings([deployment.node.name]).get(deployment.node.name)
    return held_memory(reading, deployment.gpu_uuids, is_ours=runs_of(deployment.pk))


def runs_of(deployment_id: int) -> Callable[[str], bool]:
    """Whether a run's name is that of any attempt of this deployment."""
    prefix = f"berth-{settings.BERTH_INSTALLATION}-{deployment_id}-"
    return lambda run_name: run_name.startswith(prefix)


def held_memory(reading: NodeReading | None, gpu_uuids: Iterable[str], *, is_ours: Callable[[str], bool]) -> MemoryHeld:
    """The decision, from one reading. A holder anywhere counts for more than what is not known elsewhere."""
    if reading is None:
        return MemoryHeld(state=MemoryState.UNCONFIRMED, why="no_reading")
    measured = {gpu.uuid: gpu for gpu in reading.gpus}
    holders: list[Holder] = []
    doubts: list[tuple[str, str]] = []
    for uuid in gpu_uuids:
        gpu = measured.get(uuid)
        if gpu is None:
            doubts.append(("gpu_missing", reading.reason))
            continue
        ours = [process for process in gpu.processes or () if process.run_name and is_ours(process.run_name)]
        holders.extend(_holder(gpu, process) for process in ours)
        if doubt := _doubt(gpu):
            doubts.append((doubt, gpu.error or gpu.processes_error))
    if holders:
        return MemoryHeld(state=MemoryState.HELD, holders=tuple(holders))
    if doubts:
        why, detail = doubts[0]
        return MemoryHeld(state=MemoryState.UNCONFIRMED, why=why, detail=detail)
    return MemoryHeld(state=MemoryState.FREE)


def _doubt(gpu: GpuReading) -> str:
    """Why a GPU that lists no process of ours may yet hold our memory; empty when it does not."""
    if gpu.processes is None or gpu.memory_used_bytes is None:
        return "gpu_silent"
    if any(not process.attributed for process in gpu.processes):
        return "owner_unknown"
    # In a container without the host's process namespace the driver lists no processes, or a part of them.
    known = [process.memory_bytes for process in gpu.processes if process.memory_bytes is not None]
    if len(known) == len(gpu.processes) and gpu.memory_used_bytes - sum(known) > UNEXPLAINED_BYTES:
        return "processes_hidden"
    return ""


def _holder(gpu: GpuReading, process: GpuProcess) -> Holder:
    return Holder(
        gpu_uuid=gpu.uuid,
        gpu_index=gpu.index,
        pid=process.pid,
        memory_bytes=process.memory_bytes,
        user=process.user,
        command=process.command,
        run_name=process.run_name,
    )


def quarantine(gpu_uuids: Iterable[str], node: Node, params: Mapping[str, Any], *, actor: Actor | None = None) -> int:
    """Let nothing new be put on these GPUs; how many were not quarantined before. Repeatable.

    ``params`` (see :meth:`MemoryHeld.params`) name the deployment whose memory did not return; without one it is
    lifted by hand only. Without ``actor`` it is Berth itself. Raises NotAllowedError.
    """
    actor = actor or Actor.berth()
    actor.require(OPERATE)
    with transaction.atomic():
        free = list(Gpu.objects.filter(node=node, uuid__in=list(gpu_uuids), quarantined_at=None))
        changed = [gpu for gpu in free if _set_quarantine(gpu, params)]
        for gpu in changed:
            record_audit(actor, "gpu.quarantine", f"{node.name} GPU {gpu.index}", uuid=gpu.uuid, **params)
    return len(changed)


def lift_quarantine(gpu_uuids: Iterable[str], node: Node, *, actor: Actor) -> int:
    """Let these GPUs be used again; how many were quarantined. Repeatable. Raises NotAllowedError."""
    actor.require(OPERATE)
    with transaction.atomic():
        held = list(Gpu.objects.filter(node=node, uuid__in=list(gpu_uuids), quarantined_at__isnull=False))
        lifted = [gpu for gpu in held if _lift(gpu)]
        for gpu in lifted:
            record_audit(actor, "gpu.lift_quarantine", f"{node.name} GPU {gpu.index}", uuid=gpu.uuid)
    return len(lifted)


def lift_returned(node_name: str, reading: NodeReading) -> Sequence[Gpu]:
    """Lift each quarantine whose memory has returned by ``reading``; called by the node's agent. One query at rest."""
    lifted = []
    for gpu in Gpu.objects.filter(node__name=node_name, quarantined_at__isnull=False).select_related("node"):
        deployment = gpu.quarantine_params.get("deployment")
        if not isinstance(deployment, int):
            continue
        if held_memory(reading, [gpu.uuid], is_ours=runs_of(deployment)).state is MemoryState.FREE:
            if not lift_quarantine([gpu.uuid], gpu.node, actor=Actor.berth()):
                continue
            logger.info("GPU %s is used again: the memory of deployment %s has returned", gpu.index, deployment)
            lifted.append(gpu)
    return lifted


def quarantine_sentence(params: Mapping[str, Any]) -> str:
    """Why a GPU is quarantined, naming the holder, in the reader's language."""
    holders = params.get("holders") or []
    told = {"config": params.get("config", "?"), "deployment": params.get("deployment", "?")}
    if not params.get("deployment"):
        return str(params.get("note") or _("An operator took this GPU out of use."))
    if not holders:
        return _("Nobody can tell whether the memory of %(config)s (deployment %(deployment)s) has returned.") % told
    first = holders[0]
    known = [one["memory_bytes"] for one in holders if one.get("memory_bytes") is not None]
    told |= {
        "pid": first["pid"],
        "command": first["command"] or "?",
        "user": first["user"] or "?",
        "memory": f"{sum(known) / 1024**3:.1f} GiB" if len(known) == len(holders) else _("memory"),
    }
    return (
        _(
            "%(config)s (deployment %(deployment)s) has ended, but its process %(pid)s (%(command)s, user %(user)s) "
            "still holds %(memory)s."
        )
        % told
    )


def observed_peak(deployment: Deployment) -> int | None:
    """The most memory in bytes that the current attempt was seen to hold, over all its GPUs; None when unknown."""
    try:
        text = client().get(gpu_peak(deployment.run_name))
    except RedisError as error:
        logger.warning("The peak memory of %s is not known: %s", deployment.run_name, error)
        return None
    return int(text) if text and text.isdigit() else None


def _set_quarantine(gpu: Gpu, params: Mapping[str, Any]) -> bool:
    found = Gpu.objects.filter(pk=gpu.pk, quarantined_at=None)
    return bool(found.update(quarantined_at=Now(), quarantine_params=dict(params)))


def _lift(gpu: Gpu) -> bool:
    found = Gpu.objects.filter(pk=gpu.pk, quarantined_at__isnull=False)
    return bool(found.update(quarantined_at=None, quarantine_params={}))
