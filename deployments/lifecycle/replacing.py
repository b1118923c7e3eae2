"""What happens to a run and its replacement when one of them comes to a phase; within that move's transaction."""

from __future__ import annotations

import functools

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from deployments.hints import hint_reconcile
from deployments.live import publish_change
from deployments.models import Deployment, DeploymentEvent

from .phases import ENDED, Desired, Phase


def follow_up(deployment: Deployment, phase: Phase) -> None:
    """Call inside the transaction in which ``deployment`` enters ``phase``."""
    if phase is Phase.READY:
        _retire_old(deployment)
    elif phase is Phase.FAILED:
        _put_old_back(deployment)
    if phase in ENDED:
        _take_over_number(deployment)


def _retire_old(new: Deployment) -> None:
    """The new one answers: let the old one drain and stop."""
    if new.supersedes_id is None:
        return
    old = Deployment.objects.filter(pk=new.supersedes_id, desired=Desired.RUNNING).exclude(phase__in=ENDED).first()
    if old is None:
        return
    Deployment.objects.filter(pk=old.pk).update(desired=Desired.STOPPED, stopped_by=new.started_by, next_check_at=Now())
    _tell(old, "superseded")


def _put_old_back(new: Deployment) -> None:
    """The old one had to make room, and that was for nothing: start its specification again.

    Not once the new one has served: a failure a week later is its own.
    """
    if not new.in_place or new.supersedes_id is None or new.desired == Desired.STOPPED:
        return
    if new.attempts.filter(ready_at__isnull=False).exists():
        return
    old = Deployment.objects.get(pk=new.supersedes_id)
    if old.phase not in ENDED:
        # It has not even stopped: it goes on.
        Deployment.objects.filter(pk=old.pk).update(desired=Desired.RUNNING, next_check_at=Now())
        _tell(old, "put_back")
        return
    now = timezone.now()
    again = Deployment.objects.create(
        config_id=old.config_id,
        replica=_next_number(old),
        spec=old.spec,
        spec_digest=old.spec_digest,
        revision=old.revision,
        started_by=new.started_by,
        phase_since=now,
        next_check_at=now,
        pinned_node=old.pinned_node,
        pinned_gpus=old.pinned_gpus,
    )
    _tell(again, "put_back")


def _take_over_number(old: Deployment) -> None:
    """The replacement gets the number of the run that it replaced, so that the config has its replica 0 again."""
    Deployment.objects.filter(supersedes=old).exclude(phase__in=ENDED).update(replica=old.replica)


def _next_number(old: Deployment) -> int:
    live = Deployment.objects.filter(config_id=old.config_id).exclude(phase__in=ENDED)
    taken = set(live.values_list("replica", flat=True))
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _tell(deployment: Deployment, reason: str) -> None:
    DeploymentEvent.objects.create(
        deployment=deployment,
        at=timezone.now(),
        phase=deployment.phase,
        attempt=deployment.attempt,
        reason=reason,
    )
    node = deployment.node.name if deployment.node else ""
    transaction.on_commit(functools.partial(hint_reconcile, deployment.pk, node=node))
    transaction.on_commit(functools.partial(publish_change, deployment.pk, deployment.spec["config"]))
