"""A place at a deployment for each request, and a bounded line of those that wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BusyError, GatewayError

from .routing import InFlight, Route

#: Requests under way at all deployments, of one gateway process.
MOST_IN_FLIGHT: Final = 4096
MOST_WAITING: Final = 512
WAIT_S: Final = 30.0

Find = Callable[[], list[Route]]


@dataclass(eq=False, kw_only=True, slots=True)
class _Waiting:
    find: Find
    place: asyncio.Future[Route]


class Places:
    """Gives requests their deployment: the first of those found that has a place.

    A deployment has ``max_in_flight`` places, unbounded when its route names none; all together have ``most``.
    When none is free, requests wait in the order in which they came, ``most_waiting`` of them for ``wait_s``.
    """

    def __init__(
        self,
        in_flight: InFlight,
        *,
        most: int = MOST_IN_FLIGHT,
        most_waiting: int = MOST_WAITING,
        wait_s: float = WAIT_S,
    ) -> None:
        self._in_flight = in_flight
        self.most = most
        self.most_waiting = most_waiting
        self.wait_s = wait_s
        self._line: list[_Waiting] = []

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._line)

    async def take(self, find: Find) -> Route:
        """The deployment to ask; give it back with :meth:`leave`.

        ``find`` names the deployments in the order to try them, and is called again while it waits. Raises
        what it raises, or BusyError when too many wait already or it took too long.
        """
        route = self.try_take(find)
        return route if route is not None else await self._wait(find)

    def try_take(self, find: Find) -> Route | None:
        """As :meth:`take`, if that needs no waiting."""
        return self._free(find())

    def leave(self, route: Route) -> None:
        """Give a place back; whoever waits longest and may have it gets it at once."""
        self._in_flight.remove(route.deployment_id)
        if self._line:
            self.look_again()

    def look_again(self) -> None:
        """Serve those who wait: a place is free, or the table changed."""
        for waiting in [*self._line]:
            if waiting.place.done():
                continue
            try:
                route = self._free(waiting.find())
            except GatewayError as error:
                waiting.place.set_exception(error)
                continue
            if route is not None:
                waiting.place.set_result(route)
            if self._in_flight.total >= self.most:
                return

    def _free(self, routes: list[Route]) -> Route | None:
        if self._in_flight.total >= self.most:
            return None
        for route in routes:
            limit = route.max_in_flight
            if limit is None or self._in_flight[route.deployment_id] < limit:
                self._in_flight.add(route.deployment_id)
                return route
        return None

    async def _wait(self, find: Find) -> Route:
        if len(self._line) >= self.most_waiting:
            raise BusyError(_("Too many requests wait for this model already. Try again in a moment."))
        waiting = _Waiting(find=find, place=asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        try:
            async with asyncio.timeout(self.wait_s):
                return await waiting.place
        except TimeoutError:
            self._give_back(waiting)
            raise BusyError(
                _("No place came free within %(seconds)s s. Try again in a moment."), seconds=f"{self.wait_s:g}"
            ) from None
        except asyncio.CancelledError:
            self._give_back(waiting)
            raise
        finally:
            self._line.remove(waiting)

    def _give_back(self, waiting: _Waiting) -> None:
        """The place may have been given in the moment when nobody wanted it any more."""
        place = waiting.place
        if place.done() and not place.cancelled() and place.exception() is None:
            self.leave(place.result())
