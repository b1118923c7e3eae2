"""Reads a container's output from the engine, as numbered lines.

The engine knows times, not numbers; so a line's number is its place from the first one that it still has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deployments.runtimes.base import LogChunk, LogLine
from deployments.runtimes.log_lines import ESCAPES

LINE_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class EngineLine:
    """One line as the engine has it. ``stamp`` is its own time, RFC 3339 with nanoseconds."""

    stamp: str
    stream: str
    text: bytes


def read_logs(client: Any, name: str, *, cursor: int, limit: int) -> LogChunk:
    """Up to ``limit`` lines after the ``cursor``-th."""
    lines: list[LogLine] = []
    for number, line in enumerate(engine_lines(client, name), start=1):
        if number > cursor:
            text = ESCAPES.sub("", line.text.decode(errors="replace"))
            lines.append(LogLine(cursor=number, at=seconds(line.stamp), stream=line.stream, text=text))
        if len(lines) >= limit:
            break
    return LogChunk(lines=lines, next_cursor=lines[-1].cursor if lines else cursor)


def engine_lines(client: Any, name: str, *, since: float = 0, follow: bool = False) -> Iterator[EngineLine]:
    """Lines from ``since`` (epoch seconds) on, in the engine's order; with ``follow`` as they come."""
    pending: dict[str, bytes] = {}
    for stream, data in _frames(client, name, since=since, follow=follow):
        *whole, rest = (pending.pop(stream, b"") + data).split(b"\n")
        for raw in whole:
            yield _line(stream, raw)
        if rest:
            pending[stream] = rest
    for stream, rest in pending.items():
        yield _line(stream, rest)


def _frames(client: Any, name: str, *, since: float, follow: bool) -> Iterator[tuple[str, bytes]]:
    for out, err in _demultiplexed(client, name, since=since, follow=follow):
        if out:
            yield "out", out
        if err:
            yield "err", err


def _demultiplexed(
    client: Any, name: str, *, since: float, follow: bool
) -> Iterator[tuple[bytes | None, bytes | None]]:
    """The SDK's ``logs`` joins both streams, ``attach`` with ``logs`` tells them apart but cannot stamp: so by hand."""
    params = {
        "stdout": 1,
        "stderr": 1,
        "timestamps": 1,
        "follow": int(follow),
        "since": f"{since:.9f}" if since else 0,
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
    text = text.rstrip(b"\r")
    if len(text) > LINE_BYTES:
        text = text[:LINE_BYTES] + b" [%d more bytes]" % (len(text) - LINE_BYTES)
    return EngineLine(stamp=stamp.decode(errors="replace"), stream=stream, text=text)


def seconds(stamp: str) -> float:
    """Epoch seconds of an RFC 3339 time with nanoseconds, which :mod:`datetime` cannot read; 0 for another text."""
    from datetime import UTC, datetime

    try:
        whole, _dot, fraction = stamp.rstrip("Z").partition(".")
        return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return 0.0
