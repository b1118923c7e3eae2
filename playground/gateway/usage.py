"""Reads how many tokens an answer cost, from the answer itself, in each protocol's own words.

OpenAI: ``usage`` with prompt_tokens and completion_tokens, or input_tokens and output_tokens (Responses, images,
transcriptions); Anthropic: the same names, the input without what came from its cache, in a stream first in
``message_start`` and then in ``message_delta``; Ollama: prompt_eval_count and eval_count of the last object; TGI:
``details`` with generated_tokens and input_length, or headers (router/src/server.rs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .endpoints import ErrorShape

_USAGE: Final = re.compile(rb'"usage"\s*:\s*(?=\{)')
_COUNT: Final = {
    name: re.compile(rb'"' + name.encode() + rb'"\s*:\s*(\d{1,12})')
    for name in ("prompt_eval_count", "eval_count", "input_length", "generated_tokens")
}
#: An object of usage is short; details of it, too.
_MOST_BYTES: Final = 4096
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens; None where the answer does not say."""

    prompt_tokens: int | None
    completion_tokens: int | None


UNKNOWN: Final = Usage(prompt_tokens=None, completion_tokens=None)


def usage_in(
    shape: ErrorShape, tail: bytes, *, head: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()
) -> Usage:
    """The usage that an answer tells in ``tail``, its end or the whole of it, and for a stream in its ``head``."""
    if shape == "ollama":
        return Usage(
            prompt_tokens=_last_count("prompt_eval_count", tail), completion_tokens=_last_count("eval_count", tail)
        )
    if shape == "tgi":
        return _of_tgi(tail, dict(headers))
    last = _last_usage(tail)
    found = usage_of(last) if last is not None else UNKNOWN
    if head and found.prompt_tokens is None and (first := _last_usage(head)) is not None:
        completion = found.completion_tokens
        return Usage(prompt_tokens=usage_of(first).prompt_tokens, completion_tokens=completion)
    return found


def usage_of(content: Mapping[str, Any]) -> Usage:
    """What an object of OpenAI's or Anthropic's ``usage`` says."""
    prompt = _number(content, "prompt_tokens")
    completion = _number(content, "completion_tokens")
    if prompt is None and (given := _number(content, "input_tokens")) is not None:
        cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
        prompt = given + sum(_number(content, name) or 0 for name in cached)
    if completion is None:
        completion = _number(content, "output_tokens")
    if prompt is None and completion is None:
        prompt = _number(content, "total_tokens")
    if prompt is not None and completion is None:
        # Embeddings and rerankings have no other.
        total = _number(content, "total_tokens")
        completion = max(0, total - prompt) if total is not None else None
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def _of_tgi(tail: bytes, headers: Mapping[bytes, bytes]) -> Usage:
    prompt, completion = _last_count("input_length", tail), _last_count("generated_tokens", tail)
    if prompt is None and (told := headers.get(b"x-prompt-tokens", b"")).isdigit():
        prompt = int(told)
    if completion is None and (told := headers.get(b"x-generated-tokens", b"")).isdigit():
        completion = int(told)
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def _last_usage(data: bytes) -> dict[str, Any] | None:
    """The last object called ``usage``; inside a string its quotes would be escaped, so it is none of the text."""
    end = len(data)
    while (start := data.rfind(b'"usage"', 0, end)) >= 0:
        found = _USAGE.match(data, start)
        if found is not None:
            try:
                text = data[found.end() : found.end() + _MOST_BYTES].decode("utf-8", "replace")
                content, _end = _DECODER.raw_decode(text)
            except ValueError:
                return None
            return content if isinstance(content, dict) else None
        end = start
    return None


def _last_count(name: str, data: bytes) -> int | None:
    counts = _COUNT[name].findall(data)
    return int(counts[-1]) if counts else None


def _number(content: Mapping[str, Any], name: str) -> int | None:
    value = content.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
