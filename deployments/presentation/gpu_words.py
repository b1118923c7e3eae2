"""GPUs in words: what slows one down, what a flag of a run means, why a value is not there."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.gpu_readings import LIMITERS, REPLAY

WINDOW_S = 60
#: Idling is no trouble; being in step with other GPUs, or the clocks that somebody set, are told and no trouble.
TOLD = tuple(name for name in LIMITERS if name != "idle")

_LIMITED_FOR = {
    "applications": gettext_lazy("clocks set by an application for {n} s of the last minute"),
    "power_cap": gettext_lazy("power-capped {n} s of the last minute"),
    "power_brake": gettext_lazy("power brake {n} s of the last minute"),
    "thermal_software": gettext_lazy("held back by heat {n} s of the last minute"),
    "thermal_hardware": gettext_lazy("held back by heat (hardware) {n} s of the last minute"),
    "hardware": gettext_lazy("slowed by the hardware {n} s of the last minute"),
    "sync": gettext_lazy("in step with other GPUs {n} s of the last minute"),
}
_LIMITED_WHOLE = {
    "applications": gettext_lazy("clocks set by an application all the last minute"),
    "power_cap": gettext_lazy("power-capped all the last minute"),
    "power_brake": gettext_lazy("power brake all the last minute"),
    "thermal_software": gettext_lazy("held back by heat all the last minute"),
    "thermal_hardware": gettext_lazy("held back by heat (hardware) all the last minute"),
    "hardware": gettext_lazy("slowed by the hardware all the last minute"),
    "sync": gettext_lazy("in step with other GPUs all the last minute"),
}
_FLAGS = {
    "elsewhere": gettext_lazy("It uses a GPU that it was not given."),
    "orphaned": gettext_lazy("It has ended, and its processes still hold memory."),
    "earlier": gettext_lazy("An earlier attempt of it has ended, and its processes still hold memory."),
}
_END_THEM = gettext_lazy("Wait a minute. If it stays, end the processes on the host: the page GPUs lists them.")
_FLAG_FIXES = {
    "elsewhere": gettext_lazy("Check its arguments and environment for a GPU number; Berth passes GPUs by UUID."),
    "orphaned": _END_THEM,
    "earlier": _END_THEM,
}
_MISSING = {
    "not_supported": gettext_lazy("This GPU does not tell."),
    "no_permission": gettext_lazy("The agent may not read this."),
    "timeout": gettext_lazy("The driver did not answer in time."),
    "error": gettext_lazy("The driver answered with an error."),
}


def main_limiter(limited_s: Mapping[str, int]) -> tuple[str, int]:
    """What slowed it longest in the last minute, and for how many seconds; ``("", 0)`` when nothing did."""
    seconds, name = max(((limited_s.get(name, 0), name) for name in reversed(TOLD)), default=(0, ""))
    return (name, seconds) if seconds > 0 else ("", 0)


def limiter_words(limited_s: Mapping[str, int]) -> str:
    """``power-capped 18 s of the last minute``; empty when nothing slowed it. The module gpus/tile does the same."""
    name, seconds = main_limiter(limited_s)
    if not name:
        return ""
    if seconds >= WINDOW_S:
        return str(_LIMITED_WHOLE[name])
    return str(_LIMITED_FOR[name]).format(n=seconds)


def limiter_strings() -> dict[str, dict[str, str]]:
    """The same words for the browser: by limiter, for a part of the minute (with ``{n}``) and for all of it."""
    return {
        "limited": {name: str(_LIMITED_FOR[name]) for name in TOLD},
        "limited_whole": {name: str(_LIMITED_WHOLE[name]) for name in TOLD},
    }


def missing_words(reason: str) -> str:
    """Why a value is not there."""
    return str(_MISSING.get(reason, _("not measured")))


def flag_words(flag: str) -> str:
    """A flag of a run as a sentence."""
    return str(_FLAGS.get(flag, flag))


def flag_fix(flag: str) -> str:
    """What to do about a flag."""
    return str(_FLAG_FIXES.get(flag, ""))


def source_words(source: str) -> str:
    """Where readings come from: the driver, or which recording."""
    if source.startswith(REPLAY):
        return _("recording %(name)s") % {"name": source.removeprefix(REPLAY).rpartition("/")[2]}
    return "NVML" if source == "nvml" else source
