"""Passes the answer of an engine that speaks OpenAI's chat on to a client of Ollama's API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import GatewayError, UpstreamError
from playground.gateway.body import LIMIT_BYTES, Payload
from playground.gateway.errors import error_frames, error_object
from playground.gateway.http1.answer import Answer
from playground.gateway.http1.errors import BrokenAnswerError
from playground.gateway.upstream import BROKEN
from playground.gateway.wire import RawHeaders

from .answers import Objects
from .asking import Asked
from .streaming import LineStream
from .whole import translated, words_in

if TYPE_CHECKING:
    from playground.gateway.byte_budget import Hold
    from playground.gateway.relay import Job

_EVENTS: Final = "text/event-stream"
#: Vectors take longer than text: 32 of 1,024 numbers are 250 KB and 40 ms.
_QUICK_BYTES: Final = 32 * 1024
#: Notes that the server failed after the first byte, and gives what to say of it.
Broke = Callable[[Exception], GatewayError]


class Translation:
    """One request to one engine: ``payload`` for ``path``, and what becomes of the answer."""

    def __init__(self, *, path: str, payload: Payload, asked: Asked, objects: Objects) -> None:
        self.path = path
        self.payload = payload
        self._asked = asked
        self._objects = objects

    async def pass_on(self, job: Job, response: Answer, headers: RawHeaders, *, broke: Broke) -> None:
        """Answer the client. ``headers`` are those that any answer of this deployment has.

        Raises GatewayError or one of BROKEN as long as nothing was sent: then it can be asked elsewhere.
        """
        # Whoever holds it holds the client's body.
        self.payload = b""
        if response.status == 200 and response.content_type == _EVENTS:
            await self._stream(job, response, _of_type(headers, b"application/x-ndjson"), broke)
            return
        raw = await _read(response, job.hold)
        if response.status == 200:
            if len(raw) > _QUICK_BYTES:
                body, job.tally.usage = await asyncio.to_thread(translated, self._asked, raw, self._objects)
            else:
                body, job.tally.usage = translated(self._asked, raw, self._objects)
        else:
            body = _refusal(raw, job)
        job.departure.finishing()
        length = (b"content-length", str(len(body)).encode())
        await job.exchange.answer(response.status, [*_of_type(headers, b"application/json"), length], body)

    async def _stream(self, job: Job, response: Answer, headers: RawHeaders, broke: Broke) -> None:
        lines = LineStream(self._objects)
        readany = response.readany
        # The status line waits for the first line: until then an error has a status of its own.
        part = b""
        while not part and not lines.is_over():
            chunk = await readany()
            part = lines.feed(chunk) if chunk else lines.end()
            if not chunk and not lines.is_over():
                if not part:
                    raise BrokenAnswerError("the stream ended before its first event")
                break
        if lines.failure is not None and not part:
            job.tally.status = lines.failure.status
            raise lines.failure
        await _begin(job, response.status, headers)
        await self._stream_rest(job, readany, lines, part, broke)
        job.tally.usage = lines.usage

    async def _stream_rest(self, job: Job, readany: Any, lines: LineStream, part: bytes, broke: Broke) -> None:
        exchange = job.exchange
        failure: GatewayError | None = None
        try:
            while not lines.is_over():
                if part:
                    await exchange.send_part(part)
                    part = b""
                chunk = await readany()
                part = lines.feed(chunk) if chunk else lines.end()
                if not chunk and not lines.is_over():
                    raise BrokenAnswerError("the stream ended without its last event")
        except BROKEN as error:
            # Complete but for its counts: the client loses nothing.
            part += lines.end()
            failure = None if lines.is_over() else broke(error)
        job.departure.finishing()
        failure = lines.failure or failure
        if failure is not None:
            job.tally.status = failure.status
            part += error_frames(failure, exchange.language, exchange.shape)
        await exchange.finish(part)


async def _begin(job: Job, status: int, headers: RawHeaders) -> None:
    job.tally.streamed = True
    job.tally.note_first_token()
    job.forget_body()
    job.departure.streaming()
    await job.exchange.start(status, headers)


async def _read(response: Answer, hold: Hold) -> bytes:
    """The whole answer, its memory counted. Raises UpstreamError when it is too large for that."""
    raw = bytearray()
    while chunk := await response.readany():
        raw += chunk
        if len(raw) > LIMIT_BYTES or not hold.try_grow(len(chunk)):
            raise UpstreamError(_("The answer is too large to be translated. Ask for less at once."))
    return bytes(raw)


def _refusal(raw: bytes, job: Job) -> bytes:
    words = words_in(raw)
    error = UpstreamError("%(words)s", words=words) if words else UpstreamError(_("The model's server gave no reason."))
    return error_object(error, job.exchange.language, job.exchange.shape)


def _of_type(headers: RawHeaders, content_type: bytes) -> RawHeaders:
    dropped = (b"content-type", b"content-length", b"content-encoding")
    return [(b"content-type", content_type), *(header for header in headers if header[0] not in dropped)]
