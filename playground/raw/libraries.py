"""A request in the words of the official Python clients, where they have a method for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from playground.gateway.app import MODELS

from .request import Asked
from .writing import PLACEHOLDER, as_python, gateway_address


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Path -> method of OpenAI's Python client, and the parameters that it has by name; others go into ``extra_body``.
#: https://github.com/openai/openai-python/blob/main/api.md
_OPENAI: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    MODELS: ("models.list", frozenset()),
    "/v1/chat/completions": (
        "chat.completions.create",
        _names(
            "model messages stream stream_options temperature top_p max_tokens seed stop "
            "presence_penalty frequency_penalty tools tool_choice response_format n logprobs top_logprobs user"
        ),
    ),
    "/v1/completions": (
        "completions.create",
        _names("model prompt stream stream_options temperature top_p max_tokens seed stop n user"),
    ),
    "/v1/embeddings": ("embeddings.create", _names("model input dimensions encoding_format user")),
    "/v1/images/generations": (
        "images.generate",
        _names("model prompt n size quality response_format style user"),
    ),
    "/v1/images/edits": ("images.edit", _names("model prompt n size quality response_format user")),
    "/v1/responses": (
        "responses.create",
        _names("model input stream temperature top_p max_output_tokens tools tool_choice instructions"),
    ),
    "/v1/audio/speech": ("audio.speech.create", _names("model input voice response_format speed")),
    "/v1/audio/transcriptions": (
        "audio.transcriptions.create",
        _names("model language prompt response_format temperature stream timestamp_granularities"),
    ),
}
#: The same of Ollama's client, which takes nothing else: https://github.com/ollama/ollama-python
_OLLAMA: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "/api/tags": ("list", frozenset()),
    "/api/ps": ("ps", frozenset()),
    "/api/chat": (
        "chat",
        _names("model messages tools stream think format options keep_alive"),
    ),
    "/api/generate": (
        "generate",
        _names("model prompt suffix system template context stream think raw format images options keep_alive"),
    ),
    "/api/embed": ("embed", _names("model input truncate options keep_alive dimensions")),
    "/api/embeddings": ("embeddings", _names("model prompt options keep_alive")),
}


def openai_code(asked: Asked) -> str | None:
    """With OpenAI's client."""
    opening = f"client = OpenAI(base_url={gateway_address('/v1')!r}, api_key={PLACEHOLDER!r})"
    head = f"from openai import OpenAI\n\n{opening}\n"
    if asked.path.startswith(f"{MODELS}/"):
        return f"{head}print(client.models.retrieve({unquote(asked.path.removeprefix(f'{MODELS}/'))!r}))\n"
    if asked.path not in _OPENAI:
        return None
    method, known = _OPENAI[asked.path]
    named = {name: value for name, value in asked.body.items() if name in known}
    extra = {name: value for name, value in asked.body.items() if name not in known}
    if extra:
        named["extra_body"] = extra
    return head + _call(f"client.{method}", named, asked)


def ollama_code(asked: Asked) -> str | None:
    """With Ollama's client."""
    method, known = _OLLAMA.get(asked.path, ("", frozenset()))
    if not method or not set(asked.body) <= known:
        return None
    # The protocol streams unless it is told not to; the client does not unless it is told to.
    streams = {"stream": asked.body.get("stream", True)} if "stream" in known else {}
    opening = f"client = Client(host={gateway_address()!r}, headers={{'Authorization': 'Bearer {PLACEHOLDER}'}})"
    return f"from ollama import Client\n\n{opening}\n{_call(f'client.{method}', {**asked.body, **streams}, asked)}"


def _call(method: str, named: Mapping[str, Any], asked: Asked) -> str:
    lines = [f"    {name}=open({file!r}, 'rb'),\n" for name, file in asked.files.items()]
    lines += [f"    {name}={as_python(value, len(name) + 5)},\n" for name, value in named.items()]
    call = f"answer = {method}(\n{''.join(lines)})\n" if lines else f"answer = {method}()\n"
    return call + ("for part in answer:\n    print(part)\n" if named.get("stream") is True else "print(answer)\n")
