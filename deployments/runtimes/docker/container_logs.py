"""Reads a container's output from the engine: its last records at once, and a bell that rings when there are more.

The engine's own way to follow is only the bell here. Tried with Docker 20.10: where its log file is rotated, a
followed stream repeats lines and leaves others out without a word, while the last N records, asked for at once, are
always the last N.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from deployments.runtimes.log_segments import LINE_BYTES

from .engine import silent

READ_BYTES = 256 * 1024
#: Of one answer no more than this is read.
MOST_BYTES = 8 * 1024 * 1024
HEADER_BYTES = 8
STREAMS = {1: "out", 2: "err"}
CONNECT_S = 10
ANSWER_S = 30
#: So many bytes of ringing are taken at once, and so often, before the bell counts as still ringing.
RING_BYTES = 1024 * 1024
MOST_RINGS = 16


@dataclass(frozen=True, kw_only=True)
class EngineLine:
    """One line as the engine has it. ``stamp`` is its own time: epoch seconds with nine decimals."""

    stamp: str
    stream: str
    text: bytes


@dataclass(frozen=True, kw_only=True)
class LastLines:
    """The end of the engine's log. ``is_whole`` when nothing lies before it."""

    lines: list[EngineLine]
    is_whole: bool


def last_lines(client: Any, name: str, *, records: int | None, has_ended: bool) -> LastLines:
    """The last ``records`` of the log, all for None, as lines; the oldest part of them if they are many bytes.

    A line of more than 16 KiB has several records. One that has no end yet is left out unless its container
    ``has_ended``. Raises RuntimeUnavailableError.
    """
    query = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": "all" if records is None else records}
    with _translated(), _asked(client, name, query, timeout=(CONNECT_S, ANSWER_S)) as response:
        data, is_cut = _body(response.raw)
    lines = _Lines()
    for stream, record in _records(data):
        lines.take(stream, record)
    if has_ended and not is_cut:
        lines.end()
    return LastLines(lines=lines.whole, is_whole=records is None or lines.records < records)


class Bell:
    """Rings when the container prints. A silent one costs nothing. Close it after use."""

    def __init__(self, client: Any, name: str) -> None:
        query = {"stdout": 1, "stderr": 1, "tail": 0, "follow": 1}
        with _translated():
            self._response = _asked(client, name, query, timeout=(CONNECT_S, None))
            # The bytes tell nothing but that they came, so they are taken below the decoding of HTTP.
            raw = client._get_raw_response_socket(self._response)  # noqa: SLF001 - the SDK has no public one
            self._socket = getattr(raw, "_sock", raw)
        self.is_over = False

    def rings(self, *, within_s: float) -> bool:
        """Whether it rang; at the container's end it rings a last time and ``is_over`` is set."""
        rang = False
        self._socket.settimeout(within_s)
        for _ in range(MOST_RINGS):
            try:
                data = self._socket.recv(RING_BYTES)
            except (TimeoutError, BlockingIOError):
                break
            except OSError as error:
                raise silent(error) from error
            rang = True
            if not data:
                self.is_over = True
                break
            self._socket.settimeout(0)
        return rang

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.close()
        self._response.close()


class _Lines:
    """Joins records to lines; of a long one only the beginning is held."""

    def __init__(self) -> None:
        self.whole: list[EngineLine] = []
        self.records = 0
        self._begun: dict[str, tuple[bytes, bytes, int]] = {}

    def take(self, stream: str, record: bytes) -> None:
        """A record: a time, and a line or, without a line's end, a part of one."""
        self.records += 1
        stamp, _space, text = record.partition(b" ")
        is_end = text.endswith(b"\n")
        begun = self._begun.pop(stream, None)
        if begun is not None and begun[0] != stamp:  # all parts have the time of the first
            self._add(stream, *begun)
            begun = None
        if begun is not None:
            _stamp, before, cut = begun
            text, cut = before + text, cut + max(0, len(before) + len(text) - LINE_BYTES)
        else:
            cut = max(0, len(text) - LINE_BYTES)
        if is_end:
            self._add(stream, stamp, text[:-1] if not cut else text[:LINE_BYTES], max(0, cut - 1))
        else:
            self._begun[stream] = (stamp, text[:LINE_BYTES], cut)

    def end(self) -> None:
        """What has no end will have none."""
        for stream, begun in self._begun.items():
            self._add(stream, *begun)
        self._begun = {}

    def _add(self, stream: str, stamp: bytes, text: bytes, cut: int) -> None:
        if cut:
            text += b" [%d more bytes]" % cut
        else:
            # What was drawn over with carriage returns, as progress bars are, was one line, and its last state counts.
            text = text.rstrip(b"\r").rpartition(b"\r")[2]
        self.whole.append(EngineLine(stamp=seconds(stamp.decode(errors="replace")), stream=stream, text=text))


def _asked(client: Any, name: str, query: dict[str, Any], *, timeout: tuple[float, float | None]) -> Any:
    url = f"{client.base_url}/v{client.api_version}/containers/{name}/logs"
    # The SDK's ``logs`` joins both streams, and ``attach`` tells them apart but knows no times.
    response = client.get(url, params=query, stream=True, timeout=timeout, headers={"Connection": "close"})
    if response.status_code >= 400:
        with response:
            client._raise_for_status(response)  # noqa: SLF001 - it makes the SDK's own errors
    return response


def _body(raw: Any) -> tuple[bytes, bool]:
    """The answer, and whether it was cut at its bound."""
    parts: list[bytes] = []
    size = 0
    while part := raw.read(READ_BYTES):
        parts.append(part)
        size += len(part)
        if size >= MOST_BYTES:
            return b"".join(parts), True
    return b"".join(parts), False


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Stream and bytes of each whole frame: https://docs.docker.com/engine/api/v1.41/#operation/ContainerAttach."""
    at, end = 0, len(data)
    while at + HEADER_BYTES <= end:
        begin = at + HEADER_BYTES
        at = begin + int.from_bytes(data[at + 4 : begin], "big")
        if at <= end:
            yield STREAMS.get(data[begin - HEADER_BYTES], "err"), data[begin:at]


def seconds(stamp: str) -> str:
    """Epoch seconds of an RFC 3339 time with nanoseconds, which :mod:`datetime` cuts off; 0 for another text."""
    whole, _dot, fraction = stamp.rstrip("Z").partition(".")
    try:
        moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError:
        return "0.000000000"
    return f"{int(moment.timestamp())}.{fraction[:9]:0<9}"


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """A broken stream is a silent engine, whichever layer noticed it."""
    try:
        yield
    except (RequestException, HTTPError, http.client.HTTPException, OSError) as error:
        raise silent(error) from error
