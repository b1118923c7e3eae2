"""What each gateway process has under way, as it last told through Redis."""

from __future__ import annotations

import json
import logging

from .redis import RedisError, client
from .redis_keys import GATEWAY_STATES, ROUTES

logger = logging.getLogger(__name__)


def requests_in_flight(deployment_id: int) -> int | None:
    """Requests at a deployment that has left the routing, over all gateway processes that live.

    None while one of them has not taken over the current routing table: it may still send new ones. With Redis
    away, or no gateway, there is nobody to wait for: 0.
    """
    try:
        redis = client()
        table = json.loads(redis.get(ROUTES) or "{}")
        states = [json.loads(redis.get(key) or "{}") for key in redis.scan_iter(match=GATEWAY_STATES)]
    except (RedisError, ValueError) as error:
        logger.warning("What is in flight at deployment %s is not known: %s", deployment_id, error)
        return 0
    living = [state for state in states if state]
    if any(state["version"] < table.get("version", 0) for state in living):
        return None
    return sum(int(state["in_flight"].get(str(deployment_id), 0)) for state in living)
