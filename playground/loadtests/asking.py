"""What is asked in each protocol. Another kind is one entry of :data:`KINDS`. Pure.

``ignore_eos`` makes answers as long as they are wanted: vLLM and SGLang (Sampling Parameters), LMDeploy
(lmdeploy/serve/openai/protocol.py) and llama.cpp (tools/server/README.md) have it; elsewhere a model may end sooner,
and the figures say how many tokens came.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from playground.gateway.endpoints import TGI_PREFIX, served_paths

from .wires import EMBEDDINGS, IMAGES, OLLAMA, OPENAI, TGI, Wire

_IGNORE_EOS: Final = frozenset({"vllm", "sglang", "lmdeploy", "llama.cpp"})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request. ``model`` as the one who is asked calls it."""

    model: str
    engine: str
    text: str
    output_tokens: int
    stream: bool
    size: str = "512x512"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to ask. ``path`` is that of the gateway, by whether a stream is wanted; ``CONFIG`` is a place in it."""

    title: Promise
    path: Callable[[bool], str]
    body: Callable[[Wanted], dict[str, Any]]
    wire: Wire
    streams: bool = True
    makes_tokens: bool = True

    def payload(self, wanted: Wanted) -> bytes:
        """The body, as it is sent."""
        return json.dumps(self.body(wanted), separators=(",", ":")).encode()


def _chat(wanted: Wanted) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": wanted.model,
        "messages": [{"role": "user", "content": wanted.text}],
        "max_tokens": wanted.output_tokens,
        "temperature": 0,
        "stream": wanted.stream,
    }
    if wanted.stream:
        body["stream_options"] = {"include_usage": True}
    if wanted.engine in _IGNORE_EOS:
        body["ignore_eos"] = True
    return body


def _ollama(wanted: Wanted) -> dict[str, Any]:
    return {
        "model": wanted.model,
        "messages": [{"role": "user", "content": wanted.text}],
        "options": {"num_predict": wanted.output_tokens, "temperature": 0},
        "stream": wanted.stream,
    }


def _tgi(wanted: Wanted) -> dict[str, Any]:
    return {"inputs": wanted.text, "parameters": {"max_new_tokens": wanted.output_tokens, "details": True}}


def _images(wanted: Wanted) -> dict[str, Any]:
    told = {"model": wanted.model, "prompt": wanted.text, "n": 1, "size": wanted.size}
    return {**told, "response_format": "b64_json"}


def _embeddings(wanted: Wanted) -> dict[str, Any]:
    return {"model": wanted.model, "input": wanted.text, "encoding_format": "float"}


KINDS: Final[dict[str, Kind]] = {
    "chat": Kind(title=_("chat"), path=lambda _stream: "/v1/chat/completions", body=_chat, wire=OPENAI),
    "ollama": Kind(title=_("Ollama chat"), path=lambda _stream: "/api/chat", body=_ollama, wire=OLLAMA),
    "tgi": Kind(
        title=_("TGI generate"),
        path=lambda stream: f"{TGI_PREFIX}CONFIG/generate{'_stream' if stream else ''}",
        body=_tgi,
        wire=TGI,
    ),
    "images": Kind(
        title=_("images"),
        path=lambda _stream: "/v1/images/generations",
        body=_images,
        wire=IMAGES,
        streams=False,
        makes_tokens=False,
    ),
    "embeddings": Kind(
        title=_("embeddings"),
        path=lambda _stream: "/v1/embeddings",
        body=_embeddings,
        wire=EMBEDDINGS,
        streams=False,
        makes_tokens=False,
    ),
}
#: What a config of this protocol is asked when nobody chose.
DEFAULTS: Final = {"openai-text": "chat", "ollama-text": "ollama", "openai-image": "images"}


def kinds_for(protocol: str, engine: str) -> list[str]:
    """The kinds that a config of this protocol and engine can be asked, the default first."""
    served = set(served_paths(protocol, engine))
    found = [name for name, kind in KINDS.items() if kind.path(kind.streams) in served]
    first = DEFAULTS.get(protocol, "")
    # A text config answers Ollama's chat through the gateway, too; but as it speaks is how it is measured.
    spoken = [name for name in found if name != "ollama" or protocol == "ollama-text"]
    return sorted(spoken, key=lambda name: name != first)
