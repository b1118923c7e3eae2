"""What each gateway process has under way and reaches, as it tells through Redis."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from .redis import RedisError, client
from .redis_keys import GATEWAY_STATES, REACH_ASKED, ROUTES, gateway_reached

logger = logging.getLogger(__name__)
#: How long a gateway process is waited for. Reaching a server on the same host takes it some milliseconds.
ANSWERS_WITHIN_S = 0.5
POLL_S = 0.01


def requests_in_flight(deployment_id: int) -> int | None:
    """Requests at a deployment that has left the routing, over all gateway processes that live.

    None while one of them has not taken over the current routing table: it may still send new ones. With Redis
    away, or no gateway, there is nobody to wait for: 0.
    """
    try:
        table = json.loads(client().get(ROUTES) or "{}")
        living = _living()
    except (RedisError, ValueError) as error:
        logger.warning("What is in flight at deployment %s is not known: %s", deployment_id, error)
        return 0
    if any(state["version"] < table.get("version", 0) for state in living):
        return None
    return sum(int(state["in_flight"].get(str(deployment_id), 0)) for state in living)


def is_reached(deployment_id: int, endpoint: str) -> bool | None:
    """Whether a gateway process got any answer from ``endpoint``; asks them all, and waits half a second at most.

    None when none lives, or Redis is away: then nobody can tell. ``endpoint`` is the deployment's own, as its runtime
    told; nobody else's address ever gets on this channel.
    """
    key = gateway_reached(deployment_id)
    try:
        if not _living():
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


def _living() -> list[dict[str, Any]]:
    """The reports of the gateway processes that live. Raises RedisError, ValueError."""
    texts = [client().get(key) for key in client().scan_iter(match=GATEWAY_STATES)]
    return [json.loads(text) for text in texts if text]
