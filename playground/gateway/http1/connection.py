"""One connection to a server: one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import httptools

from .answer import Answer, RawHeaders
from .errors import BrokenAnswerError, SilentError

if TYPE_CHECKING:
    from .origin import Origin

#: Longer requests go to the socket in steps of so many bytes, each when the last one has mostly left.
STEP_BYTES: Final = 256 * 1024
#: Of a head, its interim answers and the trailers after a body.
MOST_HEAD_BYTES: Final = 64 * 1024

Payload = bytes | list[bytes | memoryview]


class Connection(asyncio.Protocol):
    """Made by the client's pool. ``on_free`` is told when it may serve another request, ``on_lost`` when it ended."""

    def __init__(
        self,
        origin: Origin,
        *,
        silence_s: float,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.origin = origin
        #: Of the loop's clock.
        self.free_since = 0.0
        self._silence_s = silence_s
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._headers: RawHeaders = []
        self._head_bytes = 0
        self._interim = False
        self._keeps = False
        self._surplus = False
        self._connected = False
        self._sent = True
        self._holds_back = False
        self._writable = True
        self._quiet_since = 0.0
        self._look: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether another request may be tried."""
        return not self._transport.is_closing()

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self._answer is not None

    async def ask(self, head: bytes, payload: Payload) -> Answer:
        """Send a request and wait for the head of its answer.

        Raises BrokenAnswerError or SilentError. However it ends without an answer, the connection does, too.
        """
        answer = self._answer = Answer(self)
        self._head_bytes = 0
        self._sent = False
        if self._look is None:
            self._look = self._loop.call_later(self._silence_s, self._look_for_silence)
        try:
            if isinstance(payload, bytes) and len(payload) <= STEP_BYTES:
                self._transport.write(head + payload)
                self._sent = True
            else:
                self._transport.write(head)
                await self._send(answer, payload)
            while not answer.status:
                await answer.wait()
        except BaseException:
            self.abort()
            raise
        return answer

    async def _send(self, answer: Answer, payload: Payload) -> None:
        for step in _steps(payload):
            self._transport.write(step)
            while not self._writable:
                await answer.wait()
                # Refused before it was read whole: nobody takes the rest, and nobody may use the connection again.
                if answer.status >= 400 or answer.complete:
                    return
        self._sent = True

    def abort(self) -> None:
        """End it at once; an answer that is not complete stays so."""
        self._answer = None
        if self._connected:
            self._transport.abort()

    def fail(self, error: OSError) -> None:
        """End it because of ``error``, which whoever waits for an answer gets."""
        answer = self._answer
        self.abort()
        if answer is not None:
            answer.failure = error
            answer.wake()

    def waiting(self) -> asyncio.Future[None]:
        """A future for somebody who waits for the server from now on."""
        self._quiet_since = self._loop.time()
        return self._loop.create_future()

    def go_on_reading(self) -> None:
        """What was read has been taken."""
        if self._holds_back:
            self._holds_back = False
            if self.is_open:
                self._transport.resume_reading()

    # ---- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._connected = True

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Nobody asked.
            self._transport.abort()
            return
        self._quiet_since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not answer.complete:
                self.fail(BrokenAnswerError(f"the answer is no HTTP: {error.__context__ or error}"))
                return
            self._surplus = True
        if answer.complete:
            self._finish()
        elif not answer.status:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.fail(BrokenAnswerError("the head of the answer is too long"))
                return
        elif answer.is_full and not self._holds_back:
            self._holds_back = True
            self._transport.pause_reading()
        answer.wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        answer, self._answer = self._answer, None
        if answer is not None:
            if error is None and answer.until_closed and answer.status:
                answer.complete = True
            else:
                answer.failure = BrokenAnswerError(f"the connection ended: {error or 'closed by the server'}")
            answer.wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._answer is not None:
            self._answer.wake()

    # ---- httptools ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers = []
        if self._answer is not None and self._answer.complete:
            raise BrokenAnswerError("more follows than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES:
            raise BrokenAnswerError("the head of the answer is too long")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101 or status > 599:
            raise BrokenAnswerError(f"the server answers with status {status}, which nobody asked for")
        self._interim = status < 200
        if not self._interim and self._answer is not None:
            self._answer.begin(status, self._headers)

    def on_body(self, part: bytes) -> None:
        if self._answer is not None:
            self._answer.feed(part)

    def on_message_complete(self) -> None:
        if not self._interim and self._answer is not None:
            self._answer.complete = True
            self._keeps = self._parser.should_keep_alive()

    # ---- endings -----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._answer = None
        self.go_on_reading()
        if self._keeps and self._sent and not self._surplus and self.is_open:
            self.free_since = self._loop.time()
            self._on_free(self)
        else:
            self._transport.abort()

    def _look_for_silence(self) -> None:
        """One look for a whole time of silence costs less than a timer for each wait."""
        self._look = None
        answer = self._answer
        if answer is None:
            return
        now = self._loop.time()
        due = (self._quiet_since if answer.waits else now) + self._silence_s
        if due <= now:
            self.fail(SilentError(f"nothing came or went for {self._silence_s:g} s"))
        else:
            self._look = self._loop.call_at(due, self._look_for_silence)


def _steps(payload: Payload) -> Iterator[bytes | memoryview]:
    for part in payload if isinstance(payload, list) else [memoryview(payload)]:
        for start in range(0, len(part), STEP_BYTES):
            yield part[start : start + STEP_BYTES]
