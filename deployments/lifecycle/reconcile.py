"""The loop that makes a deployment what people asked for: claim, observe, decide, act, record, repeat."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import timedelta
from functools import partial

from django.conf import settings

from deployments.exceptions import RuntimeUnavailableError
from deployments.models import Deployment

from .acting import act
from .claims import CLAIM_FOR, CLAIM_FOR_A_REQUEST, release_claim, renew_claim, take_claim
from .decide import UNKNOWN_CHECK_S, decide
from .record import LostClaimError, note, restamp_future
from .survey import survey

logger = logging.getLogger(__name__)

#: Shorter waits are slept through under the claim, so that fast phases need no message each. Longer ones give the
#: thread back: a fetch of hours must not hold one.
NAP_S = 1.0
#: After this long one call hands over to the next, so that no thread is held for a whole load.
BURST_S = 10.0
MOST_STEPS = 300


def reconcile(deployment_id: int) -> bool:
    """Bring one deployment forward. Safe to call at any time, from anywhere, any number of times at once.

    Returns whether another call is due at once: a burst ended, people changed their wish meanwhile, or the
    deployment is another node's, whose worker the caller then hints at.
    Without the claim it does nothing: whoever holds it sees the newest wish.
    """
    token = take_claim(deployment_id)
    if token is None:
        return False
    deployment = Deployment.objects.select_related("node").get(pk=deployment_id)
    if not is_here(deployment):
        release_claim(deployment, token=token, after_s=0.0)
        return True
    after_s: float | None = UNKNOWN_CHECK_S
    try:
        deployment, after_s = _burst(deployment, token)
    except LostClaimError:
        logger.warning("Deployment %s: the claim was lost; another worker goes on", deployment_id)
        return False
    except RuntimeUnavailableError as error:
        logger.warning("Deployment %s: %s", deployment_id, error)
        _say_why(deployment_id, token, error)
    except Exception:
        logger.exception("Deployment %s: a step failed; it is tried again in %s s", deployment_id, UNKNOWN_CHECK_S)
    quiet = release_claim(deployment, token=token, after_s=after_s)
    return not quiet or after_s == 0.0


def _burst(deployment: Deployment, token: str) -> tuple[Deployment, float | None]:
    """Steps until the next one is more than a nap away; returns the row as last read and that wait."""
    ends_at = time.monotonic() + BURST_S
    after_s: float | None = 0.0
    for _ in range(MOST_STEPS):
        restamp_future(deployment, token=token)
        situation = survey(deployment, before_request=partial(_hold, deployment.pk, token, CLAIM_FOR_A_REQUEST))
        after_s = act(decide(situation), deployment, situation, token=token)
        if after_s is None or after_s >= NAP_S:
            return deployment, after_s
        if time.monotonic() > ends_at:
            break
        time.sleep(after_s)
        _hold(deployment.pk, token, CLAIM_FOR)
        deployment = Deployment.objects.select_related("node").get(pk=deployment.pk)
        if not is_here(deployment):
            break  # it was placed on another node, whose worker goes on
    return deployment, 0.0


def is_here(deployment: Deployment) -> bool:
    """Whether this node may act on it: its own node once it is placed, any node before."""
    return deployment.node is None or deployment.node.name == settings.BERTH_NODE_NAME


def _say_why(deployment_id: int, token: str, error: RuntimeUnavailableError) -> None:
    """Show the operator what is waited for. Losing the claim here loses nothing."""
    deployment = Deployment.objects.get(pk=deployment_id)  # the burst may have come far since it was read
    with contextlib.suppress(LostClaimError):
        note(deployment, token=token, reason=error.code, reason_params={"detail": str(error), **error.params})


def _hold(deployment_id: int, token: str, lasting: timedelta) -> None:
    if not renew_claim(deployment_id, token=token, lasting=lasting):
        raise LostClaimError(f"deployment {deployment_id}")
