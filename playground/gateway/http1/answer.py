"""A server's answer as it comes in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .errors import BrokenAnswerError

if TYPE_CHECKING:
    from .connection import Connection

#: A server is not read from while so many bytes of its answer wait to be taken.
HOLD_BYTES: Final = 256 * 1024

RawHeaders = list[tuple[bytes, bytes]]


class Answer:
    """One answer. The connection fills it; one task reads it, and closes it whatever happens.

    ``status`` is 0 until the head is there. Names in ``headers`` are in lower case.
    """

    __slots__ = (
        "_connection",
        "_parts",
        "_size",
        "_waiter",
        "complete",
        "content_length",
        "content_type",
        "encoded",
        "failure",
        "headers",
        "status",
        "until_closed",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.headers: RawHeaders = []
        #: Without parameters, in lower case; empty when the server named none.
        self.content_type = ""
        #: In bytes; None when the server did not state it.
        self.content_length: int | None = None
        #: Whether the body is compressed.
        self.encoded = False
        #: Whether the body ends with the connection.
        self.until_closed = False
        self.complete = False
        self.failure: OSError | None = None

    async def readany(self) -> bytes:
        """What has come and was not taken yet, waiting for it; empty at the end.

        Raises BrokenAnswerError or SilentError after everything that came was taken.
        """
        while not self._parts:
            if self.complete:
                return b""
            await self.wait()
        return self._take()

    async def read(self) -> bytes:
        """All that follows. Raises as :meth:`readany` does."""
        if self.complete:
            return self._take() if self._parts else b""
        parts = []
        while part := await self.readany():
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Have no more of it. Of an answer that is not complete the connection ends, which stops the server's work."""
        if not self.complete:
            self._connection.abort()

    # ---- for the connection ------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Until something happens. Raises what went wrong, if something did already."""
        if self.failure is not None:
            raise self.failure
        waiter = self._waiter = self._connection.waiting()
        await waiter

    def wake(self) -> None:
        """Something happened."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def waits(self) -> bool:
        """Whether somebody waits for the server."""
        return self._waiter is not None

    @property
    def is_full(self) -> bool:
        """Whether the server should be held back."""
        return self._size > HOLD_BYTES

    def begin(self, status: int, headers: RawHeaders) -> None:
        """The head is there. Raises BrokenAnswerError when it does not say plainly where the body ends."""
        fields = dict(headers)
        length = fields.get(b"content-length")
        coding = fields.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or _times(b"transfer-encoding", headers) > 1):
            raise BrokenAnswerError("the answer has a transfer coding that is not chunked")
        # What is not so plain the parser has refused: lengths that differ or stand beside a coding, folded lines.
        self.content_length = None if length is None else int(length)
        self.until_closed = coding is None and length is None and status not in (204, 304)
        kind = fields.get(b"content-type")
        if kind is not None:
            self.content_type = kind.split(b";", 1)[0].strip().lower().decode("latin-1")
        self.encoded = b"content-encoding" in fields
        self.headers = headers
        self.status = status

    def feed(self, part: bytes) -> None:
        """Some of the body came."""
        self._parts.append(part)
        self._size += len(part)

    def _take(self) -> bytes:
        parts = self._parts
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if not self.complete:
            self._connection.go_on_reading()
        return taken


def _times(name: bytes, headers: RawHeaders) -> int:
    return sum(1 for each, _value in headers if each == name)
