"""Request bodies: read with a limit, understood just enough, the model's name replaced and nothing else."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, Final, NoReturn, Protocol

from django.utils.translation import gettext_lazy as _

from playground.exceptions import (
    BadRequestError,
    BodyTimeoutError,
    BodyTooLargeError,
    UnsupportedEncodingError,
)

from .byte_budget import Hold
from .endpoints import Endpoint
from .large_json import LargeJsonError, ModelSpans, find_model, opaque_bytes, pieces
from .model_spelling import refuse_other_spellings
from .model_splice import splice_model
from .multipart import Field, MultipartError, boundary_of, content_type_of, find_fields
from .wire import Headers, Receive

LIMIT_BYTES: Final = 64 * 1024 * 1024
#: Bodies above this are handled off the event loop, so that they do not hold up other people's tokens.
LARGE_BYTES: Final = 256 * 1024
#: The longest silence of a client within its body.
SILENCE_S: Final = 60.0

#: Shorter bodies are text.
_MAY_HOLD_IMAGES_BYTES: Final = 8192
_JSON: Final = "application/json"
#: Where the protocols say how long an answer may become.
_LENGTHS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_OTHERS: Final = frozenset({*_LENGTHS, "stream", "stream_options", "parameters", "response_format"})
_FIELDS: Final = frozenset({"model", "stream"})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _InfiniteError(ValueError):
    """A number that no JSON could be written with again."""


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _InfiniteError
    return number


# Made once: json.loads makes one for each call that differs from the defaults.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_USAGE_MEMBER: Final = b'"stream_options":{"include_usage":true},'

#: A body for an engine: whole, or in parts that share the memory of what the client sent.
Payload = bytes | list[bytes | memoryview]


class ClientLeftError(Exception):
    """The client went away before its request was complete."""


class RequestBody(Protocol):
    """A parsed request: whom it asks, and what admission and metering need to know."""

    model: str
    #: Of its text, as far as that can be told without reading it.
    prompt_bytes: int
    streams: bool
    #: Whether a stream is to end with its usage, as the client asked.
    asks_usage: bool
    max_tokens: int | None
    content_type: str

    def payload(self, name: str, *, with_usage: bool) -> Payload:
        """The request with ``name`` as its model; ``with_usage`` asks for the usage of a stream besides."""
        ...

    def forget(self) -> None:
        """Free what the client sent: nobody will be asked any more."""
        ...


class SmallBody:
    """A request as the parsed object, and as its bytes."""

    content_type = _JSON

    def __init__(self, content: dict[str, Any], model: str, raw: bytes | bytearray) -> None:
        self._content = content
        self._raw = raw
        self.model = model
        self.prompt_bytes = len(raw) if len(raw) < _MAY_HOLD_IMAGES_BYTES else len(raw) - opaque_bytes(raw)
        self.streams = content.get("stream") is True
        self.asks_usage = _asks_usage(content)
        self.max_tokens = _max_tokens(content)

    def payload(self, name: str, *, with_usage: bool) -> Payload:
        """The same bytes but for the model's name, and usage if it has to be asked for.

        Where the bytes do not show plainly which name is the model's, the object is serialised anew: numbers and
        strings keep their values, a repeated key its last one.
        """
        if not with_usage or "stream_options" not in self._content:
            spliced = splice_model(self._raw, name, _USAGE_MEMBER if with_usage else b"")
            if spliced is not None:
                return spliced
        content = {**self._content, "model": name}
        if with_usage:
            content["stream_options"] = _with_usage(content.get("stream_options"))
        return _ENCODER.encode(content).encode()

    def forget(self) -> None:
        """Nothing to speak of."""


class LargeBody:
    """A request as its bytes, with the places of its model."""

    content_type = _JSON

    def __init__(self, raw: bytes | bytearray, spans: ModelSpans, model: str) -> None:
        self._raw = raw
        self._spans = spans
        self.model = model
        self.prompt_bytes = len(raw) - spans.opaque_bytes
        self.streams = spans.members.get("stream") is True
        self.asks_usage = _asks_usage(spans.members)
        self.max_tokens = _max_tokens(spans.members)
        self.response_format = spans.members.get("response_format")

    def payload(self, name: str, *, with_usage: bool) -> Payload:
        """The same bytes but for the model's name and the wish for usage."""
        value = json.dumps(name).encode()
        edits = [(place, value) for place in self._spans.places]
        if with_usage:
            options = json.dumps(_with_usage(self._spans.members.get("stream_options"))).encode()
            places = self._spans.spans.get("stream_options")
            if places:
                edits += [(place, options) for place in places]
            else:
                at = self._spans.opened_at
                edits.append(((at, at), b'"stream_options":' + options + b","))
        return pieces(self._raw, edits)

    def forget(self) -> None:
        """See the Protocol."""
        self._raw = b""


