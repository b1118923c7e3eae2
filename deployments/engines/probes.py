"""Asks model servers whether they answer. The only module of the engines that speaks HTTP.

No proxy is used: the servers are on this host or its private network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx

from deployments.spec import ServingSpec

from .base import ProbeResult

HEALTH_S = 5.0
REQUEST_S = 30.0
MOST_BYTES = 1 << 20

#: A real request to the server at the endpoint; raises ProbeFailedError or httpx.HTTPError when it is not served.
Probe = Callable[[str, ServingSpec], None]


class ProbeFailedError(Exception):
    """The server answered, but not with what was asked for; the message has its own words."""


def probe(endpoint: str, spec: ServingSpec, *, ask: Probe | None) -> ProbeResult:
    """GET the readiness path (at most 5 s), then ``ask`` (at most 30 s). Never raises."""
    try:
        _request("GET", endpoint + spec.readiness_path, limit_s=HEALTH_S)
        if ask is not None:
            ask(endpoint, spec)
    except ProbeFailedError as error:
        return ProbeResult(answering=False, detail=str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return ProbeResult(answering=False, detail=str(error) or type(error).__name__)
    return ProbeResult(answering=True)


def health_only(endpoint: str, spec: ServingSpec) -> None:
    """Nothing more than the readiness path: for servers whose smallest real request costs minutes (images)."""


def by_protocol(endpoint: str, spec: ServingSpec) -> None:
    """The smallest real request of the config's protocol."""
    asks: dict[str, Probe] = {"openai-text": one_token, "ollama-text": model_in_memory}
    asks.get(spec.protocol, health_only)(endpoint, spec)


def one_token(endpoint: str, spec: ServingSpec) -> None:
    """One token of a chat completion: health pages answer before the model does."""
    body = {
        "model": spec.served_name,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
        "stream": False,
    }
    answer = _request("POST", endpoint + "/v1/chat/completions", limit_s=REQUEST_S, body=body)
    if not answer.get("choices"):
        raise ProbeFailedError(f"a chat completion without choices: {json.dumps(answer)[:300]}")


def model_in_memory(endpoint: str, spec: ServingSpec) -> None:
    """Ollama: the server is up, and the model is resident.

    No generation: that would load the model, and Ollama gives up a load when its client goes after 30 s.
    """
    _request("GET", endpoint + "/api/version", limit_s=HEALTH_S)
    loaded = _request("GET", endpoint + "/api/ps", limit_s=HEALTH_S).get("models") or []
    wanted = spec.served_name if ":" in spec.served_name else f"{spec.served_name}:latest"
    names = {str(model.get("name")) for model in loaded if isinstance(model, dict)}
    if wanted not in names:
        raise ProbeFailedError(f"{wanted} is not loaded")


@cache
def _client() -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(connect=2.0, read=HEALTH_S, write=2.0, pool=2.0),
        # A server that was replaced at the same address must not be asked over the old connection.
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=0),
        trust_env=False,
        follow_redirects=False,
    )


def _request(method: str, url: str, *, limit_s: float, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object of a 2xx answer, empty for other content. ``limit_s`` bounds the whole exchange."""
    deadline = time.monotonic() + limit_s
    timeout = httpx.Timeout(connect=2.0, read=limit_s, write=2.0, pool=2.0)
    content = bytearray()
    with _client().stream(method, url, json=body, timeout=timeout) as response:
        for chunk in response.iter_bytes():
            content += chunk
            if time.monotonic() > deadline or len(content) > MOST_BYTES:
                raise ProbeFailedError(f"{url} did not finish its answer within {limit_s:g} s")
    if not response.is_success:
        raise ProbeFailedError(f"{response.status_code}: {_words(bytes(content))}")
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _words(content: bytes) -> str:
    """What the server said, from the error formats in use, else its text."""
    text = content.decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text[:300]
    said = error.get("message") if isinstance(error, dict) else error
    return str(said)[:300]
