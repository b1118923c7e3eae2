"""Drives time: every few seconds, whatever is due gets a hint, and what a crash left behind is cleared."""

from __future__ import annotations

import json
import logging
import time

from django.db.models import Q
from django.db.models.functions import Now

from deployments.exceptions import BerthError
from deployments.hints import hint_reconcile
from deployments.live import publish_routes
from deployments.models import Deployment
from deployments.redis import RedisError, client
from deployments.runtimes import available_runtimes, runtime_named
from deployments.runtimes.base import RunState, Runtime

from .phases import ENDED

logger = logging.getLogger(__name__)
HEARTBEAT_KEY = "berth:sweep"


def sweep_all() -> None:
    """Hint at due deployments, end runs without a live deployment, publish routes, and say that it swept."""
    for deployment_id, node in due():
        hint_reconcile(deployment_id, node=node)
    end_strays()
    publish_routes()
    try:
        client().set(HEARTBEAT_KEY, json.dumps({"at": time.time()}), ex=30)
    except RedisError as error:
        logger.warning("The sweep could not report: %s", error)


def due() -> list[tuple[int, str]]:
    """Id and node of each deployment whose next look is due and that nobody holds."""
    free = Q(claim_expires_at__isnull=True) | Q(claim_expires_at__lt=Now())
    rows = Deployment.objects.filter(free, next_check_at__lte=Now()).values_list("pk", "node__name")
    return [(pk, node or "") for pk, node in rows]


def end_strays() -> None:
    """Kill and remove runs of this installation whose deployment has ended or gone on to a later attempt.

    The runs are listed before the rows are read, so that a run made meanwhile is never taken for a stray.
    A run without any row (another database, perhaps) is nobody's to kill: it is left and reported.
    """
    for runtime in map(runtime_named, available_runtimes()):
        try:
            names = list(runtime.owned())
            rows = {row.pk: row for row in Deployment.objects.filter(pk__in=map(deployment_of, names))}
            for name in names:
                row = rows.get(deployment_of(name))
                if row is None:
                    logger.warning("Run %s belongs to no deployment of this database; it is left alone", name)
                elif row.phase in ENDED or row.run_name != name:
                    _end(runtime, name)
        except BerthError as error:
            logger.warning("Strays of runtime %s were not cleared: %s", runtime.name, error)


def deployment_of(run_name: str) -> int:
    """The deployment's id in a run's name (see Deployment.run_name)."""
    return int(run_name.rsplit("-", 2)[1])


def _end(runtime: Runtime, name: str) -> None:
    if runtime.observe(name).state is RunState.RUNNING:
        logger.warning("Run %s has no live deployment: it is killed", name)
        runtime.stop(name, force=True)
    else:
        runtime.remove(name)
