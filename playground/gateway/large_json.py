"""Finds the top-level ``model`` and other short members of a large JSON object without parsing the rest.

Python's JSON parser holds the interpreter lock for the whole of a body, so that a thread does not
help: 50 MB stop the event loop for a quarter to half a second. This skips over strings by searching for
their closing quote, which costs milliseconds for an image in base64, and runs as ordinary bytecode, so
that the loop gets its turn. It checks brackets, not every value: what it lets pass, the model's own server
refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from .model_spelling import is_other_spelling

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]+")
_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_CLOSING: Final = {ord("{"): ord("}"), ord("["): ord("]")}
#: Members longer than this are not decoded, whatever their name.
_SHORT_BYTES: Final = 64 * 1024
#: Nesting beyond this is refused.
_DEEPEST: Final = 500
#: A string of base64 longer than this is an image or the like.
_LONG_BYTES: Final = 4096
_BASE64_BEGINS: Final = re.compile(rb'"(?:data:[^,"]{1,100},)?[A-Za-z0-9+/=_-]{256}')
_LONG_BASE64: Final = re.compile(rb'"(?:data:[^,"]{1,100},)?[A-Za-z0-9+/=_-]{4096,}"')
_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COLON, _COMMA = b'"\\{}:,'

Span = tuple[int, int]


class LargeJsonError(ValueError):
    """The bytes are not a JSON object; the message says where."""


@dataclass(kw_only=True)
class ModelSpans:
    """Where the values of top-level ``model`` stand; of a repeated key the last one counts.

    ``members`` has the values of the other members asked for, ``spans`` their places, and ``opened_at`` the
    position after the opening brace. ``spellings`` are members that some engines take for ``model``. ``opaque_bytes``
    is the size of what is no text: images, audio in base64.
    """

    value: Any = None
    places: list[Span] = field(default_factory=list)
    members: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    spellings: list[str] = field(default_factory=list)
    opened_at: int = 0
    opaque_bytes: int = 0

    def replaced(self, raw: bytes | bytearray, value: bytes) -> bytes:
        """``raw`` with ``value`` at every place."""
        return b"".join(pieces(raw, [(place, value) for place in self.places]))


def pieces(raw: bytes | bytearray, edits: Iterable[tuple[Span, bytes]]) -> list[bytes | memoryview]:
    """``raw`` with other bytes at the places of ``edits``, as parts that share its memory."""
    parts: list[bytes | memoryview] = []
    position = 0
    view = memoryview(raw)
    for (start, end), value in sorted(edits):
        parts += [view[position:start], value]
        position = end
    return [*parts, view[position:]]


def find_model(raw: bytes | bytearray, *, others: frozenset[str] = frozenset()) -> ModelSpans:
    """Scan one JSON object. Raises LargeJsonError with the position of the fault.

    Of the members called one of ``others``, short values are found too.
    """
    spans = ModelSpans()
    position = spans.opened_at = _expect(raw, _skip_space(raw, 0), _OPEN)
    position = _skip_space(raw, position)
    while _at(raw, position) != _CLOSE:
        key_end = _string_end(raw, position)
        key = _decoded(raw, position, key_end)
        start = _skip_space(raw, _expect(raw, _skip_space(raw, key_end), _COLON))
        end = _value_end(raw, start, spans)
        if key == "model":
            spans.value = _decoded(raw, start, end)
            spans.places.append((start, end))
        elif is_other_spelling(key):
            spans.spellings.append(key)
        elif key in others and end - start <= _SHORT_BYTES:
            spans.members[key] = _decoded(raw, start, end)
            spans.spans.setdefault(key, []).append((start, end))
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


def opaque_bytes(raw: bytes | bytearray) -> int:
    """The size of the long strings of base64 in ``raw``."""
    return sum(len(found) for found in _LONG_BASE64.findall(raw))


def _value_end(raw: bytes | bytearray, start: int, spans: ModelSpans) -> int:
    first = _at(raw, start)
    if first == _QUOTE:
        end = _string_end(raw, start)
        _note_opaque(raw, start, end, spans)
        return end
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
            opened_at, position = position, _string_end(raw, position)
            _note_opaque(raw, opened_at, position, spans)
            continue
        if character in _CLOSING:
            expected.append(_CLOSING[character])
            if len(expected) > _DEEPEST:
                raise _fault(position)
        elif character != expected.pop():
            raise _fault(position)
        position += 1
    return position


def _note_opaque(raw: bytes | bytearray, start: int, end: int, spans: ModelSpans) -> None:
    if end - start > _LONG_BYTES and _BASE64_BEGINS.match(raw, start, start + 512):
        spans.opaque_bytes += end - start


def _string_end(raw: bytes | bytearray, start: int) -> int:
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


def _decoded(raw: bytes | bytearray, start: int, end: int) -> Any:
    try:
        return json.loads(raw[start:end])
    except (ValueError, RecursionError):
        raise _fault(start) from None


def _at(raw: bytes | bytearray, position: int) -> int:
    return raw[position] if position < len(raw) else -1


def _expect(raw: bytes | bytearray, position: int, character: int) -> int:
    if _at(raw, position) != character:
        raise _fault(position)
    return position + 1


def _skip_space(raw: bytes | bytearray, position: int) -> int:
    found = _SPACE.match(raw, position)
    return found.end() if found else position


def _fault(position: int) -> LargeJsonError:
    return LargeJsonError(f"unexpected end or character at byte {position}")
