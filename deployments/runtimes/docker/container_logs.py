"""Reads a container's output from the engine: lines, each with its stream and its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: A line without an end is handed on in parts of this size.
MOST_PENDING = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class EngineLine:
    """One line as the engine has it. ``stamp`` is its own time: epoch seconds with nine decimals."""

    stamp: str
    stream: str
    text: bytes


def engine_lines(client: Any, name: str, *, since: str = "", follow: bool = False) -> Iterator[EngineLine]:
    """Lines from ``since`` (a stamp) on, in the engine's order; with ``follow`` as they come."""
    pending: dict[str, bytes] = {}
    for stream, data in _frames(client, name, since=since, follow=follow):
        # The engine stamps each part of a line that it had to cut (at 16 KiB), with the same time for all of them.
        *whole, rest = data.split(b"\n")
        for raw in whole:
            yield _line(stream, _joined(pending.pop(stream, b""), raw))
        if rest:
            pending[stream] = _joined(pending.pop(stream, b""), rest)
        if len(pending.get(stream, b"")) > MOST_PENDING:
            yield _line(stream, pending.pop(stream))
    for stream, rest in pending.items():
        yield _line(stream, rest)


def _joined(begun: bytes, part: bytes) -> bytes:
    """A line's next part behind what is there, without the part's own time."""
    return begun + part.partition(b" ")[2] if begun else part


def _frames(client: Any, name: str, *, since: str, follow: bool) -> Iterator[tuple[str, bytes]]:
    for out, err in _demultiplexed(client, name, since=since, follow=follow):
        if out:
            yield "out", out
        if err:
            yield "err", err


def _demultiplexed(client: Any, name: str, *, since: str, follow: bool) -> Iterator[tuple[bytes | None, bytes | None]]:
    """The SDK's ``logs`` joins both streams, ``attach`` with ``logs`` tells them apart but cannot stamp: so by hand."""
    params = {
        "stdout": 1,
        "stderr": 1,
        "timestamps": 1,
        "follow": int(follow),
        "since": since or "0",
    }
    url = f"{client.base_url}/v{client.api_version}/containers/{name}/logs"
    with client.get(url, params=params, stream=True, timeout=(10, None if follow else 30)) as response:
        response.raise_for_status()
        raw = response.raw
        while header := _exactly(raw, 8):
            data = _exactly(raw, int.from_bytes(header[4:8], "big"))
            yield (data, None) if header[0] == 1 else (None, data)


def _exactly(raw: Any, count: int) -> bytes:
    """``count`` bytes; fewer only at the end of the stream."""
    data = b""
    while len(data) < count and (more := raw.read(count - len(data))):
        data += more
    return data if len(data) == count else b""


def _line(stream: str, raw: bytes) -> EngineLine:
    stamp, _space, text = raw.partition(b" ")
    return EngineLine(stamp=seconds(stamp.decode(errors="replace")), stream=stream, text=text.rstrip(b"\r"))


def seconds(stamp: str) -> str:
    """Epoch seconds of an RFC 3339 time with nanoseconds, which :mod:`datetime` cuts off; 0 for another text."""
    whole, _dot, fraction = stamp.rstrip("Z").partition(".")
    try:
        moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError:
        return "0.000000000"
    return f"{int(moment.timestamp())}.{fraction[:9]:0<9}"
