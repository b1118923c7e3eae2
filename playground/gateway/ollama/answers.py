"""Objects of Ollama's answers: their members, counts and times."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from playground.gateway.usage import Usage

from .asking import Asked

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """``ticks`` counts nanoseconds, ``now`` tells the time of day in epoch seconds."""

    ticks: Callable[[], int] = time.perf_counter_ns
    now: Callable[[], float] = time.time


CLOCK = Clock()


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, as Go writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


# Made once: json.dumps makes one for each call that differs from the defaults.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
#: JSON allows them as they are, but clients in Python end a line there (str.splitlines).
_LINE_ENDS: Final = re.compile("[\x85\u2028\u2029]")


def encoded(content: Mapping[str, Any]) -> bytes:
    """Compact JSON on one line. Halves of surrogate pairs, which a model may put into two chunks, stay escaped."""
    text = _ENCODER.encode(content)
    if not text.isascii():
        text = _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, separators=(",", ":")).encode()


class Objects:
    """Makes the objects of one answer for ``model``, the name that the client used.

    ``thinks`` is False for a client that wants no reasoning.
    """

    def __init__(self, asked: Asked, model: str, *, thinks: bool = True, clock: Clock = CLOCK) -> None:
        self._asked = asked
        self._model = model
        self._thinks = thinks
        self._clock = clock
        self._began = clock.ticks()
        self._loaded = self._began
        self._first: int | None = None
        self._last = self._began

    def nothing_yet(self) -> dict[str, Any]:
        """A part without content, for a client that waits for the model."""
        return self._object("", "", {}) | {"done": False}

    def note_loaded(self) -> None:
        """The model is there only now: what passed until now is the time that loading took."""
        self._loaded = self._last = self._clock.ticks()

    def part(self, *, text: str = "", thinking: str = "", **more: Any) -> dict[str, Any] | None:
        """A part of the answer; None when there is nothing in it for this client."""
        self._last = self._clock.ticks()
        if self._first is None:
            self._first = self._last
        if not self._thinks:
            thinking = ""
        if not text and not thinking and not more:
            return None
        return self._object(text, thinking, more) | {"done": False}

    def last(
        self,
        reason: str,
        usage: Usage,
        *,
        timings: Mapping[str, Any] | None = None,
        text: str = "",
        thinking: str = "",
        **more: Any,
    ) -> dict[str, Any]:
        """The object that ends an answer, or is the whole of it.

        Counts are the engine's, and missing where it tells none. Its own times are preferred (llama.cpp has them);
        else those that passed here: up to the first part and from there on. Without parts the two cannot be told apart.
        """
        content = self._object(text, thinking if self._thinks else "", more)
        content |= {"done": True, "done_reason": reason, "total_duration": self._clock.ticks() - self._began}
        # A deployment that is ready has its model loaded: what was waited for is its start.
        content["load_duration"] = self._loaded - self._began
        return content | self._counts(usage, timings or {})

    def _counts(self, usage: Usage, timings: Mapping[str, Any]) -> dict[str, int]:
        counts: dict[str, int] = {}
        waited = self._first - self._loaded if self._first is not None else None
        if usage.prompt_tokens is not None:
            counts["prompt_eval_count"] = usage.prompt_tokens
        if (prompt_ns := _nanoseconds(timings, "prompt_ms", waited)) is not None:
            counts["prompt_eval_duration"] = prompt_ns
        if usage.completion_tokens is not None:
            counts["eval_count"] = usage.completion_tokens
        generated = self._last - self._first if self._first is not None else self._clock.ticks() - self._loaded
        if (eval_ns := _nanoseconds(timings, "predicted_ms", generated)) is not None:
            counts["eval_duration"] = eval_ns
        return counts

    def loaded(self) -> dict[str, Any]:
        """The answer to a request that only wants the model to be there."""
        if self._asked == "embed":
            return {"model": self._model, "embeddings": []}
        if self._asked == "embeddings":
            return {"embedding": []}
        return self._object("", "", {}) | {"done": True, "done_reason": "load"}

    def about_embeddings(self, usage: Usage) -> dict[str, Any]:
        """What the answer of /api/embed has besides its vectors."""
        content: dict[str, Any] = {"model": self._model}
        content |= {"total_duration": self._clock.ticks() - self._began, "load_duration": self._loaded - self._began}
        if usage.prompt_tokens is not None:
            content["prompt_eval_count"] = usage.prompt_tokens
        return content

    def _object(self, text: str, thinking: str, more: Mapping[str, Any]) -> dict[str, Any]:
        content: dict[str, Any] = {"model": self._model, "created_at": timestamp(self._clock.now())}
        thought = {"thinking": thinking} if thinking else {}
        probabilities = {"logprobs": more["logprobs"]} if more.get("logprobs") else {}
        if self._asked == "generate":
            return {**content, "response": text, **thought, **probabilities}
        message = {"role": "assistant", "content": text, **thought}
        if calls := more.get("tool_calls"):
            message["tool_calls"] = calls
        return {**content, "message": message, **probabilities}


def _nanoseconds(timings: Mapping[str, Any], name: str, otherwise: int | None) -> int | None:
    told = timings.get(name)
    if isinstance(told, int | float) and not isinstance(told, bool) and told >= 0:
        return round(told * _NS_PER_MS)
    return otherwise
