"""Checks of Berth's own parts: database, Redis, worker, agent, gateway, clock."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from dashboard.health import SILENT_AFTER_S
from dashboard.installing import missing_migrations
from deployments.redis import RedisError, client
from deployments.redis_keys import SWEEP_HEARTBEAT, agent_heartbeat

from .findings import Finding, failed, ok, warning

#: Claims, heartbeats and deadlines compare clocks: more than this, in seconds, and they mislead.
MOST_CLOCK_DIFFERENCE_S = 2.0
CONNECT_S = 2.0


def database() -> Sequence[Finding]:
    """Whether it answers and has the schema of this version."""
    try:
        is_old = missing_migrations()
    except DatabaseError as error:
        return failed("database", "silent", vendor=connection.display_name, detail=_first_line(error))
    if is_old:
        return failed("database", "old_schema")
    return ok("database", vendor=connection.display_name)


def redis() -> Sequence[Finding]:
    """Whether it answers."""
    began = time.perf_counter()
    try:
        client().ping()
    except RedisError as error:
        return failed("redis", "silent", detail=_first_line(error))
    return ok("redis", ms=round((time.perf_counter() - began) * 1000, 1), embedded=settings.BERTH_EMBEDDED_REDIS)


def worker() -> Sequence[Finding]:
    """Whether a worker with the control queue sweeps."""
    return _heartbeat("worker", SWEEP_HEARTBEAT)


def agent() -> Sequence[Finding]:
    """Whether this node's agent reports."""
    return _heartbeat("agent", agent_heartbeat(settings.BERTH_NODE_NAME))


def ports() -> Sequence[Finding]:
    """Whether web and gateway can be reached at the addresses that people and clients are told."""
    found: list[Finding] = []
    for check, url in (("web", settings.BERTH_WEB_AT), ("gateway", settings.BERTH_GATEWAY_AT)):
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        try:
            with socket.create_connection(address, timeout=CONNECT_S):
                found += ok(check, url=url)
        except OSError as error:
            found += failed(check, "unreachable", url=url, detail=_first_line(error))
    return found


def clock() -> Sequence[Finding]:
    """Whether this host, the database and Redis agree on the time."""
    found: list[Finding] = []
    for name, difference_s in (("database", _database_ahead_s()), ("redis", _redis_ahead_s())):
        if difference_s is not None and abs(difference_s) > MOST_CLOCK_DIFFERENCE_S:
            found += failed("clock", "differs", other=name, seconds=round(difference_s, 1))
    return found or ok("clock")


def _heartbeat(check: str, key: str) -> Sequence[Finding]:
    try:
        raw = client().get(key)
    except RedisError as error:
        return failed(check, "unknown", detail=_first_line(error))
    if raw is None:
        return failed(check, "never")
    age_s = time.time() - float(json.loads(raw)["at"])
    return warning(check, "late", seconds=round(age_s)) if age_s > SILENT_AFTER_S else ok(check)


def _database_ahead_s() -> float | None:
    """Seconds that the database's clock is ahead of this process's; None for SQLite, which has none of its own."""
    if connection.vendor != "postgresql":
        return None
    try:
        with connection.cursor() as cursor:
            before = time.time()
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            (there,) = cursor.fetchone()
    except DatabaseError:
        return None
    return float(there) - (before + time.time()) / 2


def _redis_ahead_s() -> float | None:
    try:
        before = time.time()
        seconds, microseconds = client().time()
    except RedisError:
        return None
    return seconds + microseconds / 1e6 - (before + time.time()) / 2


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
