"""What "ready" means for each kind of server: it answers a request, not merely its health page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from deployments.spec import ServingSpec

from .base import ProbeResult
from .http import HttpError, ModelServer, ServerRefusedError

#: Asks for something real; raises ServerRefusedError or one of HttpError when it is not served.
Probe = Callable[[ModelServer, ServingSpec], None]


def probe(server: ModelServer, spec: ServingSpec, *, ask: Probe | None) -> ProbeResult:
    """GET the readiness path (at most 5 s), then ``ask`` (at most 30 s). Never raises."""
    try:
        server.get(spec.readiness_path)
        if ask is not None:
            ask(server, spec)
    except ServerRefusedError as error:
        return ProbeResult(answering=False, detail=str(error))
    except HttpError as error:
        return ProbeResult(answering=False, detail=str(error) or type(error).__name__)
    return ProbeResult(answering=True)


def health_only(server: ModelServer, spec: ServingSpec) -> None:
    """Nothing more than the readiness path."""


def by_protocol(server: ModelServer, spec: ServingSpec) -> None:
    """The smallest real request of the config's protocol. An image costs minutes: none is asked for."""
    asks: dict[str, Probe] = {"openai-text": one_token, "ollama-text": model_in_memory}
    asks.get(spec.protocol, health_only)(server, spec)


def one_token(server: ModelServer, spec: ServingSpec) -> None:
    """One token of a chat completion: health pages answer before the model does."""
    body = {
        "model": spec.served_name,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
        "stream": False,
    }
    answer = server.post("/v1/chat/completions", body)
    if not _field(answer, "choices"):
        raise ServerRefusedError(f"a chat completion without choices: {json.dumps(answer)[:300]}")


def model_in_memory(server: ModelServer, spec: ServingSpec) -> None:
    """Ollama: the server is up, and the model is resident.

    No generation: that would load the model, and Ollama gives up a load when its client goes after 30 s.
    """
    server.get("/api/version")
    if ollama_name(spec) not in names_in(server.get("/api/ps")):
        raise ServerRefusedError(f"{ollama_name(spec)} is not loaded")


def ollama_name(spec: ServingSpec) -> str:
    """The model's name with its tag, as Ollama lists it."""
    return spec.served_name if ":" in spec.served_name else f"{spec.served_name}:latest"


def names_in(listing: Any) -> set[str]:
    """The models of Ollama's ``/api/ps`` or ``/api/tags``."""
    return {str(_field(model, "name")) for model in _field(listing, "models") or []}


def model_ids(server: ModelServer) -> set[str]:
    """The models of OpenAI's ``/v1/models``."""
    return {str(_field(model, "id")) for model in _field(server.get("/v1/models"), "data") or []}


def listed_by_name(server: ModelServer, spec: ServingSpec) -> None:
    """The model stands in the list of models; then, for text, one token of it."""
    names = model_ids(server)
    if spec.served_name not in names:
        raise ServerRefusedError(f"{spec.served_name} is not among the models: {', '.join(sorted(names)) or 'none'}")
    by_protocol(server, spec)


def node_types(server: ModelServer, spec: ServingSpec) -> None:
    """ComfyUI: its nodes are loaded, so a workflow can be queued."""
    if not server.get("/object_info/CheckpointLoaderSimple"):
        raise ServerRefusedError("the node CheckpointLoaderSimple is not loaded")


def checkpoints(server: ModelServer, spec: ServingSpec) -> None:
    """Stable Diffusion web UI: at least one checkpoint is there."""
    if not server.get("/sdapi/v1/sd-models"):
        raise ServerRefusedError("no checkpoint is installed")


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
