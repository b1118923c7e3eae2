"""A model's server whose times are set, and which knows when it really wrote what.

In a test it runs in a thread; ``python -m tests.fakes.paced_server PORT TOKEN_MS TOKENS`` is a process of its own for
the benchmark.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(content: bytes) -> bytes:
    """A chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def frame(content: dict[str, object]) -> bytes:
    """An event of a stream, as a chunk."""
    return chunk(b"data: " + json.dumps({"id": "c", **content}).encode() + b"\n\n")


ROLE = frame({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
WORD = frame({"choices": [{"index": 0, "delta": {"content": " word"}}]})
STOP = frame({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def usage(prompt: int, output: int) -> bytes:
    """The chunk that counts."""
    return frame({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}})


@dataclass
class Pace:
    """``first_s`` is until the first token of the request of that number, ``token_s`` between two of ``tokens``."""

    first_s: Callable[[int], float]
    token_s: float
    tokens: int


@dataclass
class Told:
    """One answer as the server saw it, in seconds of ``time.perf_counter``."""

    asked_at: float
    first_at: float = 0.0
    last_at: float = 0.0


@dataclass
class PacedServer:
    """Answers each POST as ``pace`` says. ``told`` has an entry for each request, in their order."""

    pace: Pace
    told: list[Told] = field(default_factory=list)
    port: int = 0
    url: str = ""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def serve(self) -> asyncio.Server:
        """Listen, in the running loop."""
        server = await asyncio.get_running_loop().create_server(partial(_Connection, self), "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return server

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self.serve())
        ready.set()
        self._loop.run_forever()
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()


class _Connection(asyncio.Protocol):
    """One connection; requests one after the other."""

    def __init__(self, server: PacedServer) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        head = self._received[: max(end, 0)].lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if end < 0 or len(self._received) < end + 4 + size:
            return
        self._received = b""
        server, loop = self._server, asyncio.get_running_loop()
        told = Told(asked_at=time.perf_counter())
        server.told.append(told)
        self._transport.write(_HEAD + ROLE)
        first_at = loop.time() + server.pace.first_s(len(server.told) - 1)
        for number in range(server.pace.tokens):
            loop.call_at(first_at + number * server.pace.token_s, self._write, told, number)

    def _write(self, told: Told, number: int) -> None:
        if self._transport.is_closing():
            return
        now = time.perf_counter()
        told.first_at = told.first_at or now
        told.last_at = now
        tokens = self._server.pace.tokens
        last = STOP + usage(64, tokens) + DONE if number == tokens - 1 else b""
        self._transport.write(WORD + last)


def spread_first_s(number: int) -> float:
    """Of a hundred requests in a row, one each after 100, 102 … 298 ms."""
    return 0.1 + 0.002 * (number * 37 % 100)


async def _main(port: int, token_ms: float, tokens: int) -> None:
    pace = Pace(first_s=spread_first_s, token_s=token_ms / 1000, tokens=tokens)
    server = await PacedServer(pace=pace, port=port).serve()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
