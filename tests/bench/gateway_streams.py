"""Streams at the pace of a model: many at once, a frame each 40 ms, as people read them."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

import uvloop

from .gateway_load import Target
from .gateway_upstream import CHUNKS, PACE_S, PACED

STREAMS = 256
#: Clients come evenly within this time; all of them overlap for the rest of the first one's stream.
COMING_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Paced:
    """``chunks`` of ``expected`` came; times to the first one in ms, and how late the worst stream ended."""

    chunks: int
    expected: int
    first_p50_ms: float
    first_p95_ms: float
    late_ms: float


def paced_streams(target: Target, *, streams: int = STREAMS) -> Paced:
    """Have them all."""
    return uvloop.run(_paced(target, streams))


class _Reader(asyncio.Protocol):
    """One stream."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self.chunks = 0
        self.asked_at = self.first_at = self.ended_at = 0.0
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self) -> None:
        """The moment from which everything counts."""
        self.asked_at = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        found = data.count(b"data: {")
        if found and not self.chunks:
            self.first_at = time.perf_counter()
        self.chunks += found
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n":
            self.ended_at = time.perf_counter()
            self.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()


async def _paced(target: Target, streams: int) -> Paced:
    loop = asyncio.get_running_loop()
    request = target.request(said=f"{PACED} Tell me about the sea.", stream=True)
    readers = [_Reader(request) for _each in range(streams)]
    for reader in readers:
        await loop.create_connection(lambda reader=reader: reader, *target.place)  # type: ignore[misc]
    began = loop.time()
    for number, reader in enumerate(readers):
        loop.call_at(began + COMING_S * number / streams, reader.ask)
    async with asyncio.timeout(60):
        for reader in readers:
            await reader.ended.wait()
    for reader in readers:
        reader.transport.abort()
    firsts = sorted(1000 * (reader.first_at - reader.asked_at) for reader in readers)
    ideal_s = CHUNKS * PACE_S
    return Paced(
        chunks=sum(reader.chunks for reader in readers),
        expected=streams * CHUNKS,
        first_p50_ms=statistics.median(firsts),
        first_p95_ms=firsts[int(len(firsts) * 0.95)],
        late_ms=max(1000 * (reader.ended_at - reader.asked_at - ideal_s) for reader in readers),
    )
