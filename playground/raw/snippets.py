"""A request in the words of other tools. The key is a placeholder; the gateway's address is this installation's."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

PLACEHOLDER: Final = "berth-YOUR-KEY"
_WIDTH: Final = 96


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Path -> method of OpenAI's Python client, and the parameters that it has by name; others go into ``extra_body``.
#: https://github.com/openai/openai-python/blob/main/api.md
_OPENAI: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
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
    "/v1/responses": (
        "responses.create",
        _names("model input stream temperature top_p max_output_tokens tools tool_choice instructions"),
    ),
    "/v1/audio/speech": ("audio.speech.create", _names("model input voice response_format speed")),
}
#: The same of Ollama's client, which takes nothing else: https://github.com/ollama/ollama-python
_OLLAMA: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
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


@dataclass(frozen=True, kw_only=True)
class Code:
    """A request in one tool's words."""

    key: str
    title: str
    text: str


def code_for(path: str, body: Mapping[str, Any]) -> list[Code]:
    """The same request with every tool that can send it."""
    writers: tuple[tuple[str, str, Callable[[str, Mapping[str, Any]], str | None]], ...] = (
        ("curl", "curl", _curl),
        ("openai", "Python · openai", _openai),
        ("ollama", "Python · ollama", _ollama),
        ("httpx", "Python · httpx", _httpx),
        ("javascript", "JavaScript", _javascript),
    )
    written = ((key, title, write(path, body)) for key, title, write in writers)
    return [Code(key=key, title=title, text=text) for key, title, text in written if text is not None]


def _url(path: str = "") -> str:
    return f"{settings.BERTH_GATEWAY_URL.rstrip('/')}{path}"


def _curl(path: str, body: Mapping[str, Any]) -> str:
    return (
        f"curl -N {shlex.quote(_url(path))} \\\n"
        f'  -H "Authorization: Bearer {PLACEHOLDER}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(_pretty(body))}\n"
    )


def _openai(path: str, body: Mapping[str, Any]) -> str | None:
    if path not in _OPENAI:
        return None
    method, known = _OPENAI[path]
    named = {name: value for name, value in body.items() if name in known}
    extra = {name: value for name, value in body.items() if name not in known}
    if extra:
        named["extra_body"] = extra
    opening = f"client = OpenAI(base_url={_url('/v1')!r}, api_key={PLACEHOLDER!r})"
    return f"from openai import OpenAI\n\n{opening}\n{_call(f'client.{method}', named, body)}"


def _ollama(path: str, body: Mapping[str, Any]) -> str | None:
    method, known = _OLLAMA.get(path, ("", frozenset()))
    if not method or not set(body) <= known:
        return None
    # The protocol streams unless it is told not to; the client does not unless it is told to.
    named = {**body, "stream": body.get("stream", True)} if "stream" in known else dict(body)
    opening = f"client = Client(host={_url()!r}, headers={{'Authorization': 'Bearer {PLACEHOLDER}'}})"
    return f"from ollama import Client\n\n{opening}\n{_call(f'client.{method}', named, named)}"


def _httpx(path: str, body: Mapping[str, Any]) -> str:
    return (
        "import httpx\n\n"
        f"body = {_python(dict(body), 7)}\n"
        f"headers = {{'Authorization': 'Bearer {PLACEHOLDER}'}}\n"
        f"with httpx.stream('POST', {_url(path)!r}, json=body, headers=headers, timeout=600) as answer:\n"
        "    for text in answer.iter_text():\n"
        "        print(text, end='', flush=True)\n"
    )


def _javascript(path: str, body: Mapping[str, Any]) -> str:
    return (
        f"const answer = await fetch({json.dumps(_url(path))}, {{\n"
        '  method: "POST",\n'
        f'  headers: {{ Authorization: "Bearer {PLACEHOLDER}", "Content-Type": "application/json" }},\n'
        f"  body: JSON.stringify({_indented(_pretty(body), 2)}),\n"
        "});\n"
        "const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();\n"
        "for (let part = await reader.read(); !part.done; part = await reader.read()) console.log(part.value);\n"
    )


def _call(method: str, named: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    lines = [f"    {name}={_python(value, len(name) + 5)},\n" for name, value in named.items()]
    call = f"answer = {method}(\n{''.join(lines)})\n"
    return call + ("for part in answer:\n    print(part)\n" if body.get("stream") is True else "print(answer)\n")


def _python(value: object, column: int) -> str:
    """``value`` as Python writes it, whose lines begin at ``column``."""
    return _indented(pprint.pformat(value, width=_WIDTH - column, sort_dicts=False), column)


def _pretty(body: Mapping[str, Any]) -> str:
    return json.dumps(dict(body), indent=2, ensure_ascii=False)


def _indented(text: str, columns: int) -> str:
    return text.replace("\n", "\n" + " " * columns)
