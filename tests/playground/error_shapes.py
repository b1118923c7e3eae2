"""The ways to ask a text model, and what an error looks like in each of them."""

from __future__ import annotations

from typing import Any

#: Addresses with an engine that has them.
WAYS = (
    ("/v1/chat/completions", "vllm"),
    ("/v1/responses", "vllm"),
    ("/v1/messages", "vllm"),
    ("/tgi/tiny/generate_stream", "tgi"),
    ("/api/chat", "ollama"),
    ("/api/chat", "vllm"),
)
#: By status: OpenAI's code, Anthropic's type, TGI's error_type.
KINDS = {
    400: ("invalid_body", "invalid_request_error", "validation"),
    401: ("invalid_api_key", "authentication_error", "validation"),
    403: ("forbidden", "permission_error", "validation"),
    404: ("model_not_found", "not_found_error", "validation"),
    413: ("body_too_large", "request_too_large", "validation"),
    429: ("rate_limit_exceeded", "rate_limit_error", "overloaded"),
    502: ("upstream_failed", "api_error", "generation"),
    504: ("upstream_timeout", "timeout_error", "generation"),
}


def words_of(path: str, status: int, told: dict[str, Any]) -> str:
    """The sentence of an error; fails unless its shape and kind are those of the protocol at ``path``."""
    openai, anthropic, tgi = KINDS[status]
    if path.startswith("/tgi/"):
        assert told == {"error": told["error"], "error_type": tgi}
        return str(told["error"])
    if path.startswith("/api/"):
        assert set(told) == {"error"}
        return str(told["error"])
    error = told["error"]
    if path == "/v1/messages":
        assert told == {"type": "error", "error": {"type": anthropic, "message": error["message"]}}
    else:
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == openai
    return str(error["message"])
