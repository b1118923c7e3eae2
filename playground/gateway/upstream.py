"""The gateway's side towards the models' servers: whom to ask next, and what to say of a failure."""

from __future__ import annotations

import logging
from typing import Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import UpstreamError, UpstreamTimeoutError

from .http1.errors import CannotConnectError
from .routing import Route

logger = logging.getLogger(__name__)

#: How many deployments are tried for one request.
TRY_AT_MOST: Final = 3
#: What an attempt raises that another server, or the same one once more, may do better.
BROKEN: Final = (OSError, TimeoutError)


class Attempts:
    """The tries for one request, as long as trying on makes sense.

    A server that cannot be reached costs nothing, so the next is tried. One that broke off may have been
    brought down by the request itself: only one more server is risked. If there is only one, it is
    asked once more, since it may just have closed an idle connection.
    """

    def __init__(self) -> None:
        self._tried: list[int] = []
        self._broke_off = 0
        self.failure: UpstreamError | UpstreamTimeoutError | None = None

    def left(self, routes: list[Route]) -> list[Route]:
        """Those of ``routes`` that may still be tried, in their order."""
        if not self._tried:
            return routes
        if len(self._tried) >= TRY_AT_MOST or isinstance(self.failure, UpstreamTimeoutError) or self._broke_off > 1:
            return []
        fresh = [route for route in routes if route.deployment_id not in self._tried]
        if not fresh and self._broke_off == 1 and len(self._tried) == 1:
            return routes
        return fresh

    def fresh(self, routes: list[Route]) -> bool:
        """Whether another than those tried is left to try."""
        return any(route.deployment_id not in self._tried for route in self.left(routes))

    def begin(self, route: Route) -> None:
        """Note that ``route`` is tried now."""
        self._tried.append(route.deployment_id)

    def passed_over(self, route: Route) -> None:
        """Note that ``route`` is full or still loading."""
        sentence = _("The server of %(config)s is full or still loading. See the state of deployment %(deployment)s.")
        self.failure = UpstreamError(sentence, config=route.config, deployment=str(route.deployment_id))

    def failed(self, route: Route, error: Exception, request_id: bytes) -> None:
        """Note that ``route`` gave no answer because of ``error``."""
        self.failure = explain_failure(route, error)
        if not isinstance(error, CannotConnectError):
            self._broke_off += 1
        log_failure(route, error, request_id)


def explain_failure(route: Route, error: Exception) -> UpstreamError | UpstreamTimeoutError:
    """The operator's sentence for what an attempt at ``route`` raised."""
    sentence = _("The server of %(config)s broke off. The log of deployment %(deployment)s has the cause.")
    kind: type[UpstreamError | UpstreamTimeoutError] = UpstreamError
    if isinstance(error, CannotConnectError):
        sentence = _("The server of %(config)s cannot be reached. See the state of deployment %(deployment)s.")
    elif isinstance(error, TimeoutError):
        sentence = _("The server of %(config)s fell silent. See the log of deployment %(deployment)s.")
        kind = UpstreamTimeoutError
    return kind(sentence, config=route.config, deployment=str(route.deployment_id))


def log_failure(route: Route, error: Exception, request_id: bytes) -> None:
    """One line for the operator; never the request's content."""
    where = f"deployment {route.deployment_id} ({route.config})"
    logger.warning("Request %s at %s failed: %r", request_id.decode(), where, error)
