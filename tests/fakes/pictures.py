"""Small real pictures."""

from __future__ import annotations

import struct
import zlib


def png(shade: int = 0, *, width: int = 1, height: int = 1, alpha: int | None = None) -> bytes:
    """A PNG of one shade of grey, or with ``alpha`` of red, green, blue and that opacity (RFC 2083)."""
    kind = 0 if alpha is None else 6
    pixel = bytes([shade % 256]) if alpha is None else bytes([shade % 256] * 3 + [alpha])
    rows = (b"\x00" + pixel * width) * height
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
