"""The verdict on a GPU: the one thing to know about it, why, and what to do. Pure: from readings alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.gpu_readings import GpuProcess, GpuReading, RunReading
from deployments.gpu_reasons import in_words

from .placement import gib, holder_words
from .words import duration_words

#: Held back by its power limit for half of the last minute or more.
POWER_CAPPED_LONG_S = 30
#: Heat slows it for so long: a second or two is the edge of normal.
HOT_S = 5
HOT_CELSIUS = 88
#: Memory on the GPU's package bears more.
HOT_MEMORY_CELSIUS = 95
NEARLY_FULL = 0.97
#: Memory that no process explains is told from here on; drivers always keep a little.
NAMED_FROM_BYTES = 1 << 29
#: A fault that the driver reported so long ago is history.
XID_RECENT_S = 3600.0
_NO_ACTION = frozenset({"", "none"})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a GPU is: a word with icon and tone (good, warn, bad or idle), why, and what to do about it.

    ``key`` is stable: ok, idle, hot, power_capped, nearly_full, foreign, unknown_process, orphaned, elsewhere,
    ecc, remapped, recovery, fault, slowed, lost, stale, no_permission, silent, quarantined, degraded, hidden.
    """

    key: str
    tone: str
    icon: str
    word: str
    sentence: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a verdict needs beside the reading: the node's runs, its age, and what Berth decided about the GPU."""

    runs: Sequence[RunReading] = ()
    now: float = 0.0
    is_replay: bool = False
    quarantined: str = ""


def run_of(process: GpuProcess, runs: Sequence[RunReading]) -> RunReading | None:
    """The run that a process belongs to; None for a foreign one, and where the node tells nothing of the run."""
    return next((run for run in runs if process.run_name and run.run_name == process.run_name), None)


def verdict_of(gpu: GpuReading | None, around: Surroundings) -> Verdict:
    """The one thing about this GPU that a person should know, the worst first."""
    if gpu is None:
        return _silent()
    found = next(_troubles(gpu, around), None)
    return found or _well(gpu)


def _troubles(gpu: GpuReading, around: Surroundings) -> Iterator[Verdict]:
    yield from _unmeasured(gpu)
    yield from _broken(gpu, around)
    yield from _slowed(gpu)
    yield from _claimed(gpu, around)
    yield from _strained(gpu)
    if gpu.state == "degraded":
        yield _verdict(
            "degraded",
            "warn",
            _("needs attention"),
            gpu.error or _("It works, and the driver says that something is wrong."),
            _("Look at it with nvidia-smi -q; the doctor tells what Berth sees."),
        )
    yield from _hidden(gpu, around)


def _unmeasured(gpu: GpuReading) -> Iterator[Verdict]:
    if gpu.state == "lost":
        yield _verdict(
            "lost",
            "bad",
            _("lost"),
            gpu.error or _("The driver lost contact with it: it fell off the bus."),
            _("Move its deployments to another GPU, then reboot the host. If it comes back lost, have it replaced."),
        )
    if gpu.state == "no_permission":
        yield _verdict(
            "no_permission",
            "warn",
            _("no permission"),
            gpu.error or _("The agent may not read this GPU."),
            _("Give the agent's user access to /dev/nvidia*, or the container the NVIDIA runtime, and restart it."),
        )
    if gpu.state == "stale":
        yield _verdict(
            "stale",
            "warn",
            _("stale"),
            in_words(gpu.error) or _("The driver has not answered."),
            _("If it stays so, something hangs in the driver: look at dmesg for NVRM lines."),
        )


def _broken(gpu: GpuReading, around: Surroundings) -> Iterator[Verdict]:
    if gpu.recovery_action not in _NO_ACTION:
        yield _verdict(
            "recovery",
            "bad",
            _("needs recovery"),
            _("The driver asks for: %(action)s.") % {"action": gpu.recovery_action.replace("_", " ")},
            _("Stop what runs on it, do what the driver asks for, then let it be used again."),
        )
    if gpu.ecc_uncorrected:
        count = {"n": gpu.ecc_uncorrected}
        yield _verdict(
            "ecc",
            "bad",
            _("memory errors"),
            ngettext(
                "%(n)s memory error could not be corrected.",
                "%(n)s memory errors could not be corrected.",
                gpu.ecc_uncorrected,
            )
            % count,
            _("Restart what runs on it; results may be wrong. If the number grows, reset the GPU or have it replaced."),
        )
    if gpu.xid is not None and gpu.xid_at and around.now - gpu.xid_at < XID_RECENT_S:
        yield _verdict(
            "fault",
            "warn",
            _("fault %(xid)s") % {"xid": gpu.xid},
            _("The driver reported the fault Xid %(xid)s %(age)s ago.")
            % {"xid": gpu.xid, "age": duration_words(around.now - gpu.xid_at)},
            _("Look the number up in NVIDIA's list of Xid errors; check what ran on it then."),
        )
    if around.quarantined:
        yield _verdict(
            "quarantined", "warn", _("quarantined"), around.quarantined, _("Lift the quarantine on the page Nodes.")
        )


def _slowed(gpu: GpuReading) -> Iterator[Verdict]:
    heat_s = max(gpu.limited_s.get("thermal_software", 0), gpu.limited_s.get("thermal_hardware", 0))
    is_hot = (gpu.temperature_gpu_celsius or 0) >= HOT_CELSIUS
    memory_is_hot = (gpu.temperature_memory_celsius or 0) >= HOT_MEMORY_CELSIUS
    if heat_s >= HOT_S or is_hot or memory_is_hot:
        sentence = _("Heat slows it down.") if heat_s >= HOT_S else _("It is close to where heat slows it down.")
        yield _verdict(
            "hot",
            "bad" if heat_s >= HOT_S else "warn",
            _("hot"),
            sentence,
            _("Check fans, filters and the room's air; until then, put less on it."),
        )
    hardware_s = max(gpu.limited_s.get("hardware", 0), gpu.limited_s.get("power_brake", 0))
    if hardware_s >= HOT_S:
        yield _verdict(
            "slowed",
            "bad",
            _("slowed by hardware"),
            _("The board slows it down: its power supply or its cooling is not enough."),
            _("Check the power supplies and cables of the host, and its management controller's log."),
        )


