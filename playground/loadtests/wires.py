"""What answers look like, as far as a load test looks: where text begins, the tokens as counted, the last word. Pure.

The playground's readers (:mod:`playground.protocols.streams`) understand every frame; here each frame costs the time
of all others, so only the first ones and the last ones are parsed (:mod:`.meters`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from playground.protocols.streams.base import count, words

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """As the server counted them; None where it told none."""

    prompt: int | None = None
    output: int | None = None


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One protocol's answers. ``mark`` begins a frame of a stream; what follows it up to the line's end is JSON.

    ``text`` tells whether an object, a frame's or a whole answer's, brings some of what was asked for; ``tokens``
    what it counts, None when it does not; ``ends`` whether it is the last one that matters. ``last_word`` ends a
    stream as well.
    """

    mark: bytes
    text: Callable[[Content], bool]
    tokens: Callable[[Content], Tokens | None]
    ends: Callable[[Content], bool]
    last_word: bytes = b""

    def frame(self, line: bytes) -> Content | None:
        """The object of a line of a stream, or None for what is none."""
        line = line.strip()
        if not line.startswith(self.mark):
            return None
        try:
            content = json.loads(line.removeprefix(self.mark))
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None


def _choices(content: Content) -> list[Content]:
    choices = content.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _openai_text(content: Content) -> bool:
    for choice in _choices(content):
        said = choice.get("delta") or choice.get("message") or {}
        if isinstance(said, dict) and (
            words(said.get("content"))
            or said.get("reasoning_content")
            or said.get("reasoning")
            or said.get("tool_calls")
        ):
            return True
    return False


def _openai_tokens(content: Content) -> Tokens | None:
    usage = content.get("usage")
    if not isinstance(usage, dict):
        return None
    return Tokens(count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))


def _openai_ends(content: Content) -> bool:
    return any(choice.get("finish_reason") for choice in _choices(content))


def _ollama_text(content: Content) -> bool:
    said = content.get("message")
    return isinstance(said, dict) and bool(said.get("content") or said.get("thinking") or said.get("tool_calls"))


def _ollama_tokens(content: Content) -> Tokens | None:
    if not content.get("done"):
        return None
    return Tokens(count(content.get("prompt_eval_count")), count(content.get("eval_count")))


def _tgi_text(content: Content) -> bool:
    token = content.get("token")
    return bool(content.get("generated_text") or (isinstance(token, dict) and token.get("text")))


def _tgi_tokens(content: Content) -> Tokens | None:
    details = content.get("details")
    if not isinstance(details, dict):
        return None
    return Tokens(count(details.get("input_length")), count(details.get("generated_tokens")))


def _has_data(content: Content) -> bool:
    return isinstance(content.get("data"), list) and bool(content["data"])


#: https://platform.openai.com/docs/api-reference/chat-streaming
OPENAI: Final = Wire(
    mark=b"data:", text=_openai_text, tokens=_openai_tokens, ends=_openai_ends, last_word=b"data: [DONE]"
)
#: https://github.com/ollama/ollama/blob/main/docs/api.md
OLLAMA: Final = Wire(
    mark=b"", text=_ollama_text, tokens=_ollama_tokens, ends=lambda content: content.get("done") is True
)
#: https://huggingface.github.io/text-generation-inference/ (StreamResponse, StreamDetails)
TGI: Final = Wire(
    mark=b"data:", text=_tgi_text, tokens=_tgi_tokens, ends=lambda content: content.get("generated_text") is not None
)
IMAGES: Final = Wire(mark=b"data:", text=_has_data, tokens=lambda _content: None, ends=_has_data)
EMBEDDINGS: Final = Wire(mark=b"data:", text=_has_data, tokens=_openai_tokens, ends=_has_data)
