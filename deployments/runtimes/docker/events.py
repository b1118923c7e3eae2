"""The engine's events, as names of runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from docker.errors import DockerException
from requests.exceptions import RequestException

from .engine import new_connection, silent
from .labels import ours

#: Events are read in windows of this length, so that an end is noticed without a second thread. The engine sends an
#: event at once and only the silence between two windows is waited for; a window begins where the last one ended.
WINDOW_S = 1.0
TOLD = frozenset({"create", "start", "restart", "die", "oom", "kill", "pause", "unpause", "destroy", "rename"})


def changes(*, ended: Callable[[], bool]) -> Iterator[str]:
    """See :meth:`deployments.runtimes.base.Runtime.changes`. Raises RuntimeUnavailableError."""
    client = new_connection()
    since = time.time()
    filters = {"type": "container", **ours()}
    try:
        while not ended():
            until = max(time.time(), since) + WINDOW_S
            began = time.monotonic()
            window: dict[str, Any] = {"since": f"{since:.6f}", "until": f"{until:.6f}"}  # finer than the SDK's types
            for event in client.events(**window, filters=filters, decode=True):
                if str(event.get("Action", "")).partition(":")[0] in TOLD:
                    yield str(event["Actor"]["Attributes"]["name"])
            since = until
            if time.monotonic() - began < WINDOW_S / 2:
                # The engine closed the window early: it ends, or its clock is another's. Never turn in a hurry.
                time.sleep(WINDOW_S / 2)
    except (DockerException, RequestException, OSError, ValueError, KeyError) as error:
        raise silent(error) from error
    finally:
        client.close()
