"""An engine's whole answer as Ollama's: text, embeddings, refusals."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from typing import Any

from django.utils.translation import gettext_lazy as _

from playground.exceptions import UpstreamError
from playground.gateway.usage import UNKNOWN, Usage, usage_of

from .answers import Objects, encoded
from .asking import Asked
from .choices import (
    ToolCalls,
    done_reason,
    failure_in,
    first_choice,
    member,
    parsed,
    probabilities_in,
    reasoning_in,
    text_in,
    words_of,
)

#: A vector this near to length one is left as it is.
_NEAR = 1e-4
_WORDS = 2000


def translated(asked: Asked, raw: bytes, objects: Objects) -> tuple[bytes, Usage]:
    """The answer for the client, and what it cost. Raises UpstreamError, or what the answer tells under 200."""
    content = parsed(raw)
    if content is None:
        raise _no_answer()
    failure = failure_in(content)
    if failure is not None:
        raise failure
    usage = usage_of(member(content, "usage")) if member(content, "usage") else UNKNOWN
    if asked in ("embed", "embeddings"):
        vectors = [_vector(entry) for entry in _in_order(content.get("data"))]
        if asked == "embeddings":
            return encoded({"embedding": vectors[0] if vectors else []}), usage
        # One by one: the encoder holds the interpreter lock for the whole of what it is given.
        parts = b",".join([_encoded_vector(_of_length_one(vector)) for vector in vectors])
        return b'{"embeddings":[' + parts + b"]," + encoded(objects.about_embeddings(usage))[1:], usage
    return encoded(_text_answer(content, objects, usage)), usage


def words_in(raw: bytes) -> str:
    """What an engine says with a status other than 200; perhaps nothing."""
    try:
        words = words_of(json.loads(raw))
    except (ValueError, RecursionError):
        words = raw.decode("utf-8", "replace")
    return words.strip()[:_WORDS]


def _text_answer(content: dict[str, Any], objects: Objects, usage: Usage) -> dict[str, Any]:
    choice = first_choice(content)
    if choice is None:
        raise _no_answer()
    message = member(choice, "message")
    reason = choice.get("finish_reason")
    calls = ToolCalls()
    calls.add(message.get("tool_calls"))
    return objects.last(
        done_reason(reason),
        usage,
        timings=member(content, "timings"),
        text=text_in(message, "content") or text_in(choice, "text"),
        thinking=reasoning_in(message),
        tool_calls=calls.joined(reason),
        logprobs=probabilities_in(choice),
    )


def _encoded_vector(vector: list[float]) -> bytes:
    return json.dumps(vector, separators=(",", ":")).encode()


def _in_order(entries: Any) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _no_answer()
    return sorted(entries, key=lambda entry: entry["index"] if isinstance(entry.get("index"), int) else 0)


def _vector(entry: dict[str, Any]) -> list[float]:
    """Numbers; some engines send base64 of little-endian floats although nobody asked for it."""
    given = entry.get("embedding")
    if isinstance(given, str):
        try:
            data = base64.b64decode(given, validate=True)
            return list(struct.unpack(f"<{len(data) // 4}f", data))
        except (binascii.Error, ValueError, struct.error):
            raise _no_answer() from None
    if not isinstance(given, list) or not all(isinstance(number, int | float) for number in given):
        raise _no_answer()
    return given


def _of_length_one(vector: list[float]) -> list[float]:
    """Ollama's /api/embed promises vectors of length one (docs/capabilities/embeddings)."""
    length = math.hypot(*vector)
    if not math.isfinite(length) or length == 0 or abs(length - 1) <= _NEAR:
        return vector
    return [number / length for number in vector]


def _no_answer() -> UpstreamError:
    return UpstreamError(_("The model's server sent something that is no answer. Its log may have the cause."))
