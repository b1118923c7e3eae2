"""How an image was made, written into it: PNG's text chunks (https://www.w3.org/TR/png-3/#11iTXt).

Pixels and the engine's own chunks stay as they came. ``parameters`` is the text that stable-diffusion-webui writes and
many programs read; ``berth`` is everything as JSON. Other formats have no such place that programs agree on.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: Signature, and the chunk IHDR, which is always the first one: length, name, 13 bytes, checksum.
_AFTER_HEADER: Final = len(SIGNATURE) + 4 + 4 + 13 + 4


def with_metadata(content: bytes, facts: Mapping[str, Any]) -> bytes:
    """A PNG with how it was made; anything else as it is."""
    if not content.startswith(SIGNATURE) or len(content) < _AFTER_HEADER:
        return content
    texts = {"berth": json.dumps(facts, ensure_ascii=False)}
    if b"parameters\0" not in content:
        texts["parameters"] = parameters_text(facts)
    chunks = b"".join(_text_chunk(name, text) for name, text in texts.items())
    return content[:_AFTER_HEADER] + chunks + content[_AFTER_HEADER:]


def parameters_text(facts: Mapping[str, Any]) -> str:
    """As ``create_infotext`` of stable-diffusion-webui 1.10 (modules/processing.py) writes it."""
    lines = [str(facts.get("prompt", ""))]
    if facts.get("negative"):
        lines.append(f"Negative prompt: {facts['negative']}")
    told = {
        "Steps": facts.get("steps"),
        "CFG scale": facts.get("guidance"),
        "Seed": facts.get("seed"),
        "Size": f"{facts.get('width')}x{facts.get('height')}",
        "Model": facts.get("config"),
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in told.items() if value is not None))
    return "\n".join(lines)


def _text_chunk(keyword: str, text: str) -> bytes:
    # Not compressed, without a language and a translated keyword.
    content = keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    name = b"iTXt"
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
