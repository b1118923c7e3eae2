"""Runs all checks of one node side by side, each within a bound, and keeps the last report in Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from django.conf import settings
from django.db import connections

from deployments.redis import RedisError, client

from . import host, services
from .findings import Check, Finding, Report, State

logger = logging.getLogger(__name__)
#: A container with a GPU takes seconds to start; whatever is slower than this hangs.
LIMIT_S = 45.0
REPORT_KEPT_S = 7 * 24 * 3600

#: In the order of the report: what everything else needs comes first.
CHECKS: dict[str, Check] = {
    "database": services.database,
    "redis": services.redis,
    "worker": services.worker,
    "agent": services.agent,
    "web": services.ports,
    "clock": services.clock,
    "docker": host.docker,
    "driver": host.gpus,
    "data_disk": host.disk,
    "hub": host.hub,
}


def examine(checks: dict[str, Check] | None = None, *, limit_s: float = LIMIT_S) -> Report:
    """Look at everything on this node. Takes ``limit_s`` seconds at most; never raises."""
    chosen = CHECKS if checks is None else checks
    pool = ThreadPoolExecutor(max_workers=len(chosen), thread_name_prefix="doctor")
    running = {name: pool.submit(_look, name, check) for name, check in chosen.items()}
    wait(running.values(), timeout=limit_s)
    pool.shutdown(wait=False, cancel_futures=True)
    findings = [each for name, future in running.items() for each in _outcome(name, future, limit_s)]
    return Report(node=settings.BERTH_NODE_NAME, at=time.time(), findings=tuple(findings))


def keep_report(report: Report) -> None:
    """Let the page show it. Raises RedisError."""
    client().set(_key(report.node), report.to_json(), ex=REPORT_KEPT_S)


def last_report(node: str) -> Report | None:
    """The last report of ``node``; None when there is none, or Redis is away."""
    try:
        text = client().get(_key(node))
        return Report.from_json(text) if text else None
    except (RedisError, ValueError, KeyError, TypeError) as error:
        logger.warning("The doctor's report of %s cannot be read: %s", node, error)
        return None


def _look(name: str, check: Check) -> Sequence[Finding]:
    try:
        return check()
    except Exception as error:  # the edge of one check: the others must still be told
        logger.exception("Doctor: the check %s failed", name)
        detail = f"{type(error).__name__}: {error}"[:300]
        return [Finding(check=name, outcome="crashed", state=State.FAILED, params={"detail": detail})]
    finally:
        connections.close_all()


def _outcome(name: str, future: Future[Sequence[Finding]], limit_s: float) -> Sequence[Finding]:
    if future.done() and not future.cancelled():
        return future.result()
    return [Finding(check=name, outcome="timeout", state=State.FAILED, params={"seconds": round(limit_s)})]


def _key(node: str) -> str:
    return f"berth:doctor:{node}"
