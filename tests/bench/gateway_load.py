"""Clients of the gateway's figures: one that waits for each answer, 32 that do not, and streams."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from .gateway_upstream import SHORT

CLIENTS = 32
_SAID = "Tell me about the sea, in about a hundred words, please."


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where requests go: the upstream itself, or the gateway."""

    url: str
    model: str
    key: str = ""

    def request(self, *, said: str = _SAID, **options: object) -> bytes:
        """One request as it goes over the wire."""
        messages = [{"role": "user", "content": said}]
        body = json.dumps({"model": self.model, "messages": messages, **options}, separators=(",", ":")).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        if self.key:
            head += f"authorization: Bearer {self.key}\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def connect(self) -> socket.socket:
        """A connection with a second's patience."""
        connection = socket.create_connection(self.place, timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def latencies_ms(target: Target, *, requests: int) -> list[float]:
    """Whole answers one after the other on one connection."""
    request = target.request()
    times = []
    with target.connect() as connection:
        for _each in range(requests):
            began = time.perf_counter()
            connection.sendall(request)
            _read_whole(connection)
            times.append((time.perf_counter() - began) * 1000)
    return times


def first_chunks_ms(target: Target, *, streams: int) -> list[float]:
    """Times to the first frame of streams, one after the other.

    Their tokens come at a model's pace: an upstream that sends all of them at once keeps the core that it shares with
    this client, and its own time would be counted.
    """
    request = target.request(said=SHORT, stream=True)
    times = []
    with target.connect() as connection:
        for _each in range(streams):
            began = time.perf_counter()
            connection.sendall(request)
            received = b""
            while b"data: " not in received:
                received += connection.recv(65536)
            times.append((time.perf_counter() - began) * 1000)
            while not received.endswith(b"0\r\n\r\n"):
                received = received[-8:] + connection.recv(65536)
    return times


def requests_per_s(target: Target, *, seconds: int) -> float:
    """Whole answers for 32 clients, by wrk where it is installed."""
    if shutil.which("wrk") is None:
        return uvloop.run(_many(target, target.request(), b"", seconds))
    body = target.request().split(b"\r\n\r\n", 1)[1].decode()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = {json.dumps(body)}\n')
        script.write('wrk.headers["content-type"] = "application/json"\n')
        script.write(f'wrk.headers["authorization"] = "Bearer {target.key}"\n')
        script.flush()
        argv = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "30s", "-s", script.name]
        run = subprocess.run(
            [*argv, f"{target.url}/v1/chat/completions"], capture_output=True, text=True, check=True, timeout=60
        )
    if "Non-2xx" in run.stdout or "Socket errors" in run.stdout:
        raise RuntimeError(run.stdout)
    found = re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)
    return float(found[1]) if found else 0.0


def chunks_per_s(target: Target, *, seconds: float) -> float:
    """Frames that 32 clients get who read one stream after the other."""
    return uvloop.run(_many(target, target.request(stream=True), b"data: {", seconds))


def freed_after_s(target: Target, upstream: Target, *, stream: bool, times: int) -> float:
    """The median time from a client's leaving to the end of its connection at the upstream."""
    took = []
    for _each in range(times):
        _left_at(upstream)
        connection = target.connect()
        connection.sendall(target.request(hang=True, stream=stream))
        if stream:
            connection.recv(65536)
        else:
            time.sleep(0.02)
        began = time.monotonic()
        connection.close()
        while not (found := _left_at(upstream)):
            if time.monotonic() - began > 5:
                raise RuntimeError("the upstream was not freed within 5 s")
            time.sleep(0.002)
        took.append(found[0] - began)
    return statistics.median(took)


def memory_mb(pid: int) -> float:
    """Resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def _read_whole(connection: socket.socket) -> bytes:
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += connection.recv(65536)
    if not received.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(received[:500].decode("utf-8", "replace"))
    found = re.search(rb"content-length: (\d+)", received, re.IGNORECASE)
    length = end + 4 + (int(found[1]) if found else 0)
    while len(received) < length:
        received += connection.recv(65536)
    return received[end + 4 :]


def _left_at(upstream: Target) -> list[float]:
    with upstream.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
        moments: list[float] = json.loads(_read_whole(connection))
    return moments


class _Client(asyncio.Protocol):
    """Asks again as soon as an answer is over; counts ``counted`` in the answers, or the answers themselves."""

    def __init__(self, request: bytes, counted: bytes) -> None:
        self._request = request
        self._counted = counted
        self._received = b""
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._counted:
            # Frames come whole from the upstream's single writes, all but never cut by the network.
            self.count += data.count(self._counted)
            self._received = (self._received + data)[-5:]
            if self._received == b"0\r\n\r\n":
                self.transport.write(self._request)
            return
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        found = re.search(rb"content-length: (\d+)", self._received, re.IGNORECASE)
        if len(self._received) >= end + 4 + (int(found[1]) if found else 0):
            self._received = b""
            self.count += 1
            self.transport.write(self._request)


async def _many(target: Target, request: bytes, counted: bytes, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    clients = [_Client(request, counted) for _each in range(CLIENTS)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, *target.place)  # type: ignore[misc]
    await asyncio.sleep(0.2)
    before, began = sum(client.count for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(client.count for client in clients) - before) / (time.perf_counter() - began)
    for client in clients:
        client.transport.abort()
    return rate