def _claimed(gpu: GpuReading, around: Surroundings) -> Iterator[Verdict]:
    for run in around.runs:
        if gpu.uuid not in run.observed:
            continue
        name = {"config": run.config, "number": run.deployment_id}
        if "orphaned" in run.flags:
            yield _verdict(
                "orphaned",
                "warn",
                _("memory not returned"),
                _("%(config)s (#%(number)s) has ended, and its processes still hold memory.") % name,
                _("Wait a minute. If it stays, end the processes listed below on the host."),
            )
        if "elsewhere" in run.flags and gpu.uuid not in run.assigned:
            yield _verdict(
                "elsewhere",
                "warn",
                _("not given to it"),
                _("%(config)s (#%(number)s) uses this GPU and was not given it.") % name,
                _("Check the config's arguments and environment for a GPU number; Berth passes GPUs by UUID."),
            )
    if around.is_replay:  # who the processes of a recording belonged to is nobody's business here
        return
    processes = gpu.processes or ()
    foreign = [each for each in processes if each.attributed and not each.run_name]
    if foreign:
        told = {"process": holder_words(foreign[0]), "more": len(foreign) - 1}
        sentence = (
            _("Not Berth's: %(process)s.") if len(foreign) == 1 else _("Not Berth's: %(process)s and %(more)s more.")
        )
        yield _verdict(
            "foreign",
            "warn",
            _("foreign process"),
            sentence % told,
            _("Placement counts its memory as taken. Ask its owner, or end it on the host."),
        )
    if any(not each.attributed for each in processes):
        yield _verdict(
            "unknown_process",
            "idle",
            _("owner not known"),
            _("Nobody can tell now whose its processes are: the runtime does not answer."),
            _("Check that the container engine runs; it clears up by itself."),
        )


def _strained(gpu: GpuReading) -> Iterator[Verdict]:
    used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    if used is not None and total and used / total >= NEARLY_FULL:
        yield _verdict(
            "nearly_full",
            "warn",
            _("memory nearly full"),
            _("%(free)s of %(total)s are free.") % {"free": gib(gpu.memory_free_bytes), "total": gib(total)},
            _("A longer context or more requests at once may fail. Give the engine a smaller share of the memory."),
        )
    capped_s = gpu.limited_s.get("power_cap", 0)
    if capped_s >= POWER_CAPPED_LONG_S:
        yield _verdict(
            "power_capped",
            "warn",
            _("power-capped"),
            _("It runs at its power limit: fully used, and slower than it could be."),
            _("Nothing is broken. To go faster, raise the limit (nvidia-smi -pl) or spread the load over more GPUs."),
        )
    if gpu.remapped_rows:
        yield _verdict(
            "remapped",
            "warn",
            _("rows remapped"),
            ngettext(
                "%(n)s row of its memory was replaced by a spare.",
                "%(n)s rows of its memory were replaced by spares.",
                gpu.remapped_rows,
            )
            % {"n": gpu.remapped_rows},
            _("It works. Watch the number; when the spares run out, the GPU must be replaced."),
        )


def _hidden(gpu: GpuReading, around: Surroundings) -> Iterator[Verdict]:
    """In a container without the host's process namespace the driver lists no processes, or a part of them."""
    used, listed = gpu.memory_used_bytes, gpu.processes
    # Version 1 of the driver's answer counts as used what it reserves.
    if used is None or listed is None or gpu.memory_reserved_bytes is None or around.is_replay:
        return
    known = [each.memory_bytes for each in listed if each.memory_bytes is not None]
    if len(known) == len(listed) and used - sum(known) >= NAMED_FROM_BYTES:
        yield _verdict(
            "hidden",
            "idle",
            _("owner not visible"),
            _("%(size)s are in use, and no process that the agent can see explains it.")
            % {"size": gib(used - sum(known))},
            _("Run the agent in the host's process namespace (pid: host); then their owner is named."),
        )


def _well(gpu: GpuReading) -> Verdict:
    # An empty list alone is not idle: processes may be hidden. Instances tell their activity only.
    busy = gpu.sm_active_percent if gpu.utilization_gpu_percent is None else gpu.utilization_gpu_percent
    if gpu.processes == () and busy == 0:
        return _verdict("idle", "idle", _("idle"), "", "")
    return _verdict("ok", "good", _("ok"), "", "")


def _silent() -> Verdict:
    return _verdict(
        "silent",
        "bad",
        _("no data"),
        _("Its node's agent has not told anything for a while."),
        _("Check that the host is up and its agent runs; the doctor says more."),
    )


_ICONS = {
    "ok": "circle-check",
    "idle": "circle-minus",
    "hot": "temperature",
    "power_capped": "bolt",
    "foreign": "user",
    "unknown_process": "user",
    "hidden": "user",
    "lost": "circle-x",
    "stale": "clock-exclamation",
    "silent": "wifi-off",
    "no_permission": "lock",
    "quarantined": "lock",
    "ecc": "alert-circle",
    "recovery": "alert-circle",
    "nearly_full": "stack-2",
}


def _verdict(key: str, tone: str, word: str, sentence: str, fix: str) -> Verdict:
    return Verdict(key=key, tone=tone, icon=_ICONS.get(key, "alert-triangle"), word=word, sentence=sentence, fix=fix)
