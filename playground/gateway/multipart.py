"""Finds the field ``model`` in a multipart body without taking the rest apart (RFC 7578, RFC 2046)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: Searched in steps of this size, so that the event loop gets its turn while a thread works.
_STEP_BYTES: Final = 1024 * 1024
_MOST_PARTS: Final = 1000
_MOST_HEADER_BYTES: Final = 16 * 1024
_MOST_VALUE_BYTES: Final = 1024

_BOUNDARY: Final = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb"^content-disposition\s*:\s*form-data\b([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_NAME: Final = re.compile(rb';\s*name\s*=\s*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)

Span = tuple[int, int]


class MultipartError(ValueError):
    """The bytes are not a multipart body; the message says where."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A text field of the body: its value and where that stands."""

    value: str
    place: Span


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type of multipart/form-data states, or None for any other type."""
    if content_type.split(";", 1)[0].strip().lower() != "multipart/form-data":
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode("latin-1") if found else None


def find_fields(raw: bytes | bytearray, boundary: bytes, names: frozenset[str]) -> dict[str, list[Field]]:
    """The short text fields called one of ``names``. Raises MultipartError.

    Reads the headers of every part; of the parts' content nothing but the boundary after it.
    """
    delimiter = b"\r\n--" + boundary
    fields: dict[str, list[Field]] = {}
    position = _first_part(raw, b"--" + boundary)
    for _part in range(_MOST_PARTS):
        if raw[position : position + 2] == b"--":
            return fields
        start = raw.find(b"\r\n", position, position + 200)
        if start < 0 or raw[position:start].strip(b" \t"):
            raise _fault(position)
        head_end = raw.find(b"\r\n\r\n", start, start + _MOST_HEADER_BYTES)
        if head_end < 0:
            raise _fault(start)
        end = _find(raw, delimiter, head_end + 2)
        if end < 0:
            raise _fault(len(raw))
        content = min(head_end + 4, end)
        name = _field_name(bytes(raw[start:head_end]))
        if name in names and end - content <= _MOST_VALUE_BYTES:
            value = bytes(raw[content:end]).decode("utf-8", "replace")
            fields.setdefault(name, []).append(Field(value=value, place=(content, end)))
        position = end + len(delimiter)
    raise MultipartError(f"more than {_MOST_PARTS} parts")


def _first_part(raw: bytes | bytearray, opening: bytes) -> int:
    if raw.startswith(opening):
        return len(opening)
    found = _find(raw, b"\r\n" + opening, 0)
    if found < 0:
        raise _fault(0)
    return found + 2 + len(opening)


def _field_name(head: bytes) -> str:
    """The name of a part that is a plain field; empty for a file, whose name is the client's affair."""
    disposition = _DISPOSITION.search(head)
    if disposition is None or b"filename" in disposition[1].lower():
        return ""
    name = _NAME.search(disposition[1])
    return (name[1] or name[2] or b"").decode("utf-8", "replace") if name else ""


def _find(raw: bytes | bytearray, wanted: bytes, start: int) -> int:
    overlap = len(wanted) - 1
    while start < len(raw):
        end = start + _STEP_BYTES
        found = raw.find(wanted, start, end + overlap)
        if found >= 0:
            return found
        start = end
    return -1


def _fault(position: int) -> MultipartError:
    return MultipartError(f"unexpected end or character at byte {position}")
