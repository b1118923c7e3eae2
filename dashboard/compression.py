"""Pages and their data go over the wire compressed; static files are compressed when they are collected."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

_TEXTUAL: Final = ("text/", "application/json", "application/javascript", "image/svg")


class TextCompressionMiddleware(GZipMiddleware):
    """Django's own, which pads each answer by chance against BREACH, for what is text and whole.

    A stream is passed on as it comes: compressed, what came would wait in the compressor for what follows. Pictures
    are compressed already. What a view marks ``no-transform`` is left as it is: a secret beside text that
    a stranger may have chosen, whose length, compressed, would tell of it.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.streaming or not response.headers.get("Content-Type", "").startswith(_TEXTUAL):
            return response
        if "no-transform" in response.headers.get("Cache-Control", ""):
            return response
        return super().process_response(request, response)
