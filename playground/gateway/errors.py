"""How the gateway's errors look on the wire, whole or at the end of a stream, in each protocol's own shape."""

from __future__ import annotations

import json
from typing import Any, Final

from django.conf import settings
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from playground.exceptions import GatewayError

from .endpoints import ErrorShape
from .wire import Headers, cookie

#: Anthropic's name of an error for a status; docs.anthropic.com/en/api/errors.
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
#: TGI's, of router/src/infer/mod.rs.
_TGI_TYPES: Final = {429: "overloaded", 503: "overloaded", 502: "generation", 504: "generation"}


def error_object(error: GatewayError, language: str, shape: ErrorShape = "openai") -> bytes:
    """``error`` in ``language``, as the protocol's clients expect it."""
    return _encoded(_content(error, language, shape))


def error_frames(error: GatewayError, language: str, shape: ErrorShape = "openai", ending: str = "done") -> bytes:
    """The end of a stream that failed after its status line.

    A stream that is merely closed passes for a complete answer in the common SDKs.
    """
    return framed(_content(error, language, shape), shape, ending)


def framed(content: dict[str, Any], shape: ErrorShape, ending: str) -> bytes:
    """The object of an error, in the protocol's own shape, as the end of a stream."""
    if shape == "ollama":
        return _encoded(content) + b"\n"
    if shape == "anthropic":
        return b"event: error\ndata: " + _encoded(content) + b"\n\n"
    if shape == "tgi":
        return b"data:" + _encoded(content) + b"\n\n"
    if ending == "responses":
        # Its event has the members at the top; the object beside them is what OpenAI's SDKs raise for.
        told = content["error"] if isinstance(content["error"], dict) else {}
        event = {"type": "error", "code": told.get("code"), "message": told.get("message"), "param": None, **content}
        return b"event: error\ndata: " + _encoded(event) + b"\n\ndata: [DONE]\n\n"
    return b"data: " + _encoded(content) + b"\n\ndata: [DONE]\n\n"


def _content(error: GatewayError, language: str, shape: ErrorShape) -> dict[str, Any]:
    with translation.override(language):
        message = str(error)
    if shape == "ollama":
        return {"error": message}
    if shape == "tgi":
        return {"error": message, "error_type": _TGI_TYPES.get(error.status, "validation")}
    if shape == "anthropic":
        fallback = "api_error" if error.status >= 500 else "invalid_request_error"
        kind = _ANTHROPIC_TYPES.get(error.status, fallback)
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": error.type, "param": error.param, "code": error.code}}


def _encoded(content: dict[str, Any]) -> bytes:
    # A name in a request may be half a surrogate pair (JSON's "\\ud800"), which no UTF-8 has.
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def preferred_language(headers: Headers) -> str:
    """The language chosen on the pages, else the first one of Accept-Language that Berth speaks."""
    wanted = [cookie(headers, settings.LANGUAGE_COOKIE_NAME) or ""]
    accepted = headers.get(b"accept-language", b"").decode("latin-1")[:500]
    wanted += [code for code, _weight in parse_accept_lang_header(accepted)]
    for code in wanted:
        try:
            return translation.get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE
