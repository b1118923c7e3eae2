"""A stream of events on its way through: whole events go on at once and unchanged, half ones wait for their end.

Half an event is of no use to a client, and kept back it can be dropped when the stream breaks, so that the frame
that tells of the failure is one that the client can read. What passes is byte for byte what came.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, Final

from .usage import Usage, usage_of

#: An event longer than this passes in parts.
HOLD_BYTES: Final = 64 * 1024
_KEEP_BYTES: Final = 4096
#: The last events are the last chunks, however small those are.
_KEEP_CHUNKS: Final = 8

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n")
_NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_DONE: Final = re.compile(rb"(?m)^data: ?\[DONE\]")
#: By ``Endpoint.ending``: a cheap test, then the exact one.
_ENDINGS: Final[dict[str, tuple[bytes, re.Pattern[bytes]]]] = {
    "done": (b"[DONE]", _DONE),
    "responses": (
        b"response.",
        re.compile(
            rb'(?m)^(?:event: ?|data: ?\{"type": ?")response\.(?:completed|failed|incomplete)\b'
            rb"|^event: ?error\b|^data: ?\[DONE\]"
        ),
    ),
    "anthropic": (b"event:", re.compile(rb"(?m)^event: ?(?:message_stop|error)\b")),
    "tgi": (b"generated_text", re.compile(rb'"generated_text" ?: ?"|"error" ?:')),
    "ollama": (b'"', re.compile(rb'"done" ?: ?true|^\{"error" ?:', re.MULTILINE)),
}


class EventStream:
    """Takes chunks as they come and gives what goes on.

    ``ending`` names the mark of a complete stream. ``strips`` takes out a chunk of OpenAI's stream that has no
    choices but usage, which the client did not ask for. ``lines`` means that an event is a line (NDJSON).
    """

    def __init__(self, ending: str, *, strips: bool = False, lines: bool = False) -> None:
        self._mark, self._exact = _ENDINGS[ending or "done"]
        self._strips = strips
        self._boundary = b"\n" if lines else b"\n\n"
        self._lines = lines
        self._held = b""
        self._head = b""
        self._recent: deque[bytes] = deque(maxlen=_KEEP_CHUNKS)
        self.complete = not ending
        #: Whether the client has the beginning of an event without its end.
        self.torn = False
        self.usage: Usage | None = None

    @property
    def head(self) -> bytes:
        """The first bytes that went on."""
        return self._head[:_KEEP_BYTES]

    @property
    def tail(self) -> bytes:
        """The last bytes that went on."""
        return b"".join(self._recent)[-_KEEP_BYTES:]

    def feed(self, chunk: bytes) -> bytes:
        """What goes on to the client now; perhaps nothing."""
        # Of most chunks only their last bytes and two searches: this runs for every token of everybody.
        if self._held or not chunk.endswith(self._boundary):
            chunk = self._whole_events(chunk)
            if not chunk:
                return chunk
        else:
            self.torn = False
        return self._passing(chunk)

    def end(self) -> bytes:
        """The rest of a stream that ended in good order."""
        rest, self._held = self._held, b""
        return self._passing(rest) if rest else rest

    def _whole_events(self, chunk: bytes) -> bytes:
        """``chunk`` after what was held, up to the end of the last whole event; the rest is held, if it is short."""
        if self._held:
            chunk, self._held = self._held + chunk, b""
        cut = self._last_end(chunk)
        if len(chunk) - cut <= HOLD_BYTES:
            self._held = chunk[cut:]
            self.torn = self.torn and not cut
            return chunk[:cut]
        self.torn = True
        return chunk

    def _passing(self, chunk: bytes) -> bytes:
        if self._strips and b'"usage"' in chunk and _NO_CHOICES.search(chunk):
            chunk = self._without_usage(chunk)
        if not self.complete and self._mark in chunk and self._exact.search(chunk):
            self.complete = True
        if len(self._head) < _KEEP_BYTES:
            self._head += chunk
        self._recent.append(chunk)
        return chunk

    def _last_end(self, chunk: bytes) -> int:
        """The position after the last whole event."""
        cut = chunk.rfind(self._boundary)
        cut = cut + len(self._boundary) if cut >= 0 else 0
        if not self._lines and (other := chunk.rfind(b"\r\n\r\n")) >= 0:
            cut = max(cut, other + 4)
        return cut

    def _without_usage(self, chunk: bytes) -> bytes:
        # From the end, so that the places before stay what they are.
        for found in reversed([*_NO_CHOICES.finditer(chunk)]):
            start = self._last_end(chunk[: found.start()])
            start += len(chunk) - start - len(chunk[start:].lstrip(b"\r\n"))
            end = _EVENT_END.search(chunk, found.end())
            stop = end.end() if end else len(chunk)
            usage = _usage_alone(chunk[start:stop])
            if usage is not None:
                self.usage = usage_of(usage)
                chunk = chunk[:start] + chunk[stop:]
        return chunk


def _usage_alone(event: bytes) -> dict[str, Any] | None:
    """The usage of an event that carries nothing else, or None."""
    lines = [line for line in event.splitlines() if line]
    if len(lines) != 1 or not lines[0].startswith(b"data:"):
        return None
    try:
        content = json.loads(lines[0][5:])
    except ValueError:
        return None
    if not isinstance(content, dict) or content.get("choices") != []:
        return None
    usage = content.get("usage")
    return usage if isinstance(usage, dict) else None
