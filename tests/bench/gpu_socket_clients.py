"""The browsers of the bench of the GPU sockets: ``python -m tests.bench.gpu_socket_clients``, a process of its own.

Reads a JSON line with ``url``, ``cookies`` (sessions, used in turn), ``healthy`` and ``mute``; says ``open`` when all
are connected, measures from the next line to the one after it, and ends with a JSON line of :class:`Heard`.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import aiohttp

AT_ONCE = 16
HEAD = re.compile(r'"seq":(\d+)')
AT = re.compile(r'"at":([\d.]+)')


@dataclass(frozen=True, kw_only=True)
class Heard:
    """``frames`` over all healthy sockets, of which ``lost`` never came; latencies from publishing to receipt."""

    sockets: int
    frames: int
    lost: int
    closed: int
    p50_ms: float
    p95_ms: float
    worst_ms: float


@dataclass
class Reader:
    """A healthy browser: reads, notes when, and acknowledges."""

    first: int = -1
    last: int = -1
    frames: int = 0
    is_closed: bool = False
    late_s: list[float] = field(default_factory=list)

    async def read(self, socket: aiohttp.ClientWebSocketResponse, measuring: asyncio.Event) -> None:
        """Until the socket ends."""
        async for message in socket:
            now = time.time()
            text: str = message.data
            head = HEAD.search(text if text.startswith('{"type":"snapshot"') else text[-40:])
            assert head is not None
            seq = int(head[1])
            await socket.send_str(f'{{"ack":{seq}}}')
            if not measuring.is_set():
                self.first = seq
            elif text.startswith('{"type":"delta"'):
                self.frames += 1
                at = AT.search(text)
                assert at is not None
                self.late_s.append(now - float(at[1]))
            self.last = seq
        self.is_closed = True


async def main() -> None:
    """Open the sockets, read until the input ends, and print what was heard."""
    loop = asyncio.get_running_loop()
    asked = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    url, cookies = asked["url"], asked["cookies"]
    readers = [Reader() for _ in range(asked["healthy"])]
    measuring, gate = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Origin": url}) as session:

        async def open_one(number: int) -> aiohttp.ClientWebSocketResponse:
            async with gate:
                headers = {"Cookie": cookies[number % len(cookies)]}
                return await session.ws_connect(f"{url}/ws/gpus/", headers=headers, max_msg_size=0, autoping=True)

        # A socket is read from the moment that it is open.
        tasks = []

        async def begin(number: int, reader: Reader) -> None:
            socket = await open_one(number)
            tasks.append(asyncio.create_task(reader.read(socket, measuring)))

        await asyncio.gather(*(begin(number, reader) for number, reader in enumerate(readers)))
        mute = [await open_mute(url, cookies[0]) for _ in range(asked["mute"])]
        await asyncio.sleep(1.5)
        say("open")
        await loop.run_in_executor(None, sys.stdin.readline)
        measuring.set()
        await loop.run_in_executor(None, sys.stdin.readline)
        newest = max(reader.last for reader in readers)
        lost = sum(newest - reader.first - reader.frames for reader in readers)
        closed = sum(reader.is_closed for reader in readers)
        late_ms = sorted(1000 * late for reader in readers for late in reader.late_s)
        heard = Heard(
            sockets=len(readers),
            frames=len(late_ms),
            lost=lost,
            closed=closed,
            p50_ms=round(statistics.median(late_ms), 1),
            p95_ms=round(late_ms[int(0.95 * len(late_ms))], 1),
            worst_ms=round(late_ms[-1], 1),
        )
        say(json.dumps(asdict(heard)))
        for task in tasks:
            task.cancel()
        for writer in mute:
            writer.close()


async def open_mute(url: str, cookie: str) -> asyncio.StreamWriter:
    """A client that shakes hands and then reads nothing at all."""
    address = urlsplit(url)
    # A limit of one byte: what the handshake leaves unread already stops the reading.
    _reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1)
    lines = [
        "GET /ws/gpus/ HTTP/1.1",
        f"Host: {address.netloc}",
        f"Origin: {url}",
        f"Cookie: {cookie}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()
    return writer


def say(line: str) -> None:
    """To whoever started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
