"""Which headers pass, and which are the gateway's own."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from deployments.deployment_keys import deployment_key

from .http1.answer import Answer
from .http1.origin import origin_of
from .routing import Route
from .wire import Headers, RawHeaders

#: Everything else stays here: credentials and cookies above all.
_TO_UPSTREAM: Final = (
    b"accept",
    b"user-agent",
    b"traceparent",
    b"tracestate",
    b"anthropic-version",
    b"anthropic-beta",
)
#: Everything else stays there: connection handling, and cookies or CORS that would act on Berth's own origin.
_TO_CLIENT: Final = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"cache-control", b"retry-after", b"vary"}
)
_TO_CLIENT_PREFIXES: Final = (b"x-ratelimit-", b"openai-")


def head_to_upstream(
    route: Route, path: str, *, headers: Headers, request_id: bytes, content_type: str, size: int
) -> bytes:
    """The head of a POST of ``size`` bytes to ``path``, the server's own word, with its empty line.

    What a model's server is told about the client; of keys only the deployment's own, never the client's.
    """
    fields = [_beginning(route.endpoint, path, content_type)]
    # No parser lets a line end through; whatever came another way ends here.
    fields += [
        b"%b: %b\r\n" % (name, value)
        for name in _TO_UPSTREAM
        if (value := headers.get(name)) is not None and b"\n" not in value and b"\r" not in value
    ]
    if route.keyed:
        fields.append(_authorization(route.deployment_id))
    fields.append(b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (request_id, size))
    return b"".join(fields)


@lru_cache(maxsize=1024)
def _beginning(endpoint: str, path: str, content_type: str) -> bytes:
    if any(character in path + content_type for character in "\r\n"):
        raise ValueError("a line end within a header")
    origin = origin_of(endpoint)
    return (
        f"POST {origin.prefix}{path} HTTP/1.1\r\nhost: {origin.name}\r\ncontent-type: {content_type}\r\n"
        # The answer is passed on as it comes, and its end is looked at.
        "accept-encoding: identity\r\n"
    ).encode("latin-1")


def headers_of_our_own(route: Route) -> dict[str, str]:
    """For a question that the gateway asks by itself: nothing of any client."""
    own = {"accept-encoding": "identity"}
    return {**own, "authorization": f"Bearer {deployment_key(route.deployment_id)}"} if route.keyed else own


@lru_cache(maxsize=1024)
def _authorization(deployment_id: int) -> bytes:
    return f"authorization: Bearer {deployment_key(deployment_id)}\r\n".encode()


def headers_to_client(answer: Answer, route: Route) -> RawHeaders:
    """What the client is told about the answer."""
    return [
        *(header for header in answer.headers if header[0] in _TO_CLIENT or header[0].startswith(_TO_CLIENT_PREFIXES)),
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-berth-deployment", b"%d" % route.deployment_id),
    ]
