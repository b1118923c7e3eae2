"""Ships the logs of many runs, often: a share for each, and hardly anything for those that are silent."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from .logs import ship_after, shipped_cursor
from .models import Deployment
from .redis import RedisError

logger = logging.getLogger(__name__)
#: Of one run in one call. Called four times a second, a run gets 2,000 lines a second through.
CALL_LINES = 500
#: A gap ends a chunk early.
MOST_CHUNKS = 5
#: So long the last shipped line is remembered; Redis may have lost it, or a worker may have shipped more.
REMEMBERED_S = 5.0


class LogShipper:
    """Remembers how far each run's stream is. One thread."""

    def __init__(self) -> None:
        self._cursors: dict[str, tuple[int, float]] = {}

    def keep(self, names: Collection[str]) -> None:
        """Forget all runs but these."""
        self._cursors = {name: known for name, known in self._cursors.items() if name in names}

    def ship(self, deployment: Deployment) -> None:
        """Ship what is new of a run, up to its share. Redis's silence is logged; the runtime's is raised."""
        name = deployment.run_name
        try:
            cursor, asked_at = self._cursors.pop(name, (0, float("-inf")))
            if time.monotonic() - asked_at > REMEMBERED_S:
                cursor, asked_at = shipped_cursor(deployment), time.monotonic()
            left = CALL_LINES
            for _chunk in range(MOST_CHUNKS):
                shipped = ship_after(deployment, cursor, limit=left, fetch=False)
                cursor, left = shipped.cursor, left - shipped.lines
                if not shipped.lines or left <= 0:
                    break
        except RedisError as error:
            logger.warning("Log of %s was not shipped: %s", name, error)
        else:
            self._cursors[name] = (cursor, asked_at)
