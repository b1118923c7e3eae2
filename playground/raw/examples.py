"""A small body for each kind of request, to begin with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

Body = dict[str, Any]
_HELLO: Final = [{"role": "user", "content": "Name three harbours."}]


def _chat(config: str) -> Body:
    return {"model": config, "messages": _HELLO, "max_tokens": 200, "stream": True}


def _ollama_chat(config: str) -> Body:
    return {"model": config, "messages": _HELLO, "options": {"num_predict": 200}, "stream": True}


_EXAMPLES: Final[dict[str, Callable[[str], Body]]] = {
    "/v1/chat/completions": _chat,
    "/v1/messages": _chat,
    "/v1/messages/count_tokens": lambda config: {"model": config, "messages": _HELLO},
    "/v1/completions": lambda config: {"model": config, "prompt": "Harbours of Europe:", "max_tokens": 100},
    "/v1/embeddings": lambda config: {"model": config, "input": ["sheltered water"]},
    "/v1/images/generations": lambda config: {"model": config, "prompt": "A lighthouse at dawn", "size": "512x512"},
    "/v1/images/edits": lambda config: {"model": config, "prompt": "A red sail on the boat"},
    "/v1/audio/transcriptions": lambda config: {"model": config, "response_format": "json"},
    "/v1/audio/speech": lambda config: {"model": config, "input": "All aboard.", "voice": "alloy"},
    "/v1/rerank": lambda config: {"model": config, "query": "harbour", "documents": ["a ship at a pier", "a mountain"]},
    "/v1/responses": lambda config: {"model": config, "input": "Name three harbours.", "stream": True},
    "/api/chat": _ollama_chat,
    "/api/generate": lambda config: {"model": config, "prompt": "Name three harbours.", "stream": True},
    "/api/embed": lambda config: {"model": config, "input": ["sheltered water"]},
    "/api/embeddings": lambda config: {"model": config, "prompt": "sheltered water"},
}


def example_body(path: str, config: str) -> str:
    """A sensible request to ``path`` for ``config``, written to be read. TGI's own has no model in it."""
    begin = _EXAMPLES.get(path)
    tgi: Body = {"inputs": "Harbours of Europe:", "parameters": {"max_new_tokens": 100}}
    return json.dumps(tgi if begin is None else begin(config), indent=2, ensure_ascii=False)
