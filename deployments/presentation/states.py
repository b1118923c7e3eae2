"""How a state looks: a word, an icon and a tone. The tone is never the only signal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from deployments.lifecycle.phases import LIVE, Phase
from deployments.lifecycle.reasons import PAUSED

if TYPE_CHECKING:
    from deployments.models import Deployment, Node

#: A node that has not reported for so long counts as silent.
SILENT_AFTER = timedelta(seconds=15)
#: A run whose next look is due for so long counts as overlooked: the worker is not at work.
OVERLOOKED_AFTER = timedelta(seconds=30)

TROUBLED = frozenset({Phase.FAILED, Phase.BACKOFF, Phase.UNHEALTHY})
#: What troubles a live run in any phase: nobody can ask it, or nobody can see it.
TROUBLES = frozenset({PAUSED, "host_silent", "engine_silent"})
ON_ITS_WAY = frozenset({Phase.QUEUED, Phase.PREPARING, Phase.STARTING, Phase.LOADING})

_ICONS = {
    Phase.QUEUED: "clock",
    Phase.PREPARING: "cloud-download",
    Phase.STARTING: "rocket",
    Phase.LOADING: "loader-2",
    Phase.READY: "circle-check",
    Phase.UNHEALTHY: "alert-triangle",
    Phase.BACKOFF: "clock-pause",
    Phase.STOPPING: "player-stop",
    Phase.STOPPED: "circle-minus",
    Phase.FAILED: "circle-x",
}
_TONES = {
    Phase.READY: "good",
    Phase.UNHEALTHY: "warn",
    Phase.BACKOFF: "warn",
    Phase.STOPPED: "idle",
    Phase.FAILED: "bad",
}


@dataclass(frozen=True, kw_only=True)
class StateLook:
    """A chip: ``tone`` is good, warn, bad, busy or idle; ``key`` is the phase, or ``never``."""

    key: str
    word: str
    icon: str
    tone: str


def look_of(phase: str | None) -> StateLook:
    """The chip of a phase; None is a config that never ran."""
    if phase is None:
        return StateLook(key="never", word=_("never run"), icon="circle-dashed", tone="idle")
    known = Phase(phase)
    return StateLook(key=phase, word=str(known.label), icon=_ICONS[known], tone=_TONES.get(known, "busy"))


def is_hindered(deployment: Deployment) -> bool:
    """Whether a live run is paused, or the host or engine that it is on does not answer."""
    return deployment.phase in LIVE and deployment.reason in TROUBLES


def silent_since(node: Node | None, now: datetime) -> datetime | None:
    """When ``node`` was last heard, if that is too long ago; None when it is fresh or there is none."""
    if node is None:
        return None
    heard = node.heartbeat_at or node.created_at
    return heard if now - heard > SILENT_AFTER else None


def overlooked_since(deployment: Deployment, now: datetime) -> datetime | None:
    """When the run should have been looked at, if that is too long ago; None otherwise."""
    due = deployment.next_check_at
    if deployment.phase not in LIVE or due is None or now - due <= OVERLOOKED_AFTER:
        return None
    return due
