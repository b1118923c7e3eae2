"""Passes one request to a ready deployment and its answer back, byte for byte."""

from __future__ import annotations

from typing import Final

import aiohttp

from .body import ChatBody
from .departure import StopWhenClientLeaves
from .errors import error_frames
from .exchange import Exchange
from .routing import InFlight, Route
from .upstream import (
    Attempt,
    Attempts,
    address,
    explain_failure,
    headers_to_client,
    headers_to_upstream,
    log_failure,
    payload,
)

#: Whole answers up to this size are received before the first byte goes on: a broken one can be retried.
HELD_BYTES: Final = 1024 * 1024
_DONE: Final = b"[DONE]"
_TAIL_BYTES: Final = 64


class Relay:
    """Relays requests through one client; counts them in ``in_flight``."""

    def __init__(self, session: aiohttp.ClientSession, in_flight: InFlight) -> None:
        self._session = session
        self._in_flight = in_flight

    async def run(
        self,
        exchange: Exchange,
        body: ChatBody,
        routes: list[Route],
        departure: StopWhenClientLeaves,
    ) -> None:
        """Answer ``exchange`` from the first of ``routes`` that can. Raises UpstreamError if none could."""
        attempts = Attempts(routes)
        for attempt in attempts:
            with self._in_flight.held(attempt.route.deployment_id):
                try:
                    answered = await self._try(exchange, body, attempt, departure)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    if exchange.started:
                        raise
                    attempts.failed(attempt.route, error, exchange.request_id)
                    continue
            if answered:
                return
        if attempts.failure is not None:
            raise attempts.failure

    async def _try(self, exchange: Exchange, body: ChatBody, attempt: Attempt, departure: StopWhenClientLeaves) -> bool:
        """Ask once; False when the server is full or still loading and another is left to ask."""
        route = attempt.route
        response = await self._session.post(
            address(route.endpoint, exchange.path),
            data=payload(await body.with_model(route.served_name)),
            headers=headers_to_upstream(exchange.headers, exchange.request_id, route),
            allow_redirects=False,
        )
        try:
            if response.status == 503 and attempt.another:
                return False
            if _is_short(response):
                whole = await response.read()
                departure.finishing()
                await exchange.answer(response.status, headers_to_client(response, route), whole)
            else:
                await self._stream(exchange, response, route, departure)
        finally:
            # Not release(): what a client that left does not read must not be computed.
            response.close()
        return True

    async def _stream(
        self,
        exchange: Exchange,
        response: aiohttp.ClientResponse,
        route: Route,
        departure: StopWhenClientLeaves,
    ) -> None:
        content = response.content
        is_events = response.content_type == "text/event-stream" and response.status == 200
        # The status line waits for the first bytes: until then another server can still answer.
        chunk = await content.readany()
        if is_events and not chunk:
            raise aiohttp.ClientPayloadError("the stream ended before its first byte")
        await exchange.start(response.status, headers_to_client(response, route))
        tail = b""
        try:
            while chunk:
                await exchange.send_part(chunk)
                tail = chunk[-_TAIL_BYTES:] if len(chunk) >= _TAIL_BYTES else (tail + chunk)[-_TAIL_BYTES:]
                chunk = await content.readany()
            if is_events and _DONE not in tail:
                raise aiohttp.ClientPayloadError("the stream ended without [DONE]")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log_failure(route, error, exchange.request_id)
            departure.finishing()
            if is_events:
                failure = explain_failure(route, error)
                await exchange.finish(b"\n\n" + error_frames(failure, exchange.language))
            # Otherwise nothing can be said any more: uvicorn breaks the connection, which tells the client.
            return
        departure.finishing()
        await exchange.finish()


def _is_short(response: aiohttp.ClientResponse) -> bool:
    length = response.content_length
    return length is not None and length <= HELD_BYTES and response.content_type != "text/event-stream"
