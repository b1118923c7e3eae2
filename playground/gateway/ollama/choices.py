"""What OpenAI's answers say, whole or in chunks, read without trusting that they are as documented."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError, GatewayError, UpstreamError

_REASONS: Final = {"length": "length"}
_DECODER: Final = json.JSONDecoder(parse_constant=lambda _name: None)


def parsed(data: bytes) -> dict[str, Any] | None:
    """The object that ``data`` is, with null for NaN and the like; None when it is no JSON object."""
    try:
        content = _DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def done_reason(finish_reason: object) -> str:
    """Ollama knows two ends of an answer: the model's own and the limit (api/types.go)."""
    return _REASONS.get(str(finish_reason), "stop")


def text_in(part: Mapping[str, Any], *names: str) -> str:
    """The first text among the members ``names``; a list of parts is joined."""
    for name in names:
        value = part.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list):
            texts = [piece.get("text") for piece in value if isinstance(piece, dict)]
            return "".join(text for text in texts if isinstance(text, str))
    return ""


def reasoning_in(part: Mapping[str, Any]) -> str:
    """The reasoning of a message or delta, under either of its names."""
    return text_in(part, "reasoning_content", "reasoning")


def first_choice(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """The choice that the client asked for: Ollama's API has one."""
    choices = content.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                return choice
    return None


def member(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object ``name``; empty when it is none."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def probabilities_in(choice: Mapping[str, Any]) -> list[Any]:
    """Log probabilities of chat; Ollama's entries have the same members."""
    content = member(choice, "logprobs").get("content")
    return content if isinstance(content, list) else []


def failure_in(content: Mapping[str, Any]) -> GatewayError | None:
    """The error that an answer under 200 tells, or None."""
    told = content.get("error")
    if not told:
        return None
    code = told.get("code") if isinstance(told, dict) else None
    kind = BadRequestError if isinstance(code, int) and 400 <= code < 500 else UpstreamError
    return kind("%(words)s", words=words_of(content))


def words_of(content: object) -> str:
    """The sentence of an engine's refusal, in whichever shape it comes; empty when there is none."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "; ".join(filter(None, map(words_of, content)))
    if isinstance(content, dict):
        for name in ("error", "message", "detail", "msg"):
            if content.get(name) and (words := words_of(content[name])):
                return words
    return ""


@dataclass(slots=True)
class _Call:
    identity: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ToolCalls:
    """Joins the fragments of calls by their index; some engines leave it out and send each call whole."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._latest = -1

    def add(self, fragments: object) -> None:
        """Take ``tool_calls`` of a delta or message."""
        for fragment in fragments if isinstance(fragments, list) else []:
            if not isinstance(fragment, dict):
                continue
            function = member(fragment, "function")
            index = fragment.get("index")
            if not isinstance(index, int):
                index = self._latest + 1 if function.get("name") or self._latest < 0 else self._latest
            self._latest = index
            call = self._calls.setdefault(index, _Call())
            call.identity = call.identity or _text(fragment.get("id"))
            call.name = call.name or _text(function.get("name"))
            arguments = function.get("arguments")
            call.arguments.append(json.dumps(arguments) if isinstance(arguments, dict) else _text(arguments))

    def joined(self, finish_reason: object) -> list[dict[str, Any]]:
        """The calls in Ollama's form, and none of them a second time.

        One that the limit of tokens cut off is left out: the reason of the end tells of it. Raises UpstreamError
        for arguments that are no object otherwise.
        """
        calls, self._calls = self._calls, {}
        told = []
        for index, call in sorted(calls.items()):
            try:
                arguments = json.loads("".join(call.arguments) or "{}")
            except (ValueError, RecursionError):
                arguments = None
            if isinstance(arguments, dict) and call.name:
                identity = {"id": call.identity} if call.identity else {}
                told.append({**identity, "function": {"index": index, "name": call.name, "arguments": arguments}})
            elif done_reason(finish_reason) != "length":
                raise UpstreamError(
                    _("The model called the tool “%(name)s” with arguments that are no JSON object. Ask again."),
                    name=call.name[:100],
                )
        return told


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
