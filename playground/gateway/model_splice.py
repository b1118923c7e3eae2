"""Replaces the model's name in a small request without writing the request anew."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

_KEY: Final = b'"model"'
_VALUE: Final = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')
#: How every letter of "model" begins when it is escaped, which only hides the key.
_ESCAPED: Final = b"\\u006"


def splice_model(raw: bytes | bytearray, name: str, member: bytes) -> bytes | None:
    """``raw`` with ``name`` as its model and ``member`` (with its comma) first, or None when it is not plain where.

    ``raw`` must be a valid JSON object that has a text as its ``model``. Then exactly one ``"model"`` in it is the
    key: within a text its quotes would be escaped, and a key in another spelling has an escaped letter.
    """
    if raw.count(_KEY) != 1 or _ESCAPED in raw:
        return None
    found = _VALUE.search(raw)
    if found is None:
        return None
    start, end = found.span(1)
    opened = raw.index(b"{") + 1 if member else 0
    return b"".join((raw[:opened], member, raw[opened:start], _encoded(name), raw[end:]))


@lru_cache(maxsize=1024)
def _encoded(name: str) -> bytes:
    return json.dumps(name).encode()
