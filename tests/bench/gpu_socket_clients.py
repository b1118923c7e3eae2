"""The browsers of the bench of the GPU sockets: ``python -m tests.bench.gpu_socket_clients``, a process of its own.

Reads a JSON line with ``url``, ``cookies`` (sessions, used in turn), ``healthy`` and ``mute``; says ``open`` when all
are connected, measures from the next line to the one after it, and ends with a JSON line of :class:`Heard`.

It shares two cores with the server that it measures, so it is as cheap as can be: it reads the heads of frames, and
what a text says of its number and time it looks up once, since all sockets get the same.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

AT_ONCE = 16
SEQ = re.compile(rb'"seq":(\d+)')
AT = re.compile(rb'"at":([\d.]+)')
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
MASKED = 0x80
#: A browser masks what it says; by zeros that is the same bytes.
NO_MASK = b"\0\0\0\0"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """``frames`` over all healthy sockets, of which ``lost`` never came; latencies from publishing to receipt.

    ``cpu_share`` is what the clients themselves took of a core.
    """

    sockets: int
    frames: int
    lost: int
    closed: int
    p50_ms: float
    p95_ms: float
    worst_ms: float
    cpu_share: float


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a text says of itself, and the frame that acknowledges it."""

    seq: int
    is_delta: bool
    at: float
    acknowledgement: bytes


class Clients:
    """What all sockets share: whether it is measured, the latencies, and the texts that were read already."""

    def __init__(self) -> None:
        self.is_measuring = False
        self.late_s: list[float] = []
        self._told: dict[bytes, Told] = {}

    def told(self, text: bytes) -> Told:
        """Read at the first socket that gets it."""
        found = self._told.get(text)
        if found is None:
            if len(self._told) > 64:
                self._told.clear()
            found = self._told[text] = read_text(text)
        return found


def read_text(text: bytes) -> Told:
    """A snapshot has its number in front, everything else at the end."""
    seq = SEQ.search(text) if text.startswith(b'{"type":"snapshot"') else list(SEQ.finditer(text))[-1]
    at = AT.search(text)
    assert seq is not None
    said = b'{"ack":%s}' % seq[1]
    return Told(
        seq=int(seq[1]),
        is_delta=text.startswith(b'{"type":"delta"'),
        at=float(at[1]) if at else 0.0,
        acknowledgement=frame(TEXT, said),
    )


def frame(opcode: int, payload: bytes) -> bytes:
    """One of a client, of fewer than 126 bytes: RFC 6455, section 5.2."""
    return bytes((opcode, MASKED | len(payload))) + NO_MASK + payload


class Browser(asyncio.Protocol):
    """A healthy browser: reads, notes when, and acknowledges."""

    def __init__(self, clients: Clients, request: bytes) -> None:
        self.clients, self.request = clients, request
        self.first = self.last = -1
        self.frames = 0
        self.is_closed = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed before it was open"))

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._buffer += data
        if not self.opened.done() and not self._shake_hands():
            return
        assert self._transport is not None
        for opcode, payload in self._whole_frames():
            if opcode == TEXT:
                self._hear(self.clients.told(payload), now)
            elif opcode == PING:
                self._transport.write(frame(PONG, payload))
            elif opcode == CLOSE:
                self._transport.close()

    def _shake_hands(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.opened.set_exception(ConnectionError(head[:200].decode("latin-1")))
            return False
        self._buffer = rest
        self.opened.set_result(None)
        return True

    def _whole_frames(self) -> Iterator[tuple[int, bytes]]:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            size, begin = buffer[at + 1], at + 2
            if size == 126:
                size, begin = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            elif size == 127:
                size, begin = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
            if len(buffer) < begin + size:
                break
            yield buffer[at], buffer[begin : begin + size]
            at = begin + size
        self._buffer = buffer[at:]

    def _hear(self, told: Told, now: float) -> None:
        assert self._transport is not None
        self._transport.write(told.acknowledgement)
        if not self.clients.is_measuring:
            self.first = told.seq
        elif told.is_delta:
            self.frames += 1
            self.clients.late_s.append(now - told.at)
        self.last = told.seq


def handshake(url: str, cookie: str) -> bytes:
    """What a browser asks to open a socket."""
    lines = [
        "GET /ws/gpus/ HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        f"Origin: {url}",
        f"Cookie: {cookie}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def open_browser(clients: Clients, url: str, cookie: str) -> Browser:
    """A socket that is read from the moment that it is open. Raises ConnectionError, OSError."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    request = handshake(url, cookie)
    assert address.hostname is not None
    assert address.port is not None
    _transport, browser = await loop.create_connection(
        lambda: Browser(clients, request), address.hostname, address.port
    )
    await browser.opened
    return browser


async def open_mute(url: str, cookie: str) -> asyncio.StreamWriter:
    """A client that shakes hands and then reads nothing at all."""
    address = urlsplit(url)
    # A limit of one byte: what the handshake leaves unread already stops the reading.
    _reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1)
    writer.write(handshake(url, cookie))
    await writer.drain()
    return writer


async def main() -> None:
    """Open the sockets, read until the input ends, and print what was heard."""
    loop = asyncio.get_running_loop()
    asked = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    url, cookies = asked["url"], asked["cookies"]
    clients, gate = Clients(), asyncio.Semaphore(AT_ONCE)

    async def begin(number: int) -> Browser:
        async with gate:
            return await open_browser(clients, url, cookies[number % len(cookies)])

    browsers = await asyncio.gather(*(begin(number) for number in range(asked["healthy"])))
    mute = [await open_mute(url, cookies[0]) for _ in range(asked["mute"])]
    await asyncio.sleep(1.5)
    say("open")
    await loop.run_in_executor(None, sys.stdin.readline)
    clients.is_measuring = True
    began, cpu_s = time.monotonic(), time.process_time()
    await loop.run_in_executor(None, sys.stdin.readline)
    cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - began)
    say(json.dumps(asdict(summary(browsers, clients.late_s, cpu_share=cpu_share))))
    for writer in mute:
        writer.close()


def summary(browsers: list[Browser], late_s: list[float], *, cpu_share: float) -> Heard:
    """What all of them heard since it is measured."""
    newest = max(browser.last for browser in browsers)
    late_ms = sorted(1000 * late for late in late_s)
    return Heard(
        sockets=len(browsers),
        frames=len(late_ms),
        lost=sum(newest - browser.first - browser.frames for browser in browsers),
        closed=sum(browser.is_closed for browser in browsers),
        p50_ms=round(statistics.median(late_ms), 1),
        p95_ms=round(late_ms[int(0.95 * len(late_ms))], 1),
        worst_ms=round(late_ms[-1], 1),
        cpu_share=round(cpu_share, 2),
    )


def say(line: str) -> None:
    """To whoever started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
