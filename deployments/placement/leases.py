"""Leases: the rows that make a GPU somebody's. The database refuses a second one for the same GPU."""

from __future__ import annotations

import logging

from django.db import transaction

from deployments.hints import hint_reconcile
from deployments.lifecycle.phases import ENDED, Phase
from deployments.models import Deployment, Gpu, GpuLease

logger = logging.getLogger(__name__)


def take_leases(deployment: Deployment, node_id: int, uuids: tuple[str, ...]) -> None:
    """Give the GPUs to the deployment; within the caller's transaction.

    Raises IntegrityError when somebody else was first: the whole transaction is then undone, and placed again.
    """
    gpus = {gpu.uuid: gpu for gpu in Gpu.objects.filter(node=node_id, uuid__in=uuids)}
    GpuLease.objects.bulk_create(GpuLease(gpu=gpus[uuid], deployment=deployment) for uuid in uuids)


def release_leases(deployment: Deployment) -> None:
    """Give back what the deployment holds; within the caller's transaction. Whoever waits is woken once committed."""
    released, _by_model = GpuLease.objects.filter(deployment=deployment).delete()
    if released:
        transaction.on_commit(wake_waiting)


def wake_waiting() -> None:
    """Hint at every queued deployment: there may be room now."""
    for deployment_id in Deployment.objects.filter(phase=Phase.QUEUED).values_list("pk", flat=True):
        hint_reconcile(deployment_id)


def clear_orphans() -> int:
    """Release leases whose deployment has ended, which no kill may leave; returns how many there were."""
    orphans = GpuLease.objects.filter(deployment__phase__in=ENDED)
    for lease in orphans.select_related("gpu"):
        logger.error("GPU %s was still leased to deployment %s, which has ended", lease.gpu, lease.deployment_id)
    cleared, _by_model = orphans.delete()
    if cleared:
        wake_waiting()
    return cleared
