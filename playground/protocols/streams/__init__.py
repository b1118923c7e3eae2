"""Answers as they arrive: each protocol's bytes become the same few events, however they were cut into chunks.

A new protocol is one module with a :class:`~.base.StreamReader` and a request, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .base import StreamReader
from .ollama import OllamaReader
from .ollama import request_body as ollama_body
from .openai import OpenAIReader
from .openai import request_body as openai_body
from .question import ChatQuestion


@dataclass(frozen=True, kw_only=True)
class ChatProtocol:
    """How a chat is asked in one protocol and how its answer is read."""

    path: str
    body: Callable[[ChatQuestion], dict[str, Any]]
    reader: Callable[[], StreamReader]


CHAT_PROTOCOLS: dict[str, ChatProtocol] = {
    "openai-text": ChatProtocol(path="/v1/chat/completions", body=openai_body, reader=OpenAIReader),
    "ollama-text": ChatProtocol(path="/api/chat", body=ollama_body, reader=OllamaReader),
}

__all__ = ["CHAT_PROTOCOLS", "ChatProtocol", "ChatQuestion", "StreamReader"]