class MultipartBody:
    """A form as its bytes, with the places of its field ``model``."""

    asks_usage = True
    max_tokens: int | None = None
    prompt_bytes = 0

    def __init__(self, raw: bytes | bytearray, fields: dict[str, list[Field]], content_type: str) -> None:
        self._raw = raw
        self._places = [field.place for field in fields["model"]]
        self.model = fields["model"][-1].value
        self.streams = bool(fields.get("stream")) and fields["stream"][-1].value.lower() in ("true", "1")
        self.content_type = content_type

    def payload(self, name: str, *, with_usage: bool) -> Payload:
        """The same bytes but for the model's name."""
        parts = pieces(self._raw, [(place, name.encode()) for place in self._places])
        if len(self._raw) > LARGE_BYTES:
            return parts
        return b"".join(parts)

    def forget(self) -> None:
        """See the Protocol."""
        self._raw = b""


class NamelessBody:
    """A request whose address names the config; it passes as it is."""

    content_type = _JSON
    asks_usage = True

    def __init__(self, raw: bytes | bytearray, model: str, *, members: dict[str, Any], streams: bool) -> None:
        self._raw = raw
        self.model = model
        self.prompt_bytes = len(raw)
        self.streams = streams
        parameters = members.get("parameters")
        self.max_tokens = _count(parameters.get("max_new_tokens")) if isinstance(parameters, dict) else None

    def payload(self, name: str, *, with_usage: bool) -> Payload:
        """What the client sent."""
        if isinstance(self._raw, bytes):
            return self._raw
        parts: list[bytes | memoryview] = [memoryview(self._raw)]
        return parts

    def forget(self) -> None:
        """See the Protocol."""
        self._raw = b""


async def read_body(receive: Receive, headers: Headers, hold: Hold) -> bytes | bytearray:
    """The whole body, counted in ``hold``.

    Raises BodyTooLargeError, at once where its length is stated, UnsupportedEncodingError, BodyTimeoutError,
    BusyError or ClientLeftError.
    """
    if (encoding := headers.get(b"content-encoding")) and encoding.strip().lower() != b"identity":
        raise UnsupportedEncodingError(
            _("Bodies compressed with %(encoding)s are not taken. Send the body as it is, without Content-Encoding."),
            encoding=encoding.decode("latin-1")[:50],
        )
    stated = headers.get(b"content-length", b"")
    if not stated.isdigit():
        return await _read_unstated(receive, hold)
    size = int(stated)
    if size > LIMIT_BYTES:
        raise _too_large()
    if not hold.try_grow(size):
        await hold.grow_to(size)
    message = await receive()
    if not message.get("more_body", False):
        return _chunk_of(message)
    # Filled part by part: joining 64 MB at once would stop the event loop for 20 ms.
    raw = bytearray(size)
    filled = 0
    while True:
        chunk = _chunk_of(message)
        end = filled + len(chunk)
        if end > size:
            raise _too_large()
        raw[filled:end] = chunk
        filled = end
        if not message.get("more_body", False):
            break
        message = await _next(receive)
    return raw if filled == size else raw[:filled]


