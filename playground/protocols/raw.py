"""A request as it was written, and its answer as it comes: nothing is understood, nothing is left out."""

from __future__ import annotations

import codecs
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import httpx
from django.utils.translation import gettext as _

from playground.exceptions import RequestError

from .streaming import TIMEOUT, Files

#: Of an answer that is shown, in bytes; what is longer is ended here.
LARGEST_SHOWN: Final = 4 * 1024 * 1024
_TEXTUAL: Final = ("text/", "application/json", "application/x-ndjson", "application/problem+json")


@dataclass(frozen=True, kw_only=True)
class Head:
    """What came before the body. ``ms``: since the request was sent."""

    status: int
    reason: str
    version: str
    headers: list[tuple[str, str]]
    is_text: bool
    ms: float


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What came at once; ``text`` is empty for an answer that is no text."""

    text: str
    bytes: int
    ms: float


@dataclass(frozen=True, kw_only=True)
class End:
    """The answer is complete, or was cut off for its size."""

    bytes: int
    is_cut: bool
    ms: float


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What goes out: ``text`` as JSON, or else ``form`` and ``files``, or else nothing."""

    method: str
    text: str | None = None
    form: Mapping[str, list[str]] | None = None
    files: Files | None = None


async def send_raw(url: str, sent: Sent, *, token: str, language: str) -> AsyncIterator[Head | Frame | End]:
    """Send it and give what comes. Leaving the iteration early ends it upstream too.

    Raises RequestError when the gateway cannot be reached or breaks off; its refusals are answers like any other.
    """
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept-Language": language,
        # Shown as it comes.
        "Accept-Encoding": "identity",
    }
    content = None if sent.text is None else sent.text.encode("utf-8", "replace")
    if content is not None:
        headers["Content-Type"] = "application/json"
    began = time.perf_counter()
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client,
            client.stream(
                sent.method, url, content=content, data=sent.form, files=sent.files, headers=headers
            ) as response,
        ):
            async for part in _parts(response, began):
                yield part
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise RequestError(_("The gateway does not answer. Its log, or berth doctor, has the cause.")) from error
    except httpx.TimeoutException as error:
        raise RequestError(_("The model said nothing for half an hour.")) from error
    except httpx.HTTPError as error:
        raise RequestError(_("The connection to the gateway broke: %(reason)s") % {"reason": error}) from error


async def _parts(response: httpx.Response, began: float) -> AsyncIterator[Head | Frame | End]:
    is_text = response.headers.get("content-type", "").startswith(_TEXTUAL)
    yield Head(
        status=response.status_code,
        reason=response.reason_phrase,
        version=response.http_version,
        headers=list(response.headers.multi_items()),
        is_text=is_text,
        ms=_ms(began),
    )
    # A character may be cut in two by the network.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    total = 0
    async for chunk in response.aiter_raw():
        total += len(chunk)
        yield Frame(text=decoder.decode(chunk) if is_text else "", bytes=len(chunk), ms=_ms(began))
        if total > LARGEST_SHOWN:
            break
    yield End(bytes=total, is_cut=total > LARGEST_SHOWN, ms=_ms(began))


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
