"""Takes server-sent events out of bytes that come in any pieces; html.spec.whatwg.org, 9.2.5 and 9.2.6."""

from __future__ import annotations

from typing import Final

#: An event longer than this is no answer of a model.
MOST_BYTES: Final = 16 * 1024 * 1024
_MARK: Final = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """More than MOST_BYTES without the end of an event."""


class ServerEvents:
    """Gives the data of each event. Comments and fields other than ``data`` have no meaning here."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that end in ``chunk``, in order. Raises EventTooLongError."""
        # A line ends with CR, LF or both. After a CR the line is over; the LF of the same end may come later.
        if self._after_return and chunk:
            self._after_return = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        if b"\r" in chunk:
            self._after_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[bytes] = []
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            whole = line
            if self._line:
                self._line += line
                whole = bytes(self._line)
                self._line.clear()
            self._take(whole, events)
        self._line += rest
        if self._size + len(self._line) > MOST_BYTES:
            raise EventTooLongError
        return events

    def end(self) -> list[bytes]:
        """An event at the end of the stream that lacks only its empty line; half a one is for the reader to judge."""
        events: list[bytes] = []
        self._take(bytes(self._line), events)
        self._line.clear()
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_MARK)
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._size = 0
            return
        name, _colon, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
