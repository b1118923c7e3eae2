"""OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat-streaming

Server-sent events as in https://html.spec.whatwg.org/multipage/server-sent-events.html. Reasoning is no part of it:
vLLM, SGLang and DeepSeek call it ``reasoning_content``, newer vLLM and OpenRouter ``reasoning``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .base import SERVED, StreamReader, count, failure_in, parsed, served_in, unreadable, words
from .events import Event, Finish, Reasoning, Text, ToolCall, Usage
from .question import ChatQuestion, Turn


def request_body(question: ChatQuestion) -> dict[str, Any]:
    """The request. What was left empty is not sent, so that the engine's own default holds."""
    chosen = question.settings
    system = [{"role": "system", "content": chosen.system}] if chosen.system else []
    body: dict[str, Any] = {
        "model": question.model,
        "messages": [*system, *map(_message, question.turns)],
        "stream": True,
        "stream_options": {"include_usage": True},
        **chosen.numbers,
    }
    if chosen.stop:
        body["stop"] = list(chosen.stop)
    if chosen.json_mode:
        body["response_format"] = {"type": "json_object"}
    return question.merged(body)


def _message(turn: Turn) -> dict[str, Any]:
    if not turn.pictures:
        return {"role": turn.role, "content": turn.content}
    shown = [{"type": "image_url", "image_url": {"url": picture.data_uri}} for picture in turn.pictures]
    return {"role": turn.role, "content": [{"type": "text", "text": turn.content}, *shown]}


class OpenAIReader(StreamReader):
    """Reads ``data:`` events, and a whole answer of a server that does not stream."""

    def __init__(self) -> None:
        super().__init__()
        self._data: list[str] = []

    def _line(self, line: str) -> Iterator[Event]:
        if line.startswith("data:"):
            self._data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line:
            yield from self._dispatched()
        elif line.startswith(SERVED):
            yield served_in(line)
        elif line.startswith("{") and not self._data:
            yield from self._object(line)

    def _last(self) -> Iterator[Event]:
        return self._dispatched()

    def _dispatched(self) -> Iterator[Event]:
        lines, self._data = self._data, []
        if not lines:
            return
        whole = "\n".join(lines).strip()
        # One event over several lines, or a server that leaves out the empty lines between its events.
        for text in [whole] if len(lines) == 1 or parsed(whole) is not None else lines:
            if text.strip() == "[DONE]":
                yield from self._complete()
                return
            yield from self._object(text)

    def _object(self, text: str) -> Iterator[Event]:
        content = parsed(text)
        if content is None:
            yield unreadable(text)
            return
        failure = failure_in(content)
        if failure is not None:
            yield failure
            return
        choices = content.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                yield from _choice(choice)
        usage = content.get("usage")
        if isinstance(usage, dict):
            yield Usage(
                prompt_tokens=count(usage.get("prompt_tokens")), completion_tokens=count(usage.get("completion_tokens"))
            )


def _choice(choice: dict[str, Any]) -> Iterator[Event]:
    said = choice.get("delta") or choice.get("message") or {}
    if isinstance(said, dict):
        reasoning = words(said.get("reasoning_content") or said.get("reasoning"))
        if reasoning:
            yield Reasoning(reasoning)
        text = words(said.get("content")) or words(said.get("refusal"))
        if text:
            yield Text(text)
        calls = said.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                yield _call(call, place)
    if choice.get("finish_reason"):
        yield Finish(str(choice["finish_reason"]))


def _call(call: dict[str, Any], place: int) -> ToolCall:
    told = call.get("function")
    function = told if isinstance(told, dict) else {}
    return ToolCall(
        index=count(call.get("index", place)) or 0,
        call_id=str(call.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=str(function.get("arguments") or ""),
    )
