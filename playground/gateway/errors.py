"""How the gateway's errors look on the wire: OpenAI's error object, whole or as a frame of a stream."""

from __future__ import annotations

import json

from django.conf import settings
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from playground.exceptions import GatewayError

from .wire import Headers, cookie


def error_object(error: GatewayError, language: str) -> bytes:
    """``{"error": {...}}`` in ``language``, as OpenAI documents it."""
    with translation.override(language):
        message = str(error)
    content = {"message": message, "type": error.type, "param": error.param, "code": error.code}
    return json.dumps({"error": content}, ensure_ascii=False).encode()


def error_frames(error: GatewayError, language: str) -> bytes:
    """The end of a stream that failed after its status line: an error frame, then ``[DONE]``.

    A stream that is merely closed passes for a complete answer in the common SDKs.
    """
    return b"data: " + error_object(error, language) + b"\n\ndata: [DONE]\n\n"


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
