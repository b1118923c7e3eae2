"""Tells through Redis how far the newest start of each config is, for requests that wait for it."""

from __future__ import annotations

import logging

from .lifecycle.phases import ENDED, Desired, Phase
from .models import Deployment
from .progress import Progress
from .redis import RedisError, client
from .redis_keys import start_state
from .selectors import live_deployments
from .start_states import KEPT_OFF_S, LIVES_S, StartState

logger = logging.getLogger(__name__)


def publish_start_state(deployment: Deployment) -> None:
    """Tell where ``deployment`` is. Never raises.

    A replacement that runs beside what it replaces is not told: nobody waits for it. Nor is the end of a run while
    another of its config is wanted: that one may be waited for.
    """
    if deployment.supersedes_id and not deployment.in_place:
        return
    if deployment.phase in ENDED and _is_wanted(deployment.config_id):
        return
    progress = deployment.progress
    state = StartState(
        deployment_id=deployment.pk,
        phase=deployment.phase,
        reason=deployment.reason,
        reason_params=deployment.reason_params,
        fraction=Progress.from_json(progress).fraction if progress else None,
        stopped_by=deployment.stopped_by,
    )
    try:
        lives_s = KEPT_OFF_S if state.is_kept_off else LIVES_S
        client().set(start_state(deployment.spec["config"]), state.to_json(), ex=lives_s)
    except RedisError as error:
        logger.warning("Waiting requests were not told of deployment %s: %s", deployment.pk, error)


def _is_wanted(config_id: int) -> bool:
    """Whether a run of the config is ready or on its way."""
    return Deployment.objects.filter(config=config_id, desired=Desired.RUNNING).exclude(phase__in=ENDED).exists()


def publish_start_states() -> None:
    """Tell of everything that is on its way or in trouble, since what was told lives a minute. Never raises."""
    for deployment in live_deployments().exclude(phase=Phase.READY).order_by("pk"):
        publish_start_state(deployment)
