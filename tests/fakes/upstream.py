"""A model's server that does as it is told: answers, streams, waits, and breaks off where a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Script = Callable[["ScriptedUpstream", web.Request], Awaitable[web.StreamResponse]]


def frame(text: str) -> bytes:
    """One chunk of a chat stream, with odd spacing and characters that a relay must not touch."""
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}}],
    }
    return b"data:  " + json.dumps(chunk, ensure_ascii=False, indent=None).encode() + b"\n\n"


USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n'
#: What a client gets, without and with the usage that it may ask for.
STREAM = [b": comment\n\n", frame("He"), frame("llo 你好"), b"data: [DONE]\n\n"]
STREAM_WITH_USAGE = [*STREAM[:-1], USAGE, STREAM[-1]]
WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello 你好"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


@dataclass
class Seen:
    """A request as the server got it; names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedUpstream:
    """Listens on a free port of 127.0.0.1. ``script`` decides each answer."""

    script: Script
    seen: list[Seen] = field(default_factory=list)
    #: Set by a test to let a waiting script go on.
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when a script is at work, and when its client went away.
    busy: asyncio.Event = field(default_factory=asyncio.Event)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    endpoint: str = ""
    #: Bytes that a script could get rid of.
    sent: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=100 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the listening socket and every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def route(self, deployment_id: int = 1, **changes: Any) -> dict[str, Any]:
        """This server as an entry of the routing table."""
        entry: dict[str, Any] = {
            "deployment_id": deployment_id,
            "config": "tiny",
            "model": "Tiny-1B",
            "protocol": "openai-text",
            "engine": "llama.cpp",
            "served_name": "served-tiny",
            "endpoint": self.endpoint,
            "node": "here",
        }
        return {**entry, **changes}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(
                path=request.path,
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.read(),
            )
        )
        self.busy.set()
        try:
            return await self.script(self, request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.freed.set()
            raise


async def answer(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Streams or answers whole, as the request asks."""
    if json.loads(upstream.seen[-1].body).get("stream"):
        return await stream(upstream, request)
    return web.json_response(WHOLE, headers={"Set-Cookie": "engine=1", "X-Engine": "1"})


async def stream(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """A complete stream, with usage if that is asked for."""
    response = await _begin(request)
    options = json.loads(upstream.seen[-1].body).get("stream_options") or {}
    for part in STREAM_WITH_USAGE if options.get("include_usage") else STREAM:
        await response.write(part)
    return response


async def stream_until_left(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """One frame, then silence until the client goes away or the test says to go on."""
    response = await _begin(request)
    await response.write(STREAM[1])
    await upstream.go_on.wait()
    await response.write(STREAM[-1])
    return response


async def think_until_left(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """A whole answer that takes until the test says to go on."""
    await upstream.go_on.wait()
    return web.json_response(WHOLE)


async def die_before_headers(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Closes the connection with the request read and nothing said."""
    _cut(request)
    return web.Response()


async def die_after_headers(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Says 200 and that a stream follows, then closes."""
    response = await _begin(request)
    _cut(request)
    return response


async def die_after_first_frame(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Sends one frame and a half, then closes."""
    response = await _begin(request)
    await response.write(STREAM[1])
    await upstream.go_on.wait()
    await response.write(STREAM[2][:20])
    _cut(request)
    return response


async def end_without_done(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """A stream that ends in good order but for its last frame."""
    response = await _begin(request)
    await response.write(STREAM[1])
    return response


async def die_within_whole(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Promises 1,000 bytes, sends ten, closes."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"id":"c1"')
    _cut(request)
    return response


async def still_loading(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """503, as llama.cpp while it loads."""
    return web.json_response({"error": {"message": "Loading model", "code": 503}}, status=503)


async def refuse(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """400 with the engine's own words."""
    return web.json_response({"error": {"message": "the prompt is too long for the context"}}, status=400)


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Access-Control-Allow-Origin": "*"}
    )
    await response.prepare(request)
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def saying(*parts: bytes, status: int = 200, content_type: str = "text/event-stream", cut: bool = False) -> Script:
    """A script that sends ``parts``, each by itself, and ends in good order, or by a cut."""

    async def say(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": content_type})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            # Each as a segment of its own.
            await asyncio.sleep(0.01)
        if cut:
            _cut(request)
        return response

    return say


def telling(content: Any, *, headers: dict[str, str] | None = None, status: int = 200) -> Script:
    """A script that answers with JSON at once."""

    async def tell(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        return web.json_response(content, headers=headers, status=status)

    return tell


async def flood(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Frames without an end, as fast as they are taken; ``sent`` has their bytes."""
    response = await _begin(request)
    while True:
        await response.write(STREAM[1] * 100)
        upstream.sent += len(STREAM[1]) * 100


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that does not speak HTTP, for asyncio.start_server."""
    await reader.read(1000)
    writer.write(b"\x00\xff garbage\r\n\r\nmore of it")
    writer.close()
