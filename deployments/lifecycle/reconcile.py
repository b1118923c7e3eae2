"""The loop that makes a deployment what people asked for: claim, observe, decide, act, record, repeat."""

from __future__ import annotations

import logging
import time

from deployments.exceptions import RuntimeUnavailableError
from deployments.models import Deployment

from .acting import act
from .claims import release_claim, renew_claim, take_claim
from .decide import UNKNOWN_CHECK_S, decide
from .record import LostClaimError
from .survey import survey

logger = logging.getLogger(__name__)

#: Waits up to this long are slept through under the claim, so that fast phases need no message each.
NAP_S = 1.0
#: After this long one call hands over to the next, so that no thread is held for a whole load.
BURST_S = 10.0
MOST_STEPS = 300


def reconcile(deployment_id: int) -> bool:
    """Bring one deployment forward. Safe to call at any time, from anywhere, any number of times at once.

    Returns whether another call is due at once (a burst ended, or people changed their wish meanwhile).
    Without the claim it does nothing: whoever holds it sees the newest wish.
    """
    token = take_claim(deployment_id)
    if token is None:
        return False
    deployment = Deployment.objects.select_related("node").get(pk=deployment_id)
    after_s: float | None = UNKNOWN_CHECK_S
    try:
        deployment, after_s = _burst(deployment, token)
    except LostClaimError:
        logger.warning("Deployment %s: the claim was lost; another worker goes on", deployment_id)
        return False
    except RuntimeUnavailableError as error:
        logger.warning("Deployment %s: %s", deployment_id, error)
    except Exception:
        logger.exception("Deployment %s: a step failed; it is tried again in %s s", deployment_id, UNKNOWN_CHECK_S)
    quiet = release_claim(deployment, token=token, after_s=after_s)
    return not quiet or after_s == 0.0


def _burst(deployment: Deployment, token: str) -> tuple[Deployment, float | None]:
    """Steps until the next one is more than a nap away; returns the row as last read and that wait."""
    ends_at = time.monotonic() + BURST_S
    after_s: float | None = 0.0
    for _ in range(MOST_STEPS):
        situation = survey(deployment)
        after_s = act(decide(situation), deployment, situation, token=token)
        if after_s is None or after_s > NAP_S:
            return deployment, after_s
        if time.monotonic() > ends_at:
            break
        time.sleep(after_s)
        if not renew_claim(deployment.pk, token=token):
            raise LostClaimError(f"deployment {deployment.pk}")
        deployment = Deployment.objects.select_related("node").get(pk=deployment.pk)
    return deployment, 0.0
