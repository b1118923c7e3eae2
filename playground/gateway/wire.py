"""ASGI's messages and HTTP's headers, as the gateway handles them."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]
#: Lower-case names; of a repeated header the last one.
Headers = dict[bytes, bytes]
#: An extension of ASGI: status, headers and body of a whole answer in one message. It saves a twentieth of a request.
WHOLE: Final = "berth.http.response.whole"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def request_id(headers: Headers) -> bytes:
    """The client's X-Request-Id if it is a plain token, else a new one of 32 hex digits."""
    given = headers.get(b"x-request-id", b"")
    return given if _REQUEST_ID.fullmatch(given) else b"%032x" % random.getrandbits(128)


def cookie(headers: Headers, name: str) -> str | None:
    """The value of the cookie ``name``, or None."""
    prefix = f"{name}="
    for part in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        if part.strip().startswith(prefix):
            return part.strip().removeprefix(prefix).strip('"')
    return None


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """One complete answer of the gateway's own."""
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
