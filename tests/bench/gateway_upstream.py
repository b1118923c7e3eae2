"""A model's server that costs next to nothing: what is measured through it is the gateway.

``python -m tests.bench.gateway_upstream PORT``. The body decides: ``"stream":true`` brings :data:`CHUNKS` frames, each
written by itself, as fast as they go or, where a message says :data:`PACED`, one each :data:`PACE_S`; of a message that
says :data:`SHORT` only :data:`SHORT_CHUNKS`, one each :data:`SHORT_PACE_S`. ``"hang":true`` brings no answer at all, or
after the first frame of a stream none further. GET tells the moments (of the monotonic clock, which processes of one
host share) when clients of those went away.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial

import uvloop

CHUNKS = 100
PACED = "[paced]"
PACE_S = 0.04
#: Tokens as a quick model's server sends them: between two it leaves its core to whoever reads.
SHORT = "[short]"
SHORT_CHUNKS = 2
SHORT_PACE_S = 0.005
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "served",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 160}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 160, "total_tokens": 180},
}
_BODY = json.dumps(ANSWER).encode()
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(frame: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def _frame(content: dict[str, object]) -> bytes:
    return _chunk(b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", **content}).encode() + b"\n\n")


_WORD = _frame({"created": 1, "model": "served", "choices": [{"index": 0, "delta": {"content": " word"}}]})
_USAGE = _frame({"created": 1, "model": "served", "choices": [], "usage": ANSWER["usage"]})
_DONE = _chunk(b"data: [DONE]\n\n")
left_at: list[float] = []


class Server(asyncio.Protocol):
    """One connection; requests one after the other."""

    def __init__(self) -> None:
        self._received = b""
        self._hangs = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        if self._hangs:
            left_at.append(time.monotonic())

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = 0
            if (at := head.find(b"content-length:")) >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        stream = b'"stream":true' in body
        if head.startswith(b"get"):
            told = json.dumps(left_at).encode()
            left_at.clear()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told))
        elif b'"hang":true' in body:
            self._hangs = True
            if stream:
                self._transport.write(_STREAM + _WORD)
        elif stream:
            self._transport.write(_STREAM)
            short = SHORT.encode() in body
            pace_s = PACE_S if PACED.encode() in body else SHORT_PACE_S if short else 0.0
            self._send(SHORT_CHUNKS if short else CHUNKS, counts=b'"include_usage":true' in body, pace_s=pace_s)
        else:
            self._transport.write(_WHOLE)

    def _send(self, left: int, *, counts: bool, pace_s: float) -> None:
        if self._transport.is_closing():
            return
        if left:
            self._transport.write(_WORD)
            # Each by itself, as tokens come.
            go_on = partial(self._send, left - 1, counts=counts, pace_s=pace_s)
            loop = asyncio.get_running_loop()
            if pace_s:
                loop.call_later(pace_s, go_on)
            else:
                loop.call_soon(go_on)
        else:
            self._transport.write((_USAGE if counts else b"") + _DONE + b"0\r\n\r\n")


async def _main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
