"""What each gateway process has under way and reaches, as it tells through Redis."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from .redis import RedisError, client
from .redis_keys import GATEWAY_STATES, GATEWAYS_LEFT, REACH_ASKED, ROUTES, gateway_reached

logger = logging.getLogger(__name__)
#: How long a gateway process is waited for. Reaching a server on the same host takes it some milliseconds.
ANSWERS_WITHIN_S = 0.5
POLL_S = 0.01


@dataclass(frozen=True, kw_only=True)
class GatewayReport:
    """What one gateway process tells: the version of its routing table, and counts by deployment.

    ``in_flight`` are requests under way, ``served`` those sent since the process began.
    """

    version: int
    in_flight: Mapping[str, int] = field(default_factory=dict)
    served: Mapping[str, int] = field(default_factory=dict)


def gateways_living() -> dict[str, GatewayReport]:
    """The report of each gateway process that lives, by its name. Raises RedisError, ValueError."""
    return _reports(GATEWAY_STATES)


def gateways_left() -> dict[str, GatewayReport]:
    """The last report of each that ended in good order within the last minute. Raises RedisError, ValueError."""
    return _reports(GATEWAYS_LEFT)


def requests_in_flight(deployment_id: int) -> int | None:
    """Requests at a deployment that has left the routing, over all gateway processes that live.

    None while one of them has not taken over the current routing table: it may still send new ones. With Redis
    away, or no gateway, there is nobody to wait for: 0.
    """
    try:
        table = json.loads(client().get(ROUTES) or "{}")
        living = gateways_living().values()
    except (RedisError, ValueError) as error:
        logger.warning("What is in flight at deployment %s is not known: %s", deployment_id, error)
        return 0
    if any(report.version < table.get("version", 0) for report in living):
        return None
    return sum(int(report.in_flight.get(str(deployment_id), 0)) for report in living)


def is_reached(deployment_id: int, endpoint: str) -> bool | None:
    """Whether a gateway process got any answer from ``endpoint``; asks them all, and waits half a second at most.

    None when none lives, or Redis is away: then nobody can tell. ``endpoint`` is the deployment's own, as its runtime
    told; nobody else's address ever gets on this channel.
    """
    key = gateway_reached(deployment_id)
    try:
        if not gateways_living():
            return None
        if client().get(key) == endpoint:
            return True
        client().publish(REACH_ASKED, json.dumps({"deployment": deployment_id, "endpoint": endpoint}))
        ends_at = time.monotonic() + ANSWERS_WITHIN_S
        while time.monotonic() < ends_at:
            if client().get(key) == endpoint:
                return True
            time.sleep(POLL_S)
    except (RedisError, ValueError) as error:
        logger.warning("Whether a gateway reaches deployment %s is not known: %s", deployment_id, error)
        return None
    return False


def _reports(pattern: str) -> dict[str, GatewayReport]:
    prefix = pattern.removesuffix("*")
    texts = {key.removeprefix(prefix): client().get(key) for key in client().scan_iter(match=pattern)}
    return {name: _report(text) for name, text in texts.items() if text}


def _report(text: str) -> GatewayReport:
    held = json.loads(text)
    return GatewayReport(version=held["version"], in_flight=held.get("in_flight", {}), served=held.get("served", {}))
