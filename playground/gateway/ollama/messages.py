"""Ollama's messages as OpenAI's: images as parts of the content, arguments of tools as text, calls with ids."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError

from .engines import Dialect
from .long_strings import LongStrings
from .pictures import data_uri


def openai_messages(messages: Any, strings: LongStrings, dialect: Dialect) -> list[dict[str, Any]]:
    """Translate a conversation. Raises BadRequestError naming what is wrong."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise _wrong_messages()
    calls = _Calls()
    return [_translated(message, calls, strings, dialect) for message in messages]


def content_with(text: str, images: Any, strings: LongStrings) -> str | list[dict[str, Any]]:
    """A message's content: parts where there are images. Raises BadRequestError."""
    if images is None or images == []:
        return text
    if not isinstance(images, list):
        raise BadRequestError(_("'images' must be a list."), param="images")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    parts += [{"type": "image_url", "image_url": {"url": data_uri(image, strings)}} for image in images]
    return parts


class _Calls:
    """Calls of tools that wait for their result. Ollama matches these by name and order, OpenAI by an id."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str]] = []
        self._made = 0

    def new(self, given: Any, name: str) -> str:
        """An id for a call of the tool ``name``: the one it came with, else a new one."""
        identity = given if isinstance(given, str) and given else f"call_{self._made}"
        self._made += 1
        self._waiting.append((name, identity))
        return identity

    def answered(self, given: Any, name: Any) -> str:
        """The id of the call whose result a message is."""
        if isinstance(given, str) and given:
            self._waiting = [call for call in self._waiting if call[1] != given]
            return given
        for index, (called, _identity) in enumerate(self._waiting):
            if not name or called == name:
                return self._waiting.pop(index)[1]
        return self._waiting.pop(0)[1] if self._waiting else self.new(None, str(name or ""))


def _translated(message: dict[str, Any], calls: _Calls, strings: LongStrings, dialect: Dialect) -> dict[str, Any]:
    role, text = message.get("role"), message.get("content")
    if not isinstance(role, str) or not (text is None or isinstance(text, str)):
        raise _wrong_messages()
    translated: dict[str, Any] = {"role": role, "content": content_with(text or "", message.get("images"), strings)}
    if role == "tool":
        translated["tool_call_id"] = calls.answered(
            message.get("tool_call_id"), message.get("tool_name") or message.get("name")
        )
    if called := message.get("tool_calls"):
        if not isinstance(called, list):
            raise _wrong_calls()
        translated["tool_calls"] = [_call(call, calls) for call in called]
    thought = message.get("thinking")
    if dialect.reasoning and role == "assistant" and isinstance(thought, str) and thought:
        translated[dialect.reasoning] = thought
    return translated


def _call(call: Any, calls: _Calls) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise _wrong_calls()
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments or {}, ensure_ascii=False)
    identity = calls.new(call.get("id"), name)
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _wrong_messages() -> BadRequestError:
    return BadRequestError(
        _("'messages' must be a list of objects with 'role' and 'content', both text."), param="messages"
    )


def _wrong_calls() -> BadRequestError:
    return BadRequestError(
        _("'tool_calls' must be a list of objects with a 'function' that has 'name' and 'arguments'."), param="messages"
    )
