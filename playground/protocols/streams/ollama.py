"""Ollama's chat: https://github.com/ollama/ollama/blob/main/docs/api.md

One JSON object a line. Options are those of its Modelfile; ``think`` and ``format`` stand beside them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .base import StreamReader, count, failure_in, parsed, unreadable, words
from .events import Event, Finish, Reasoning, Text, ToolCall, Usage
from .question import ChatQuestion, Turn

#: What OpenAI's parameters are called there.
_NAMES = {"max_tokens": "num_predict"}


def request_body(question: ChatQuestion) -> dict[str, Any]:
    """The request. What was left empty is not sent, so that the model's own default holds."""
    chosen = question.settings
    system = [{"role": "system", "content": chosen.system}] if chosen.system else []
    options: dict[str, Any] = {_NAMES.get(name, name): value for name, value in chosen.numbers.items()}
    if chosen.stop:
        options["stop"] = list(chosen.stop)
    options |= chosen.ollama_options
    body: dict[str, Any] = {
        "model": question.model,
        "messages": [*system, *map(_message, question.turns)],
        "stream": True,
    }
    if options:
        body["options"] = options
    if chosen.json_mode:
        body["format"] = "json"
    if chosen.think is not None:
        body["think"] = chosen.think
    return question.merged(body)


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.pictures:
        message["images"] = [picture.base64 for picture in turn.pictures]
    return message


class OllamaReader(StreamReader):
    """Reads one object a line; the last one says ``done``."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def _line(self, line: str) -> Iterator[Event]:
        if not line.strip():
            return
        content = parsed(line)
        if content is None:
            yield unreadable(line)
            return
        failure = failure_in(content)
        if failure is not None:
            yield failure
            return
        said = content.get("message")
        if isinstance(said, dict):
            yield from self._said(said)
        if content.get("done"):
            yield Usage(
                prompt_tokens=count(content.get("prompt_eval_count")),
                completion_tokens=count(content.get("eval_count")),
                load_ms=_milliseconds(content.get("load_duration")),
            )
            yield Finish(str(content.get("done_reason") or "stop"))
            yield from self._complete()

    def _said(self, said: dict[str, Any]) -> Iterator[Event]:
        thinking, text = words(said.get("thinking")), words(said.get("content"))
        if thinking:
            yield Reasoning(thinking)
        if text:
            yield Text(text)
        calls = said.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                yield self._call(function)

    def _call(self, function: dict[str, Any]) -> ToolCall:
        """Each call comes whole, with its arguments as an object."""
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        self._calls += 1
        return ToolCall(index=self._calls - 1, name=str(function.get("name") or ""), arguments=text)


def _milliseconds(nanoseconds: object) -> int | None:
    return nanoseconds // 1_000_000 if isinstance(nanoseconds, int) and nanoseconds >= 0 else None
