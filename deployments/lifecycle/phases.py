"""Desired states, phases, and the one table of allowed transitions."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Desired(models.TextChoices):
    """What people asked for."""

    RUNNING = "running", _("running")
    STOPPED = "stopped", _("stopped")


class Phase(models.TextChoices):
    """Where a run is. *Why* it is there is a reason (:mod:`deployments.lifecycle.reasons`)."""

    QUEUED = "queued", _("queued")
    PREPARING = "preparing", _("preparing")
    STARTING = "starting", _("starting")
    LOADING = "loading", _("loading")
    READY = "ready", _("ready")
    UNHEALTHY = "unhealthy", _("unhealthy")
    BACKOFF = "backoff", _("backing off")
    STOPPING = "stopping", _("stopping")
    STOPPED = "stopped", _("stopped")
    FAILED = "failed", _("failed")


ENDED = frozenset({Phase.STOPPED, Phase.FAILED})
LIVE = frozenset(set(Phase) - ENDED)
#: Phases in which a process or container may exist.
MAY_HOLD_A_RUN = frozenset({Phase.STARTING, Phase.LOADING, Phase.READY, Phase.UNHEALTHY, Phase.STOPPING})

TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.PREPARING, Phase.STOPPING, Phase.FAILED}),
    Phase.PREPARING: frozenset({Phase.STARTING, Phase.BACKOFF, Phase.FAILED, Phase.STOPPING}),
    Phase.STARTING: frozenset({Phase.LOADING, Phase.BACKOFF, Phase.FAILED, Phase.STOPPING}),
    Phase.LOADING: frozenset({Phase.READY, Phase.BACKOFF, Phase.FAILED, Phase.STOPPING}),
    Phase.READY: frozenset({Phase.UNHEALTHY, Phase.BACKOFF, Phase.FAILED, Phase.STOPPING}),
    Phase.UNHEALTHY: frozenset({Phase.READY, Phase.BACKOFF, Phase.FAILED, Phase.STOPPING}),
    Phase.BACKOFF: frozenset({Phase.PREPARING, Phase.STOPPING}),
    # A failed run waits there too for its GPU memory, before it backs off or has failed.
    Phase.STOPPING: frozenset({Phase.STOPPED, Phase.QUEUED, Phase.BACKOFF, Phase.FAILED}),
    Phase.STOPPED: frozenset(),
    Phase.FAILED: frozenset(),
}


def may_move(origin: Phase, target: Phase) -> bool:
    """Whether the table allows ``origin -> target``."""
    return target in TRANSITIONS[origin]