async def _read_unstated(receive: Receive, hold: Hold) -> bytearray:
    raw = bytearray()
    message = await receive()
    while True:
        chunk = _chunk_of(message)
        if len(raw) + len(chunk) > LIMIT_BYTES:
            raise _too_large()
        if len(raw) + len(chunk) > hold.size:
            # Two steps: one that takes byte by byte could wait for others that wait for it.
            await hold.grow_to(LARGE_BYTES if len(raw) + len(chunk) <= LARGE_BYTES else LIMIT_BYTES)
        raw += chunk
        if not message.get("more_body", False):
            hold.shrink_to(len(raw))
            return raw
        message = await _next(receive)


async def _next(receive: Receive) -> Any:
    try:
        async with asyncio.timeout(SILENCE_S):
            return await receive()
    except TimeoutError:
        raise BodyTimeoutError(
            _("The rest of the body did not come within %(seconds)s s."), seconds=f"{SILENCE_S:g}"
        ) from None


def _chunk_of(message: Any) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    chunk: bytes = message.get("body", b"")
    return chunk


async def parse_body(raw: bytes | bytearray, endpoint: Endpoint, config: str, headers: Headers) -> RequestBody:
    """Find the model that is asked for: ``config`` if the address named it. Raises BadRequestError."""
    if endpoint.body == "multipart":
        return await _parse_form(raw, headers.get(b"content-type", b"").decode("latin-1"))
    if len(raw) <= LARGE_BYTES:
        content = _parse(raw)
        if endpoint.names_model:
            refuse_other_spellings(content)
            return SmallBody(content, _model_of(content.get("model")), raw)
        return NamelessBody(bytes(raw), config, members=content, streams=endpoint.streams)
    try:
        spans = await asyncio.to_thread(find_model, raw, others=_OTHERS)
    except LargeJsonError as error:
        raise _malformed(str(error)) from None
    if endpoint.names_model:
        refuse_other_spellings(spans.spellings)
        return LargeBody(raw, spans, _model_of(spans.value))
    return NamelessBody(raw, config, members=spans.members, streams=endpoint.streams)


async def _parse_form(raw: bytes | bytearray, content_type: str) -> MultipartBody:
    boundary = boundary_of(content_type)
    if boundary is None:
        raise BadRequestError(_("This address takes a form: Content-Type multipart/form-data with a boundary."))
    try:
        if len(raw) <= LARGE_BYTES:
            fields = find_fields(raw, boundary, _FIELDS)
        else:
            fields = await asyncio.to_thread(find_fields, raw, boundary, _FIELDS)
    except MultipartError as error:
        raise BadRequestError(_("The body is not a valid form: %(reason)s."), reason=str(error)) from None
    _model_of(fields["model"][-1].value if "model" in fields else None)
    return MultipartBody(raw, fields, content_type_of(boundary))


def _parse(raw: bytes | bytearray) -> dict[str, Any]:
    try:
        content = _DECODER.decode(raw.decode())
    except RecursionError:
        raise _malformed(_("it is nested too deeply")) from None
    except _InfiniteError:
        raise _malformed(_("a number is too large")) from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    if not isinstance(content, dict):
        raise BadRequestError(_("The body must be a JSON object."))
    return content


def _model_of(value: object) -> str:
    if not isinstance(value, str) or not value:
        sentence = _("The body lacks 'model', the name of a model or config; GET /v1/models lists them.")
        raise BadRequestError(sentence, param="model")
    return value


def _asks_usage(content: dict[str, Any]) -> bool:
    """Also for options that are none: those are the engine's to refuse."""
    options = content.get("stream_options")
    return options is not None and (not isinstance(options, dict) or bool(options.get("include_usage")))


def _with_usage(options: object) -> dict[str, Any]:
    return {**(options if isinstance(options, dict) else {}), "include_usage": True}


def _max_tokens(content: dict[str, Any]) -> int | None:
    counts = [count for name in _LENGTHS if (count := _count(content.get(name))) is not None]
    return max(counts) if counts else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _malformed(reason: Any) -> BadRequestError:
    return BadRequestError(_("The body is not valid JSON: %(reason)s."), reason=reason)


def _too_large() -> BodyTooLargeError:
    return BodyTooLargeError(
        _("The body has more than %(limit)s MB, which is the most that the gateway takes."),
        limit=str(LIMIT_BYTES // (1024 * 1024)),
    )
