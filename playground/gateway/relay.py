"""Passes one request to a ready deployment and its answer back, byte for byte."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from playground.exceptions import GatewayError

from .body import LARGE_BYTES, RequestBody
from .byte_budget import Hold
from .departure import StopWhenClientLeaves
from .endpoints import IMAGES, Endpoint
from .errors import error_frames
from .events import EventStream
from .exchange import Exchange
from .headers import head_to_upstream, headers_to_client
from .http1.answer import Answer
from .http1.client import UpstreamClient
from .http1.errors import BrokenAnswerError
from .http1.origin import origin_of
from .images.answering import Images
from .ollama.body import OllamaBody
from .ollama.passing import Translation
from .places import Find, Places
from .routing import Route, RoutingTable
from .tally import Tally
from .upstream import BROKEN, Attempts, explain_failure, log_failure
from .usage import usage_in

#: Whole answers up to this size are received before the first byte goes on: a broken one can be retried.
HELD_BYTES: Final = 1024 * 1024
_TAIL_BYTES: Final = 4096
_EVENTS: Final = "text/event-stream"
_LINES: Final = "application/x-ndjson"
#: Servers that nobody knows may refuse a member that they do not know.
_STRICT_ENGINES: Final = frozenset({"custom"})


@dataclass(kw_only=True, slots=True, eq=False)
class Job:
    """One request with everything that belongs to it."""

    exchange: Exchange
    endpoint: Endpoint
    body: RequestBody
    hold: Hold
    departure: StopWhenClientLeaves
    tally: Tally

    def forget_body(self) -> None:
        """Free a large body: the answer has begun, so that nobody else will be asked."""
        if self.hold.size > LARGE_BYTES:
            self.body.forget()
            self.hold.shrink_to(0)


class Relay:
    """Relays requests through one client to the deployments of ``table``, each in one of ``places``."""

    def __init__(self, client: UpstreamClient, table: RoutingTable, places: Places, images: Images) -> None:
        self._client = client
        self._table = table
        self._places = places
        self._images = images

    async def run(self, job: Job) -> None:
        """Answer from the first deployment that can.

        Raises what the routing table and :class:`Places` raise, or the failure of the last deployment tried.
        """
        attempts = Attempts()
        table, name, endpoint, tally = self._table, job.body.model, job.endpoint, job.tally

        def find() -> list[Route]:
            left = attempts.left(table.candidates(name, endpoint))
            if not left and attempts.failure is not None:
                raise attempts.failure
            return left

        answered = False
        while not answered:
            route = await self._take(find, attempts, tally)
            tally.route = route
            job.exchange.wait_headers = tally.wait_headers
            attempts.begin(route)
            try:
                answered = await self._try(job, route, attempts)
            except BROKEN as error:
                table.health.failed(route.deployment_id)
                if job.exchange.started:
                    raise
                attempts.failed(route, error, job.exchange.request_id)
            finally:
                self._places.leave(route)

    async def _take(self, find: Find, attempts: Attempts, tally: Tally) -> Route:
        try:
            route = self._places.try_take(find)
            if route is None:
                asked_at = time.perf_counter()
                try:
                    route = await self._places.take(find)
                finally:
                    tally.queue_s += time.perf_counter() - asked_at
            return route
        except GatewayError:
            # A failure of a server says more than that there is no other.
            if attempts.failure is not None:
                raise attempts.failure from None
            raise

    async def _try(self, job: Job, route: Route, attempts: Attempts) -> bool:
        """Ask once; False when the server is full or still loading and another is left to ask."""
        exchange, body, endpoint = job.exchange, job.body, job.endpoint
        if endpoint is IMAGES and self._images.adapts(job, route):
            await self._images.answer(job, route)
            if job.tally.status < 500:
                self._table.health.answered(route.deployment_id)
            return True
        counts = endpoint.counts_stream and body.streams and not body.asks_usage and route.engine not in _STRICT_ENGINES
        translation = body.translation(route) if isinstance(body, OllamaBody) else None
        if translation is None:
            path, payload = endpoint.upstream_path, body.payload(route.served_name, with_usage=counts)
        else:
            path, payload = translation.path, translation.payload
        head = head_to_upstream(
            route,
            path,
            headers=exchange.headers,
            request_id=exchange.request_id,
            content_type=body.content_type,
            size=len(payload) if isinstance(payload, bytes) else sum(map(len, payload)),
        )
        response = await self._client.ask(origin_of(route.endpoint), head, payload)
        del payload
        try:
            if response.status == 503:
                self._table.health.failed(route.deployment_id)
                if attempts.fresh(self._table.candidates(body.model, endpoint)):
                    attempts.passed_over(route)
                    return False
            if translation is None:
                await self._pass_on(job, response, route, strips=counts)
            else:
                await self._translate(job, response, route, translation)
            if response.status != 503 and job.tally.status < 500:
                self._table.health.answered(route.deployment_id)
        finally:
            # Not release(): what a client that left does not read must not be computed.
            response.close()
        return True

    async def _pass_on(self, job: Job, response: Answer, route: Route, *, strips: bool) -> None:
        tally = job.tally
        tally.status = response.status
        kind = response.content_type
        if response.status == 200 and kind in (_EVENTS, _LINES) and not response.encoded:
            events = EventStream(job.endpoint.ending, strips=strips, lines=kind == _LINES)
            await self._stream_events(job, response, route, events)
            return
        length = response.content_length
        if kind != _EVENTS and length is not None and length <= HELD_BYTES and job.hold.try_grow(length):
            held, ended = await response.read(), True
        elif kind == "application/json" and length is None and job.hold.try_grow(HELD_BYTES):
            held, ended = await _read_some(response)
        else:
            held, ended = await response.readany(), False
        if not ended:
            held = await self._stream_bytes(job, response, route, held)
        if response.status == 200 and kind == "application/json":
            tally.usage = usage_in(job.endpoint.error_shape, held, headers=response.headers)
        if ended:
            job.departure.finishing()
            await job.exchange.answer(response.status, headers_to_client(response, route), held)

    async def _translate(self, job: Job, response: Answer, route: Route, translation: Translation) -> None:
        job.tally.status = response.status
        headers = headers_to_client(response, route)
        await translation.pass_on(job, response, headers, broke=lambda error: self._broke(job, route, error))

    async def _stream_bytes(self, job: Job, response: Answer, route: Route, chunk: bytes) -> bytes:
        """Pass an answer on as it comes, ``chunk`` first; gives its last bytes."""
        exchange = job.exchange
        await self._begin(job, response, headers_to_client(response, route))
        tail = b""
        try:
            while chunk:
                await exchange.send_part(chunk)
                tail = (tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]
                chunk = await response.readany()
        except BROKEN as error:
            # Nothing can be said any more: uvicorn breaks the connection, which tells the client.
            self._broke(job, route, error)
            return tail
        job.departure.finishing()
        await exchange.finish()
        return tail

    async def _stream_events(self, job: Job, response: Answer, route: Route, events: EventStream) -> None:
        exchange, endpoint, readany = job.exchange, job.endpoint, response.readany
        # The status line waits for the first whole event: until then another server can still answer.
        chunk = await readany()
        while chunk and not (part := events.feed(chunk)):
            chunk = await readany()
        if not chunk:
            part = events.end()
            if not part or not events.complete:
                raise BrokenAnswerError("the stream ended before its first event")
        headers = [header for header in headers_to_client(response, route) if header[0] != b"content-length"]
        await self._begin(job, response, headers)
        rest = b""
        try:
            while chunk:
                if part:
                    await exchange.send_part(part)
                chunk = await readany()
                part = events.feed(chunk) if chunk else b""
            rest = part or events.end()
            if not events.complete:
                raise BrokenAnswerError("the stream ended without its last event")
        except BROKEN as error:
            failure = self._broke(job, route, error)
            frames = error_frames(failure, exchange.language, exchange.shape, endpoint.ending)
            await exchange.finish((b"\n\n" if events.torn else b"") + frames)
        else:
            job.departure.finishing()
            await exchange.finish(rest)
        job.tally.usage = events.usage or usage_in(
            endpoint.error_shape, events.tail, head=events.head if endpoint.error_shape == "anthropic" else b""
        )

    async def _begin(self, job: Job, response: Answer, headers: list[tuple[bytes, bytes]]) -> None:
        job.tally.streamed = True
        job.tally.note_first_token()
        job.forget_body()
        job.departure.streaming()
        await job.exchange.start(response.status, headers)

    def _broke(self, job: Job, route: Route, error: Exception) -> GatewayError:
        """Note a failure after the first byte."""
        log_failure(route, error, job.exchange.request_id)
        self._table.health.failed(route.deployment_id)
        failure = explain_failure(route, error)
        job.tally.status = failure.status
        job.departure.finishing()
        return failure


async def _read_some(answer: Answer) -> tuple[bytes, bool]:
    """A whole answer of unknown length, or its beginning and False."""
    chunks: list[bytes] = []
    size = 0
    while chunk := await answer.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > HELD_BYTES:
            return b"".join(chunks), False
    return b"".join(chunks), True
