"""Tells what this gateway process has under way, so that a server is stopped only when nothing is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from deployments.cancelling import end_task
from deployments.redis import RedisError
from deployments.redis_keys import gateway_left, gateway_state

from .routing import RoutingTable

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)
LIVES_S: Final = 3
#: Longer than any sweep pauses: so that a gateway which ended in good order is told from one that fell silent.
LEFT_LIVES_S: Final = 60
#: Renewed this often at least; a change of the table or of a count is told at the next look.
RENEW_S: Final = 1.0
LOOK_S: Final = 0.1
#: Redis is waited for this long, then a new connection is tried after a pause. Together they are less than a report
#: lives: over a connection that hangs nobody would hear of what is under way here, and a stop would cut it off.
PATIENCE_S: Final = 1.0
PAUSE_S: Final = 0.5


class Report:
    """Writes version and counts under a name of this process, for as long as it lives."""

    def __init__(self, connect: Callable[[], Redis], table: RoutingTable) -> None:
        self._connect = connect
        self._table = table
        process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._key = gateway_state(process)
        self._left_key = gateway_left(process)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on in the background."""
        self._task = asyncio.create_task(self._run(), name="berth gateway report")

    async def stop(self) -> None:
        """End, and take the report back: nobody should wait for a gateway that has gone. Safe to repeat."""
        task, self._task = self._task, None
        await end_task(task)

    async def _run(self) -> None:
        client = self._connect()
        away = False
        try:
            while True:
                try:
                    await self._tell(client)
                except (RedisError, OSError) as error:
                    if not away:
                        logger.warning("What is in flight cannot be told: %r", error)
                    away = True
                    await asyncio.sleep(PAUSE_S)
                else:
                    away = False
        finally:
            with contextlib.suppress(RedisError, OSError):
                async with asyncio.timeout(PATIENCE_S):
                    await client.set(self._left_key, self._state(), ex=LEFT_LIVES_S)
                    await client.delete(self._key)
            await client.aclose()

    async def _tell(self, client: Redis) -> None:
        told = self._state()
        async with asyncio.timeout(PATIENCE_S):
            await client.set(self._key, told, ex=LIVES_S)
        for _look in range(int(RENEW_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            if self._state() != told:
                return

    def _state(self) -> str:
        in_flight = self._table.in_flight
        told = {"version": self._table.version, "in_flight": in_flight.snapshot(), "served": in_flight.served}
        return json.dumps(told)
