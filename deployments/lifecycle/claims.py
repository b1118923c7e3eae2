"""The short right of one worker to act on one deployment: a token, and an expiry by the database's clock."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from deployments.models import Deployment

#: Longer than any usual step. A step that outlasts it loses only its right to record: every act is repeatable.
CLAIM_FOR = timedelta(seconds=15)
#: For a look that takes a real request (30 s): with less, each worker would lose the row to the next, for ever.
CLAIM_FOR_A_REQUEST = timedelta(seconds=45)


#: An expiry further away than this was written before the clock was set back.
TOO_FAR = timedelta(minutes=2)


def unclaimed() -> Q:
    """Matches deployments that nobody holds, by the database's clock."""
    expired = Q(claim_expires_at__lt=Now()) | Q(claim_expires_at__gt=Now() + TOO_FAR)
    return Q(claim_expires_at__isnull=True) | expired


def take_claim(deployment_id: int) -> str | None:
    """The token, or None while somebody else holds it. One UPDATE, so that two workers cannot both win."""
    token = secrets.token_hex(8)
    won = Deployment.objects.filter(unclaimed(), pk=deployment_id).update(
        claim_token=token, claim_expires_at=Now() + CLAIM_FOR
    )
    return token if won else None


def renew_claim(deployment_id: int, *, token: str, lasting: timedelta = CLAIM_FOR) -> bool:
    """Let the claim last for ``lasting`` from now; False when it was lost."""
    return bool(Deployment.objects.filter(pk=deployment_id, claim_token=token).update(claim_expires_at=Now() + lasting))


def release_claim(deployment: Deployment, *, token: str, after_s: float | None) -> bool:
    """Give the claim back and set the next look. ``after_s`` None: never again (the run has ended).

    False when people changed their wish since ``deployment`` was read; then the next look is due at once,
    so that no wish is slept through.
    """
    mine = Deployment.objects.filter(pk=deployment.pk, claim_token=token)
    due = None if after_s is None else Now() + timedelta(seconds=after_s)
    unchanged = mine.filter(desired=deployment.desired, generation=deployment.generation)
    if unchanged.update(claim_token="", claim_expires_at=None, next_check_at=due):
        return True
    mine.update(claim_token="", claim_expires_at=None, next_check_at=Now())
    return False
