"""How long nobody has asked a deployment, and the stop of one that nobody asks for as long as its config says.

Each sweep looks at what every gateway process tells: requests under way, and how many it has sent since it began. Time
counts as idle only when between two looks nothing changed and every process that could have sent a request was heard.
In doubt a deployment was asked: a process that fell silent may still serve from its last routing table. Time is Redis's
own, and a look that comes late, or a clock that was set, adds nothing.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from deployments.actors import Actor
from deployments.exceptions import BerthError
from deployments.gateway_states import GatewayReport, gateways_left, gateways_living
from deployments.models import Deployment
from deployments.redis import RedisError, client
from deployments.redis_keys import IDLE
from deployments.services.lifecycle import stop_deployment

from .phases import LIVE, Desired, Phase

logger = logging.getLogger(__name__)
#: Between two looks, in seconds; a sweep comes every two. After a longer pause nobody knows what happened in it.
LONGEST_GAP_S: Final = 15.0
#: A report outlives its process by so long at most; see playground.gateway.reporting.
REPORT_LIVES_S: Final = 3.0
#: After so long it has ended, whatever became of it.
SILENT_AT_MOST_S: Final = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is remembered of a gateway process, with the times of looks: the first and the last that it was heard at.

    ``silent_at`` is when it was missed, 0 while it is heard. ``left`` means that it ended in good order. ``replaces``
    means that it cannot stand for one that fell silent: it does for another, or was there from the beginning.
    """

    since: float
    heard_at: float
    served: dict[str, int] = field(default_factory=dict)
    silent_at: float = 0.0
    left: bool = False
    replaces: bool = False


@dataclass(frozen=True, kw_only=True)
class IdleTimes:
    """``idle_s`` has the idle seconds of each deployment that is watched; ``at`` is the last look, in epoch seconds."""

    at: float = 0.0
    processes: dict[str, Known] = field(default_factory=dict)
    idle_s: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """As it is kept in Redis; :meth:`from_json` is its inverse."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> IdleTimes:
        """Rebuild from :meth:`to_json`; what is missing or unreadable begins anew."""
        try:
            held: dict[str, Any] = json.loads(text or "{}")
            processes = {name: Known(**known) for name, known in held.pop("processes", {}).items()}
            return cls(processes=processes, **held)
        except (ValueError, TypeError, AttributeError):
            return cls()


def stop_idle() -> None:
    """Look once, and stop what was idle for as long as its specification says. Without Redis nothing happens."""
    limits = _limits()
    try:
        if not limits:
            client().delete(IDLE)
            return
        seconds, microseconds = client().time()
        before = IdleTimes.from_json(client().get(IDLE))
        times = look(
            before,
            at=seconds + microseconds / 1e6,
            living=gateways_living(),
            left=gateways_left(),
            watched=set(limits),
        )
        client().set(IDLE, times.to_json())
    except (RedisError, ValueError) as error:
        logger.warning("How long nobody asked is not known: %s", error)
        return
    for name, idle_s in times.idle_s.items():
        if idle_s >= limits[name] * 60:
            _stop(int(name), minutes=limits[name])


def idle_seconds(deployment_id: int) -> float | None:
    """How long nobody has asked a watched deployment; None when it is not watched, or Redis away."""
    try:
        return IdleTimes.from_json(client().get(IDLE)).idle_s.get(str(deployment_id))
    except RedisError:
        return None


def look(
    before: IdleTimes,
    *,
    at: float,
    living: Mapping[str, GatewayReport],
    left: Mapping[str, GatewayReport],
    watched: Collection[str],
) -> IdleTimes:
    """The idle times at ``at``: ``before``, and what the gateways tell now."""
    processes = _processes(before, at=at, living=living, left=left)
    asked = _asked(before, living=living, left=left)
    heard_now = {*living, *left}
    fell_silent = any(
        name not in heard_now and not known.left and not known.silent_at for name, known in before.processes.items()
    )
    heard = bool(living) and not any(known.silent_at for known in processes.values())
    gap_s = at - before.at
    passed_s = gap_s if heard and 0 < gap_s <= LONGEST_GAP_S else 0.0
    idle_s = {
        name: 0.0 if name in asked or fell_silent or name not in before.idle_s else before.idle_s[name] + passed_s
        for name in watched
    }
    return IdleTimes(at=at, processes=processes, idle_s=idle_s)


def _asked(
    before: IdleTimes, *, living: Mapping[str, GatewayReport], left: Mapping[str, GatewayReport]
) -> frozenset[str]:
    """The deployments with a request under way, or one since the last look."""
    asked = {name for report in living.values() for name, count in report.in_flight.items() if count}
    for process, report in {**living, **left}.items():
        known = before.processes.get(process)
        counted = known.served if known else {}
        asked |= {name for name, count in report.served.items() if count != counted.get(name, 0)}
    return frozenset(asked)


def _processes(
    before: IdleTimes, *, at: float, living: Mapping[str, GatewayReport], left: Mapping[str, GatewayReport]
) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for name, report in {**living, **left}.items():
        known = before.processes.get(name) or Known(since=at, heard_at=at, replaces=not before.at)
        served, gone = dict(report.served), name in left
        found[name] = dataclasses.replace(known, heard_at=at, served=served, silent_at=0.0, left=gone)
    for name, known in before.processes.items():
        # What ended in good order is forgotten together with its last report.
        if name in found or known.left:
            continue
        silent = dataclasses.replace(known, silent_at=known.silent_at or at)
        if at - silent.silent_at <= SILENT_AT_MOST_S and not _is_replaced(silent, found):
            found[name] = silent
    return found


def _is_replaced(silent: Known, found: dict[str, Known]) -> bool:
    """Whether a process began in the place of one that was killed; each stands for one."""
    for name, known in found.items():
        heard = not known.silent_at and not known.left and not known.replaces
        if heard and known.since >= silent.heard_at - REPORT_LIVES_S:
            found[name] = dataclasses.replace(known, replaces=True)
            return True
    return False


def _limits() -> dict[str, int]:
    """Deployment -> minutes, of those that serve, are to stop when idle, and are not being replaced."""
    serving = Deployment.objects.filter(phase=Phase.READY, desired=Desired.RUNNING)
    serving = serving.exclude(replacements__phase__in=LIVE)
    specs = serving.values_list("pk", "spec")
    return {str(pk): minutes for pk, spec in specs if (minutes := spec.get("stop_after_idle_minutes"))}


def _stop(deployment_id: int, *, minutes: int) -> None:
    try:
        stop_deployment(deployment_id, actor=Actor.idle(), reason="idle", reason_params={"count": minutes})
    except BerthError as error:
        logger.warning("Deployment %s is idle and could not be stopped: %s", deployment_id, error)
    else:
        logger.info("Deployment %s is stopped: nobody asked it for %s minutes", deployment_id, minutes)
