"""When a run stops because nobody asks it, and who starts and stops without being a person, in words."""

from __future__ import annotations

from django.utils.translation import gettext as _

from deployments.actors import IDLE, ON_DEMAND
from deployments.lifecycle.idle import idle_seconds
from deployments.lifecycle.phases import Phase
from deployments.models import Deployment

from .words import duration_words


def idle_words(deployment: Deployment) -> str:
    """``in 12 min when nobody asks``; empty for a run that does not stop by itself or is not ready."""
    minutes = deployment.serving_spec().stop_after_idle_minutes
    if minutes is None or deployment.phase != Phase.READY:
        return ""
    idle_s = idle_seconds(deployment.pk)
    if idle_s is None:
        return _("after {time} without requests").format(time=duration_words(minutes * 60))
    return _("in {time} when nobody asks").format(time=duration_words(minutes * 60 - idle_s))


def author_words(name: str) -> str:
    """The person of that name, or what stands for Berth's own acts."""
    if name == ON_DEMAND:
        return _("a request")
    return _("Berth, being idle") if name == IDLE else name
