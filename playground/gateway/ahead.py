"""A stream whose status line went ahead of its answer, because the client waits for a model to start.

The status was 200 then. Whatever the answer turns out to be is put into the stream that was promised: events and lines
as they are, an error as the protocol's own frame.
"""

from __future__ import annotations

import json
from typing import Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import UpstreamError

from .endpoints import ErrorShape
from .errors import error_frames, framed
from .ollama.whole import words_in
from .wire import Message, RawHeaders, Send

EVENTS: Final = b"text/event-stream"
LINES: Final = b"application/x-ndjson"
#: Of an answer that is no stream; errors are short.
MOST_BYTES: Final = 1024 * 1024
_NO_STREAM: Final = _("The model's server sent no stream. Its log may have the cause.")


class Ahead:
    """An ASGI ``send`` for what follows keep-alives that were sent with ``send``, the client's own.

    ``tells_facts``: a client that asked for them gets the headers that are too late as a comment of the stream.
    """

    def __init__(self, send: Send, *, shape: ErrorShape, ending: str, language: str, tells_facts: bool = False) -> None:
        self._send = send
        self._tells_facts = tells_facts and shape != "ollama"
        self._shape = shape
        self._ending = ending
        self._language = language
        self._held: bytearray | None = None
        self._is_error = False

    async def __call__(self, message: Message) -> None:
        """Pass on one message, or hold it until an answer that is no stream is complete."""
        if message["type"] == "http.response.start":
            await self._begin(message["status"], message["headers"])
        elif self._held is None:
            await self._send(message)
        else:
            self._held += message.get("body", b"")[: MOST_BYTES - len(self._held)]
            if not message.get("more_body"):
                await self._send({"type": "http.response.body", "body": self._in_stream(bytes(self._held))})

    async def _begin(self, status: int, headers: RawHeaders) -> None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        self._is_error = status != 200
        if self._is_error or not kind.startswith(LINES if self._shape == "ollama" else EVENTS):
            self._held = bytearray()
        elif self._tells_facts:
            told = b" ".join(b"%b=%b" % pair for pair in headers if pair[0].startswith(b"x-berth-"))
            await self._send({"type": "http.response.body", "body": b": %b\n\n" % told, "more_body": True})

    def _in_stream(self, body: bytes) -> bytes:
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        # A whole answer of Ollama's is a stream of one line; elsewhere no client reads one as events.
        if isinstance(content, dict) and ("error" in content if self._is_error else self._shape == "ollama"):
            return framed(content, self._shape, self._ending)
        words = words_in(body) if self._is_error else ""
        error = UpstreamError("%(words)s", words=words) if words else UpstreamError(_NO_STREAM)
        return error_frames(error, self._language, self._shape, self._ending)
