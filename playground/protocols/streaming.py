"""A streamed request to the gateway, as any client of it sends one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, cast

import httpx
from django.utils.translation import gettext as _

from playground.exceptions import RequestError

from .streams.base import failure_in

#: A model may be loaded first, and a long prompt take minutes.
TIMEOUT: Final = httpx.Timeout(connect=5, read=1800, write=60, pool=5)
#: Of a refusal, or of an answer that was not streamed.
LARGEST_WHOLE: Final = 16 * 1024 * 1024


_HEADERS: Final = {
    "x-berth-deployment": "deployment_id",
    "x-berth-queue-ms": "queue_ms",
    "x-berth-start-ms": "start_ms",
}
#: Field of a form -> name, bytes and media type of its file.
Files = Mapping[str, tuple[str, bytes, str]]
#: Passed around by those who may not speak HTTP themselves.
GatewayClient = httpx.AsyncClient


class Facts(TypedDict, total=False):
    """What the head of an answer tells; what it does not tell is left out."""

    deployment_id: int
    request_id: str
    queue_ms: int
    start_ms: int
    first_token_ms: int
    replica: str
    # Of images.
    step: int
    steps: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """An answer that has begun: what its head tells, and its bytes as they come."""

    facts: Facts
    chunks: AsyncIterator[bytes]


def open_gateway_client() -> GatewayClient:
    """A client for all answers of a process: the gateway is ours, so no proxy of the environment is used."""
    return httpx.AsyncClient(timeout=TIMEOUT, limits=httpx.Limits(max_connections=None), trust_env=False)


@contextlib.asynccontextmanager
async def ask_gateway(
    client: GatewayClient,
    url: str,
    body: dict[str, Any],
    *,
    token: str,
    language: str,
    files: Files | None = None,
    largest_whole: int = LARGEST_WHOLE,
) -> AsyncIterator[Arriving]:
    """POST; the block gets the answer once its head is there. Leaving the block early ends it upstream too.

    With ``files`` the body is a form. ``largest_whole`` is in bytes, of an answer that was not streamed.

    Raises RequestError with the gateway's or the model server's own sentence, also from ``chunks``.
    """
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": language, "X-Berth-Facts": "1"}
    try:
        content: dict[str, Any] = {"data": body, "files": files} if files else {"json": body}
        async with client.stream("POST", url, headers=headers, **content) as response:
            if response.is_error:
                raise await _refusal(response)
            yield Arriving(facts=_facts(response), chunks=_chunks(response, largest_whole))
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise RequestError(_("The gateway does not answer. Its log, or berth doctor, has the cause.")) from error
    except httpx.TimeoutException as error:
        raise RequestError(_("The model said nothing for half an hour.")) from error
    except httpx.HTTPError as error:
        raise RequestError(_("The connection to the gateway broke: %(reason)s") % {"reason": error}) from error


async def _chunks(response: httpx.Response, largest: int) -> AsyncIterator[bytes]:
    if response.headers.get("content-type", "").partition(";")[0] != "application/json":
        async for chunk in response.aiter_raw():
            yield chunk
        return
    # A server that does not stream: its object may be spread over many lines.
    whole = await _read(response, largest)
    with contextlib.suppress(ValueError):
        whole = json.dumps(json.loads(whole)).encode()
    yield whole + b"\n\n"


async def _refusal(response: httpx.Response) -> RequestError:
    text = (await _read(response, LARGEST_WHOLE)).decode(errors="replace")
    with contextlib.suppress(ValueError):
        content = json.loads(text)
        failure = failure_in(content) if isinstance(content, dict) else None
        if failure is not None:
            return RequestError(failure.message, status=response.status_code, code=failure.code)
    sentence = _("The gateway answered with status %(status)s.") % {"status": response.status_code}
    return RequestError(sentence, status=response.status_code)


async def _read(response: httpx.Response, largest: int) -> bytes:
    parts = bytearray()
    async for chunk in response.aiter_raw():
        parts += chunk
        if len(parts) > largest:
            break
    return bytes(parts)


def facts_in(headers: Mapping[str, int]) -> Facts:
    """What the gateway's own headers tell of an answer."""
    return cast("Facts", {_HEADERS[name]: number for name, number in headers.items() if name in _HEADERS})


def _facts(response: httpx.Response) -> Facts:
    texts = {name: response.headers.get(name, "") for name in _HEADERS}
    told = facts_in({name: int(text) for name, text in texts.items() if text.isdecimal() and len(text) < 10})
    return {**told, "request_id": response.headers.get("x-request-id", "")[:128]}
