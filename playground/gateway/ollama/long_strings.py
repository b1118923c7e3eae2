"""Parses a JSON request without its long strings, and writes it anew with them in place.

Python's JSON parser holds the interpreter lock: the images of a large request would stop everybody else's tokens.
Strings of base64 are found by their closing quote and stand aside as parts of the client's own bytes.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, Final, NoReturn

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError
from playground.gateway.body import LARGE_BYTES, Payload
from playground.gateway.large_json import opaque_bytes

_LONG_BYTES: Final = 4096
_BASE64_BEGINS: Final = re.compile(rb"(?:data:[^,\"]{1,100},)?[A-Za-z0-9+/=_-]{64}")
#: Nobody can guess it, so that no text of a client stands for another's bytes.
_MARK: Final = secrets.token_hex(16)
_PLACE: Final = re.compile(_MARK.encode() + rb":(\d{1,9});")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class LongStrings:
    """The long strings of one request; in the parsed object each has a short stand-in."""

    def __init__(self) -> None:
        self._held: list[memoryview] = []

    @property
    def total_bytes(self) -> int:
        """The bytes of all of them."""
        return sum(map(len, self._held))

    def stand_in(self, view: memoryview) -> bytes:
        """Keep ``view``; gives what stands for it."""
        self._held.append(view)
        return f"{_MARK}:{len(self._held) - 1};".encode()

    def head(self, text: str, length: int) -> str:
        """The first ``length`` characters of the string that ``text`` is or stands for."""
        found = _PLACE.fullmatch(text.encode()) if text.startswith(_MARK) else None
        if found is None:
            return text[:length]
        return bytes(self._held[int(found[1])][:length]).decode("latin-1")

    def encode(self, content: dict[str, Any]) -> Payload:
        """``content`` as JSON with the strings themselves. Raises BadRequestError."""
        try:
            raw = _ENCODER.encode(content).encode()
        except ValueError:
            raise _malformed(_("a number is too large")) from None
        if not self._held:
            return raw
        parts: list[bytes | memoryview] = []
        position = 0
        for place in _PLACE.finditer(raw):
            parts += [raw[position : place.start()], self._held[int(place[1])]]
            position = place.end()
        return [*parts, raw[position:]]

    def forget(self) -> None:
        """Free the client's bytes."""
        self._held.clear()


def parse(raw: bytes | bytearray) -> tuple[dict[str, Any], LongStrings, int]:
    """The object, its long strings, and the bytes that are no text. Raises BadRequestError.

    Run it in a thread for more than LARGE_BYTES.
    """
    strings = LongStrings()
    if len(raw) <= LARGE_BYTES:
        return _decode(raw), strings, opaque_bytes(raw) if len(raw) > _LONG_BYTES else 0
    return _decode(_without_long_strings(raw, strings)), strings, strings.total_bytes


def _without_long_strings(raw: bytes | bytearray, strings: LongStrings) -> bytes:
    view = memoryview(raw)
    parts: list[bytes | memoryview] = []
    position = 0
    opening = raw.find(b'"')
    while opening >= 0:
        closing = raw.find(b'"', opening + 1)
        while closing >= 0 and _escaped(raw, closing):
            closing = raw.find(b'"', closing + 1)
        if closing < 0:
            break
        start = opening + 1
        # Without a backslash it means the same at any depth of quoting.
        if closing - start > _LONG_BYTES and _BASE64_BEGINS.match(raw, start) and raw.find(b"\\", start, closing) < 0:
            parts += [view[position:start], strings.stand_in(view[start:closing])]
            position = closing
        opening = raw.find(b'"', closing + 1)
    return b"".join([*parts, view[position:]])


def _escaped(raw: bytes | bytearray, quote: int) -> bool:
    backslash = quote
    while raw[backslash - 1] == ord("\\"):
        backslash -= 1
    return (quote - backslash) % 2 == 1


def _decode(raw: bytes | bytearray) -> dict[str, Any]:
    try:
        content = _DECODER.decode(raw.decode())
    except RecursionError:
        raise _malformed(_("it is nested too deeply")) from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    if not isinstance(content, dict):
        raise BadRequestError(_("The body must be a JSON object."))
    return content


def _malformed(reason: Any) -> BadRequestError:
    return BadRequestError(_("The body is not valid JSON: %(reason)s."), reason=reason)
