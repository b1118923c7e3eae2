"""Finds the field ``model`` in a multipart body without taking the rest apart (RFC 7578, RFC 2046).

What the engines' parsers do not all read alike is refused, as no client sends it: else a form could name one model
here and another there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: Searched in steps of this size, so that the event loop gets its turn while a thread works.
_STEP_BYTES: Final = 1024 * 1024
_MOST_PARTS: Final = 1000
_MOST_HEADER_BYTES: Final = 16 * 1024
_MOST_VALUE_BYTES: Final = 1024

_BOUNDARY: Final = re.compile(
    r""";\s*boundary\s*=\s*(?:"([\w'()+,./:=? -]{1,70})"|([\w'()+,./:=?-]{1,70}))(?=\s*(?:;|$))""",
    re.IGNORECASE | re.ASCII,
)
_PLAIN: Final = re.compile(rb"[\w'+.-]+")
_DISPOSITION: Final = re.compile(rb"^content-disposition[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_FORM_DATA: Final = re.compile(rb"[ \t]*form-data[ \t]*", re.IGNORECASE)
_PARAMETER: Final = re.compile(rb';[ \t]*([\w!#$%&\'*+.^`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*')

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
    return (found[1] or found[2]).encode() if found else None


def content_type_of(boundary: bytes) -> str:
    """The Content-Type that states this boundary and nothing else."""
    text = boundary.decode()
    if not _PLAIN.fullmatch(boundary):
        text = f'"{text}"'
    return f"multipart/form-data; boundary={text}"


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
        name = _field_name(bytes(raw[start + 2 : head_end]), start)
        if name in names:
            if end - content > _MOST_VALUE_BYTES:
                raise MultipartError(f"the field {name} is longer than {_MOST_VALUE_BYTES} bytes")
            value = bytes(raw[content:end]).decode("utf-8", "replace")
            fields.setdefault(name, []).append(Field(value=value, place=(content, end)))
        position = end + len(delimiter)
    raise MultipartError(f"more than {_MOST_PARTS} parts")


def _first_part(raw: bytes | bytearray, opening: bytes) -> int:
    start = 2 if raw.startswith(b"\r\n") else 0
    if not raw.startswith(opening, start):
        raise _fault(0)
    return start + len(opening)


def _field_name(head: bytes, position: int) -> str:
    """The name of a part that is a plain field; empty for a file, whose name is the client's affair."""
    lines = head.split(b"\r\n")
    if any(b"\r" in line or b"\n" in line or line[:1] in (b" ", b"\t") for line in lines):
        raise _fault(position)
    dispositions = _DISPOSITION.findall(b"\n".join(lines))
    if not dispositions:
        return ""
    parameters = _parameters(dispositions[0])
    if len(dispositions) > 1 or parameters is None:
        raise _fault(position)
    is_file = "filename" in parameters or "filename*" in parameters
    return "" if is_file else parameters.get("name", b"").decode("utf-8", "replace")


def _parameters(disposition: bytes) -> dict[str, bytes] | None:
    """Those of ``form-data``, with names in lower case; None where a name may be read in more than one way."""
    found: dict[str, bytes] = {}
    begun = _FORM_DATA.match(disposition)
    position = begun.end() if begun else 0
    while begun and position < len(disposition):
        parameter = _PARAMETER.match(disposition, position)
        if parameter is None:
            return None
        name = parameter[1].decode().lower()
        if name in found or name.startswith("name*") or (name == "name" and b"\\" in parameter[0]):
            return None
        found[name] = parameter[2] if parameter[2] is not None else parameter[3]
        position = parameter.end()
    return found if begun else None


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
