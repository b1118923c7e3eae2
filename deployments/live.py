"""Tells pages and gateways that something changed. A lost message is made good by the next sweep."""

from __future__ import annotations

import dataclasses
import json
import logging

from .redis import RedisError, client
from .redis_keys import ROUTES, ROUTES_CHANGED
from .selectors import ready_endpoints, startable_configs

logger = logging.getLogger(__name__)

LIVE_CHANNEL = "berth:live"


def publish_change(deployment_id: int, config: str) -> None:
    """Hint to every page that this deployment changed. Never raises."""
    try:
        client().publish(LIVE_CHANNEL, json.dumps({"deployment": deployment_id, "config": config}))
    except RedisError as error:
        logger.warning("Pages were not told of deployment %s: %s", deployment_id, error)


def publish_routes() -> bool:
    """Write the routing table if it differs from the database, and wake the gateways. Never raises.

    Under a lock, so that of two writers the one that read the database last also writes last. Returns
    whether the table changed.
    """
    try:
        with client().lock("berth:routes:lock", timeout=5, blocking_timeout=5):
            table = {
                "routes": [dataclasses.asdict(endpoint) for endpoint in ready_endpoints()],
                "startable": [dataclasses.asdict(config) for config in startable_configs()],
            }
            version, before = _parsed(client().get(ROUTES))
            if before == table:
                return False
            version += 1
            client().set(ROUTES, json.dumps({"version": version, **table}))
            client().publish(ROUTES_CHANGED, str(version))
            return True
    except RedisError as error:
        logger.warning("The gateways were not told of new routes: %s", error)
        return False


def _parsed(table: str | None) -> tuple[int, object]:
    """Version and the rest of what Redis holds; a table that is missing or unreadable is written anew."""
    try:
        held = json.loads(table or "")
        return int(held.pop("version")), held
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, None
