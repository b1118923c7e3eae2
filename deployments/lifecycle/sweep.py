"""Drives time: every few seconds, whatever is due gets a hint, and what a crash left behind is cleared."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from deployments.exceptions import BerthError
from deployments.hints import hint_reconcile, hint_sweep
from deployments.jobs import hint_due_jobs
from deployments.live import publish_routes
from deployments.models import Deployment, Node
from deployments.placement.leases import clear_orphans
from deployments.redis import RedisError, client
from deployments.redis_keys import SWEEP_HEARTBEAT
from deployments.runtimes import runtime_named, runtime_names
from deployments.runtimes.base import RunState, Runtime
from deployments.services.demand import answer_demand
from deployments.start_telling import publish_start_states

from .claims import unclaimed
from .decide import BACKOFF_MOST_S
from .freshness import FRESH
from .idle import stop_idle
from .phases import ENDED

logger = logging.getLogger(__name__)
#: Of one sweep. More than a worker does in two seconds; the rest comes with the next.
MOST_HINTS = 500
#: A look further away than any decision waits was set before the clock was set back.
LONGEST_WAIT = timedelta(seconds=2 * BACKOFF_MOST_S)
#: See Deployment.run_name.
RUN_NAME = re.compile(r"berth-[0-9a-f]+-(\d+)-\d+")


def sweep_all() -> None:
    """Hint at due deployments and jobs, end runs and leases without a live deployment, publish routes, say it swept.

    Also start what requests wait for, and stop what nobody asks.

    Runs are seen on their own node only: this one's are looked at here, the others are asked to.
    """
    for deployment_id, node in due():
        hint_reconcile(deployment_id, node=node)
    end_strays()
    for node in _other_nodes():
        hint_sweep(node)
    hint_due_jobs()
    clear_orphans()
    answer_demand()
    stop_idle()
    publish_start_states()
    publish_routes()
    try:
        client().set(SWEEP_HEARTBEAT, json.dumps({"at": time.time()}), ex=30)
    except RedisError as error:
        logger.warning("The sweep could not report: %s", error)


def due() -> list[tuple[int, str]]:
    """Id and node of each deployment whose next look is due and that nobody holds; the longest overdue first."""
    # A silent node reads no hints; they would only pile up.
    reachable = Q(node=None) | Q(node__name=settings.BERTH_NODE_NAME) | Q(node__heartbeat_at__gt=Now() - FRESH)
    overdue = Q(next_check_at__lte=Now()) | Q(next_check_at__gt=Now() + LONGEST_WAIT)
    rows = Deployment.objects.filter(unclaimed(), reachable, overdue).order_by("next_check_at")
    return [(pk, node or "") for pk, node in rows.values_list("pk", "node__name")[:MOST_HINTS]]


def _other_nodes() -> list[str]:
    """Nodes that would read a hint, without this one."""
    fresh = Node.objects.filter(heartbeat_at__gt=Now() - FRESH).exclude(name=settings.BERTH_NODE_NAME)
    return list(fresh.values_list("name", flat=True))


def end_strays() -> None:
    """Kill and remove runs of this installation whose deployment has ended or gone on to a later attempt.

    The runs are listed before the rows are read, so that a run made meanwhile is never taken for a stray.
    A run without any row (another database, perhaps) is nobody's to kill: it is left and reported.
    """
    for runtime in map(runtime_named, _runtimes_here()):
        try:
            names = runtime.owned()
        except BerthError as error:
            logger.warning("Strays of runtime %s were not looked for: %s", runtime.name, error)
            continue
        ids = {name: deployment_of(name) for name in names}
        rows = {row.pk: row for row in Deployment.objects.filter(pk__in=[pk for pk in ids.values() if pk])}
        for name, pk in ids.items():
            row = rows.get(pk or 0)
            if row is None:
                _report_stranger(name)
            elif row.phase in ENDED or row.run_name != name:
                _end(runtime, name)


def _runtimes_here() -> Sequence[str]:
    """What this node's agent last found to answer; before it has reported, all that there are."""
    reported = Node.objects.filter(name=settings.BERTH_NODE_NAME).values_list("runtimes", flat=True).first()
    return runtime_names() if reported is None else reported


def deployment_of(run_name: str) -> int | None:
    """The deployment's id in a run's name; None when Berth did not give that name."""
    found = RUN_NAME.fullmatch(run_name)
    return int(found[1]) if found else None


@cache
def _report_stranger(name: str) -> None:
    """Once in each process: a sweep comes every two seconds."""
    logger.warning("Run %s belongs to no deployment of this database; it is left alone", name)


def _end(runtime: Runtime, name: str) -> None:
    """One step towards its end; the next sweep does the next. A run that cannot be seen is left as it is."""
    try:
        match runtime.observe(name).state:
            case RunState.RUNNING:
                logger.warning("Run %s has no live deployment: it is killed", name)
                runtime.stop(name, force=True)
            case RunState.EXITED | RunState.GONE:
                runtime.remove(name)
    except BerthError as error:
        logger.warning("Run %s has no live deployment and was not cleared: %s", name, error)
