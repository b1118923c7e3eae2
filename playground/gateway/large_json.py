"""Finds the top-level ``model`` in a large JSON object without parsing the rest.

Python's JSON parser holds the interpreter lock for the whole of a body, so that a thread does not
help: 50 MB stop the event loop for a quarter to half a second. This skips over strings by searching for
their closing quote, which costs milliseconds for an image in base64, and runs as ordinary bytecode, so
that the loop gets its turn. It checks brackets, not every value: what it lets pass, the model's own server
refuses.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]+")
_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_CLOSING: Final = {ord("{"): ord("}"), ord("["): ord("]")}
#: Nesting beyond this is refused.
_DEEPEST: Final = 500
_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COLON, _COMMA = b'"\\{}:,'


class LargeJsonError(ValueError):
    """The bytes are not a JSON object; the message says where."""


@dataclass(kw_only=True)
class ModelSpans:
    """Where the values of top-level ``model`` stand; of a repeated key the last one counts."""

    value: Any = None
    places: list[tuple[int, int]] = field(default_factory=list)

    def replaced(self, raw: bytes, value: bytes) -> bytes:
        """``raw`` with ``value`` at every place."""
        pieces: list[bytes | memoryview] = []
        position = 0
        view = memoryview(raw)
        for start, end in self.places:
            pieces += [view[position:start], value]
            position = end
        return b"".join([*pieces, view[position:]])


def find_model(raw: bytes) -> ModelSpans:
    """Scan one JSON object. Raises LargeJsonError with the position of the fault."""
    spans = ModelSpans()
    position = _expect(raw, _skip_space(raw, 0), _OPEN)
    position = _skip_space(raw, position)
    while _at(raw, position) != _CLOSE:
        key_end = _string_end(raw, position)
        key = _decoded(raw, position, key_end)
        start = _skip_space(raw, _expect(raw, _skip_space(raw, key_end), _COLON))
        end = _value_end(raw, start)
        if key == "model":
            spans.value = _decoded(raw, start, end)
            spans.places.append((start, end))
        position = _skip_space(raw, end)
        if _at(raw, position) == _COMMA:
            position = _skip_space(raw, position + 1)
            if _at(raw, position) == _CLOSE:
                raise _fault(position)
        elif _at(raw, position) != _CLOSE:
            raise _fault(position)
    if _skip_space(raw, position + 1) != len(raw):
        raise _fault(position + 1)
    return spans


def _value_end(raw: bytes, start: int) -> int:
    first = _at(raw, start)
    if first == _QUOTE:
        return _string_end(raw, start)
    if first not in _CLOSING:
        scalar = _SCALAR.match(raw, start)
        if scalar is None:
            raise _fault(start)
        return scalar.end()
    expected = [_CLOSING[first]]
    position = start + 1
    while expected:
        found = _STRUCTURE.search(raw, position)
        if found is None:
            raise _fault(len(raw))
        position = found.start()
        character = raw[position]
        if character == _QUOTE:
            position = _string_end(raw, position)
            continue
        if character in _CLOSING:
            expected.append(_CLOSING[character])
            if len(expected) > _DEEPEST:
                raise _fault(position)
        elif character != expected.pop():
            raise _fault(position)
        position += 1
    return position


def _string_end(raw: bytes, start: int) -> int:
    """The position after the closing quote of the string that opens at ``start``."""
    closing = _expect(raw, start, _QUOTE) - 1
    while True:
        closing = raw.find(b'"', closing + 1)
        if closing < 0:
            raise _fault(len(raw))
        backslash = closing
        while raw[backslash - 1] == _BACKSLASH:
            backslash -= 1
        if (closing - backslash) % 2 == 0:
            return closing + 1


def _decoded(raw: bytes, start: int, end: int) -> Any:
    try:
        return json.loads(raw[start:end])
    except (ValueError, RecursionError):
        raise _fault(start) from None


def _at(raw: bytes, position: int) -> int:
    return raw[position] if position < len(raw) else -1


def _expect(raw: bytes, position: int, character: int) -> int:
    if _at(raw, position) != character:
        raise _fault(position)
    return position + 1


def _skip_space(raw: bytes, position: int) -> int:
    found = _SPACE.match(raw, position)
    return found.end() if found else position


def _fault(position: int) -> LargeJsonError:
    return LargeJsonError(f"unexpected end or character at byte {position}")
