"""Sends one request and measures its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from playground.gateway.http1.answer import Answer
from playground.gateway.http1.client import UpstreamClient
from playground.gateway.http1.errors import BrokenAnswerError, CannotConnectError, SilentError

from .asking import Kind, Wanted
from .meters import LONGEST_WORDS, StreamMeter, read_whole, refusal
from .outcomes import BROKE_OFF, SILENT, UNREACHABLE, LoadError, Outcome
from .target import Target

#: Of a whole answer: an image in base64.
LARGEST_WHOLE = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Asks one target in one way over one client. Never raises but for a cancellation."""

    client: UpstreamClient
    target: Target
    kind: Kind

    async def send(self, wanted: Wanted, outcome: Outcome) -> None:
        """Fill ``outcome``, also while the answer comes."""
        try:
            answer = await self._ask(wanted)
            try:
                await self._read(answer, outcome, stream=wanted.stream and self.kind.streams)
            finally:
                answer.close()
        except CannotConnectError as error:
            outcome.error = LoadError(UNREACHABLE, str(error)[:LONGEST_WORDS])
        except SilentError:
            outcome.error = LoadError(SILENT, f"{self.client.silence_s:g}")
        except OSError as error:
            outcome.error = LoadError(BROKE_OFF, str(error)[:LONGEST_WORDS])
        outcome.ended_at = outcome.ended_at or time.perf_counter()

    async def _ask(self, wanted: Wanted) -> Answer:
        """A kept connection may have been closed while it lay idle, which is no fault of the server: then once more.

        As HTTP clients do it; the time that it cost counts.
        """
        payload = self.kind.payload(wanted)
        head = self.target.head(self.target.path(self.kind, stream=wanted.stream), size=len(payload))
        was_kept = self.client.idle > 0
        try:
            return await self.client.ask(self.target.origin, head, payload)
        except BrokenAnswerError:
            if not was_kept:
                raise
            # The client has dropped the others, too, so this one is new.
            return await self.client.ask(self.target.origin, head, payload)

    async def _read(self, answer: Answer, outcome: Outcome, *, stream: bool) -> None:
        if answer.status != 200:
            body = await _whole(answer)
            outcome.error = refusal(answer.status, body)
            return
        # A server that does not stream, whatever it was asked.
        if not stream or answer.content_type == "application/json":
            body = await _whole(answer)
            read_whole(self.kind.wire, body, outcome, now=time.perf_counter())
            return
        meter = StreamMeter(self.kind.wire, outcome)
        while chunk := await answer.readany():
            meter.feed(chunk, time.perf_counter())
        meter.end(time.perf_counter())


async def _whole(answer: Answer) -> bytes:
    parts = bytearray()
    while len(parts) <= LARGEST_WHOLE and (chunk := await answer.readany()):
        parts += chunk
    return bytes(parts)
