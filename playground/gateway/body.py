"""Request bodies: read with a limit, understood just enough, the model's name replaced and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, NoReturn, Protocol

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError, BodyTooLargeError

from .large_json import LargeJsonError, ModelSpans, find_model
from .wire import Headers, Receive

LIMIT_BYTES: Final = 64 * 1024 * 1024
#: Bodies above this are handled off the event loop, so that they do not hold up other people's tokens.
LARGE_BYTES: Final = 256 * 1024


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads makes one for each call that differs from the defaults.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


class ClientLeftError(Exception):
    """The client went away before its request was complete."""


class ChatBody(Protocol):
    """A parsed request."""

    model: str

    async def with_model(self, name: str) -> bytes:
        """The request with ``name`` as the value of ``model``."""
        ...


class SmallBody:
    """A request as the parsed object."""

    def __init__(self, content: dict[str, Any], model: str) -> None:
        self._content = content
        self.model = model

    async def with_model(self, name: str) -> bytes:
        """Serialised anew; numbers and strings keep their values, a repeated key its last one."""
        try:
            return json.dumps({**self._content, "model": name}, separators=(",", ":"), allow_nan=False).encode()
        except ValueError:
            raise _malformed(_("a number is too large")) from None


class LargeBody:
    """A request as its bytes, with the places of its model."""

    def __init__(self, raw: bytes, spans: ModelSpans, model: str) -> None:
        self._raw = raw
        self._spans = spans
        self.model = model

    async def with_model(self, name: str) -> bytes:
        """The same bytes but for the model's name."""
        return await asyncio.to_thread(self._spans.replaced, self._raw, json.dumps(name).encode())


async def read_body(receive: Receive, headers: Headers) -> bytes:
    """The whole body. Raises BodyTooLargeError, at once where its length is stated, or ClientLeftError."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and int(stated) > LIMIT_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > LIMIT_BYTES:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def parse_chat(raw: bytes) -> ChatBody:
    """Find the model that is asked for. Raises BadRequestError saying what is wrong and where."""
    if len(raw) <= LARGE_BYTES:
        content = _parse(raw)
        return SmallBody(content, _model_of(content.get("model")))
    try:
        spans = await asyncio.to_thread(find_model, raw)
    except LargeJsonError as error:
        raise _malformed(str(error)) from None
    return LargeBody(raw, spans, _model_of(spans.value))


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        content = _DECODER.decode(raw.decode())
    except RecursionError:
        raise _malformed(_("it is nested too deeply")) from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    if not isinstance(content, dict):
        raise BadRequestError(_("The body must be a JSON object with 'model' and 'messages'."))
    return content


def _model_of(value: object) -> str:
    if not isinstance(value, str) or not value:
        sentence = _("The body lacks 'model', the name of a model or config; GET /v1/models lists them.")
        raise BadRequestError(sentence, param="model")
    return value


def _malformed(reason: Any) -> BadRequestError:
    return BadRequestError(_("The body is not valid JSON: %(reason)s."), reason=reason)


def _too_large() -> BodyTooLargeError:
    return BodyTooLargeError(
        _("The body has more than %(limit)s MB, which is the most that the gateway takes."),
        limit=str(LIMIT_BYTES // (1024 * 1024)),
    )
