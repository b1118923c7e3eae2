"""What the gateway serves: each endpoint, and which engine has it under which protocol of a config.

The engines' lists follow their own documentation of the versions in ``deployments/engines``: vLLM 0.32 (Online
Serving), LMDeploy 0.16 (api_server), SGLang (OpenAI APIs, Native APIs, Anthropic API), TGI 3.3 (Swagger), Ollama
0.32 (OpenAI and Anthropic compatibility), LocalAI 4.9 (API reference), llama.cpp (tools/server/README.md). Whether
the loaded model can do it is the engine's own answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from playground.key_rules import EndpointKind

ErrorShape = Literal["openai", "anthropic", "ollama", "tgi"]
BodyKind = Literal["json", "multipart"]
#: By ``Endpoint.kind``: the scope of kinds that are no scope of their own. A key that may chat may do so in any
#: protocol, whatever client its owner uses.
_SCOPES: Final = {
    "responses": EndpointKind.CHAT.value,
    "messages": EndpointKind.CHAT.value,
    "tgi": EndpointKind.COMPLETIONS.value,
    "transcriptions": EndpointKind.AUDIO.value,
    "speech": EndpointKind.AUDIO.value,
}
#: A config's protocol and its engine.
Served = tuple[str, str]

#: Its routes under /tgi name the config in the path: TGI's own requests have no ``model``.
TGI_PREFIX: Final = "/tgi/"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Endpoint:
    """One address of the gateway.

    ``kind`` is its name in usage; two that belong together share it.

    ``upstream_path`` is where an engine has it. ``streams`` tells whether an answer may be a stream, and
    ``ending`` the kind of mark that a complete stream carries; empty when none is required. ``counts_stream``
    tells whether engines tell usage in a stream only when ``stream_options.include_usage`` asks for it.
    """

    path: str
    kind: str
    served_by: frozenset[Served]
    upstream_path: str
    streams: bool = False
    body: BodyKind = "json"
    error_shape: ErrorShape = "openai"
    ending: str = ""
    counts_stream: bool = False
    names_model: bool = True

    @property
    def scope(self) -> str:
        """What a key must be allowed to do: one of :class:`playground.key_rules.EndpointKind`."""
        return _SCOPES.get(self.kind, self.kind)

    @property
    def counts_tokens(self) -> bool:
        """Whether its cost is counted in tokens, which a request bounds."""
        return self.kind not in ("images", "transcriptions", "speech")

    @property
    def protocols(self) -> frozenset[str]:
        """The protocols of configs that may have it."""
        return frozenset(protocol for protocol, _engine in self.served_by)


def _text(*engines: str) -> frozenset[Served]:
    """These engines' text configs. Ollama has OpenAI's routes whichever of its protocols a config names."""
    served = {("openai-text", engine) for engine in (*engines, "custom")}
    return frozenset(served | {("ollama-text", "ollama")} if "ollama" in engines else served)


def _image(*engines: str) -> frozenset[Served]:
    return frozenset(("openai-image", engine) for engine in (*engines, "custom"))


_TALKERS: Final = _text("vllm", "lmdeploy", "sglang", "tgi", "ollama", "localai", "llama.cpp")
_EMBEDDERS: Final = _text("vllm", "sglang", "ollama", "localai", "llama.cpp")
_RERANKERS: Final = _text("vllm", "sglang", "localai", "llama.cpp")
_NEWER: Final = _text("vllm", "lmdeploy", "sglang", "ollama", "localai", "llama.cpp")


def _v1(
    path: str,
    kind: str,
    served_by: frozenset[Served],
    *,
    streams: bool = False,
    body: BodyKind = "json",
    error_shape: ErrorShape = "openai",
    ending: str = "",
    counts_stream: bool = False,
) -> Endpoint:
    return Endpoint(
        path=f"/v1/{path}",
        kind=kind,
        served_by=served_by,
        upstream_path=f"/v1/{path}",
        streams=streams,
        body=body,
        error_shape=error_shape,
        ending=ending,
        counts_stream=counts_stream,
    )


def _tgi(name: str, *, streams: bool = False) -> Endpoint:
    return Endpoint(
        path=f"{TGI_PREFIX}CONFIG/{name}",
        kind="tgi",
        served_by=_text("tgi"),
        upstream_path=f"/{name}",
        streams=streams,
        error_shape="tgi",
        ending="tgi" if streams else "",
        names_model=False,
    )


def _api(name: str, kind: str, served_by: frozenset[Served], *, streams: bool = False) -> Endpoint:
    """One of Ollama's. Only Ollama has it there: see playground.gateway.ollama for how the others are asked."""
    return Endpoint(
        path=f"/api/{name}",
        kind=kind,
        served_by=served_by,
        upstream_path=f"/api/{name}",
        streams=streams,
        error_shape="ollama",
        ending="ollama" if streams else "",
    )


