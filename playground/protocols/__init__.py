"""How a client asks the gateway in each protocol. A new protocol is one module and one line here."""

from __future__ import annotations

from collections.abc import Callable

from .base import Answer, GatewayHttp, Question
from .ollama_text import ask_ollama_text
from .openai_image import ask_openai_image
from .openai_text import ask_openai_text

#: Protocol -> what sends a question; the callback gets each piece of text as it arrives.
ASK: dict[str, Callable[[GatewayHttp, Question, Callable[[str], None]], Answer]] = {
    "openai-text": ask_openai_text,
    "ollama-text": ask_ollama_text,
    "openai-image": ask_openai_image,
}

__all__ = ["ASK", "Answer", "GatewayHttp", "Question"]
