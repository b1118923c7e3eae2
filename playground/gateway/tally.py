"""What is noted of a request on its way, for its reservation and for metering."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .auth import Caller
from .endpoints import Endpoint
from .metering import RequestRecord
from .reservation import UNLIMITED, Reservation
from .routing import Route, RoutingTable
from .usage import UNKNOWN, Usage

#: nginx's status for a client that left; it is never sent.
CLIENT_LEFT = 499
_LONGEST_NAME = 100


@dataclass(kw_only=True, slots=True)
class Tally:
    """One request. ``status`` is how it ended, whatever its status line said before."""

    caller: Caller
    endpoint: Endpoint
    request_id: bytes
    at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)
    model: str = ""
    streamed: bool = False
    route: Route | None = None
    status: int = 500
    usage: Usage = UNKNOWN
    queue_s: float = 0.0
    #: The part of ``queue_s`` for which a model was started.
    start_s: float = 0.0
    first_token_s: float | None = None
    reservation: Reservation = UNLIMITED

    def note_first_token(self) -> None:
        """The first part of a stream goes to the client."""
        self.first_token_s = time.perf_counter() - self.began

    @property
    def wait_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the client is told of its wait: for a place at a server, and for a start if there was one."""
        queue = (b"x-berth-queue-ms", b"%d" % ((self.queue_s - self.start_s) * 1000))
        return (queue, (b"x-berth-start-ms", b"%d" % (self.start_s * 1000))) if self.start_s else (queue,)

    def settle(self) -> None:
        """End the reservation: what no engine computed costs nothing, what broke off keeps its reserve."""
        usage = self.usage
        left_early = self.status == CLIENT_LEFT and self.route is None
        refused = self.status >= 400 and self.status != CLIENT_LEFT and self.first_token_s is None
        if usage is UNKNOWN and (left_early or refused):
            usage = Usage(prompt_tokens=0, completion_tokens=0)
        self.reservation.settle(usage.prompt_tokens, usage.completion_tokens)

    def record(self, table: RoutingTable) -> RequestRecord:
        """The request as metering keeps it. One that nobody answered counts for the model that it meant."""
        route = self.route
        asked = self.model[:_LONGEST_NAME]
        usage = self.usage
        # By position, in the order of its fields: names would cost as much again.
        return RequestRecord(
            self.at,
            self.request_id.decode(),
            self.caller.key_id,
            self.caller.name,
            table.model_of(asked) if route is None else route.model,
            asked if route is None else route.config,
            None if route is None else route.deployment_id,
            self.endpoint.kind,
            self.status,
            usage.prompt_tokens,
            usage.completion_tokens,
            self.queue_s,
            self.first_token_s,
            time.perf_counter() - self.began,
            self.streamed,
        )
