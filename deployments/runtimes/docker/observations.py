"""From what the engine says of a container to what a run looks like."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from deployments.runtimes.base import RunObservation, RunState

from .options import Reach

#: As a shell tells it: 128 and the number of the signal.
SIGNAL_BASE = 128
MOST_SIGNALS = 64

#: The engine's words for a container's state -> ours. A container that was only created does not run yet.
STATES = {
    "created": RunState.GONE,
    "running": RunState.RUNNING,
    "paused": RunState.RUNNING,
    "restarting": RunState.RUNNING,
    "removing": RunState.GONE,
    "exited": RunState.EXITED,
    "dead": RunState.EXITED,
}


def observation(container: dict[str, Any], reach: Reach, *, port: int) -> RunObservation:
    """What the answer of ``inspect`` says about the run that listens on ``port`` inside it."""
    state = container["State"]
    status = state["Status"]
    seen = STATES.get(status, RunState.UNKNOWN)
    if seen is RunState.RUNNING:
        return RunObservation(
            state=seen,
            endpoint=endpoint(container, reach, port=port),
            pid=state["Pid"] or None,
            detail=_("It is paused.") if status == "paused" else "",
            paused=status == "paused",
        )
    if seen is RunState.EXITED:
        return RunObservation(
            state=seen, exit_code=signal_aware(state["ExitCode"]), out_of_memory=bool(state["OOMKilled"])
        )
    detail = _("Created, not started yet.") if status == "created" else status
    return RunObservation(state=seen, detail=detail)


def signal_aware(exit_code: int) -> int:
    """Negative for a signal, as in :mod:`subprocess`. A program that itself ends with 137 looks killed too."""
    is_signal = SIGNAL_BASE < exit_code <= SIGNAL_BASE + MOST_SIGNALS
    return SIGNAL_BASE - exit_code if is_signal else exit_code


def endpoint(container: dict[str, Any], reach: Reach, *, port: int) -> str:
    """The base URL; empty while the engine has not published the port."""
    if reach.network:
        return f"http://{container['Name'].lstrip('/')}:{port}"
    published = (container["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or []
    if not published:
        return ""
    address = published[0]["HostIp"]
    shown = f"[{address}]" if ":" in address else address
    return f"http://{shown}:{published[0]['HostPort']}"
