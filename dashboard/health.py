"""``/healthz``: the web is up. ``/readyz``: everything that a start needs answers, or what is missing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from deployments.redis import RedisError, client
from deployments.redis_keys import SWEEP_HEARTBEAT, agent_heartbeat

logger = logging.getLogger(__name__)
#: A heartbeat older than this, in seconds, counts as silence.
SILENT_AFTER_S = 10.0


@require_safe
@login_not_required
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 whenever the web process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@login_not_required
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 ``{"ready": true}``, or 503 with ``missing``: name -> what is wrong."""
    missing = missing_parts()
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def missing_parts() -> dict[str, str]:
    """What does not answer: of database, redis, worker and agent. Empty when all do."""
    checks: dict[str, Callable[[], str]] = {
        "database": _database,
        "redis": _redis,
        "worker": lambda: _heartbeat(SWEEP_HEARTBEAT, "The worker has not swept"),
        "agent": lambda: _heartbeat(agent_heartbeat(settings.BERTH_NODE_NAME), "The agent has not reported"),
    }
    return {name: problem for name, check in checks.items() if (problem := check())}


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
    except DatabaseError as error:
        logger.warning("readyz: the database does not answer: %s", error)
        return "The database does not answer."
    return ""


def _redis() -> str:
    try:
        client().ping()
    except RedisError as error:
        logger.warning("readyz: Redis does not answer: %s", error)
        return "Redis does not answer."
    return ""


def _heartbeat(key: str, silence: str) -> str:
    try:
        raw = client().get(key)
    except RedisError:
        return f"{silence}: Redis does not answer."
    if not isinstance(raw, str):
        return f"{silence} yet."
    age_s = time.time() - float(json.loads(raw)["at"])
    return f"{silence} for {age_s:.0f} s." if age_s > SILENT_AFTER_S else ""