CHAT: Final = _v1("chat/completions", "chat", _TALKERS, streams=True, ending="done", counts_stream=True)
#: Engines are asked in their own way, LocalAI where its answer would name its own address: playground.gateway.images.
IMAGES: Final = _v1("images/generations", "images", _image("localai", "comfyui", "sd-webui"), streams=True)
_GENERATE: Final = _tgi("generate")
_GENERATE_STREAM: Final = _tgi("generate_stream", streams=True)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    CHAT,
    _v1("completions", "completions", _TALKERS, streams=True, ending="done", counts_stream=True),
    _v1("embeddings", "embeddings", _EMBEDDERS),
    IMAGES,
    # LocalAI 4.9 has /v1/images/inpainting instead (core/http/routes/openai.go): another mask, 512x512, no base64.
    _v1("images/edits", "images", _image(), streams=True, body="multipart"),
    _v1("audio/transcriptions", "transcriptions", _text("vllm", "sglang", "localai"), streams=True, body="multipart"),
    _v1("audio/speech", "speech", _text("localai"), streams=True),
    _v1("rerank", "rerank", _RERANKERS),
    _v1("responses", "responses", _NEWER, streams=True, ending="responses"),
    _v1("messages/count_tokens", "messages", _text("vllm", "sglang", "llama.cpp"), error_shape="anthropic"),
    _v1("messages", "messages", _NEWER, streams=True, error_shape="anthropic", ending="anthropic"),
    _GENERATE_STREAM,
    _GENERATE,
    _api("chat", "chat", _TALKERS, streams=True),
    _api("generate", "completions", _TALKERS, streams=True),
    _api("embed", "embeddings", _EMBEDDERS),
    _api("embeddings", "embeddings", _EMBEDDERS),
)
BY_PATH: Final = {endpoint.path: endpoint for endpoint in ENDPOINTS if endpoint.names_model}
_TGI_BY_NAME: Final = {"generate": _GENERATE, "generate_stream": _GENERATE_STREAM}


def endpoint_at(path: str) -> tuple[Endpoint, str] | None:
    """The endpoint at ``path`` and the config that the path names ("" when the body does), or None."""
    endpoint = BY_PATH.get(path)
    if endpoint is not None:
        return endpoint, ""
    if path.startswith(TGI_PREFIX):
        config, _slash, name = path.removeprefix(TGI_PREFIX).rpartition("/")
        if config and name in _TGI_BY_NAME:
            return _TGI_BY_NAME[name], config
    return None


def shape_at(path: str) -> ErrorShape:
    """How errors look at ``path``, served or not."""
    endpoint = BY_PATH.get(path)
    if endpoint is not None:
        return endpoint.error_shape
    if path.startswith("/api/") or path in ("/", "/api"):
        return "ollama"
    return "tgi" if path.startswith(TGI_PREFIX) else "openai"


def served_paths(protocol: str, engine: str) -> list[str]:
    """What a config of this protocol and engine can do, in the order of the table."""
    return [endpoint.path for endpoint in ENDPOINTS if (protocol, engine) in endpoint.served_by]
