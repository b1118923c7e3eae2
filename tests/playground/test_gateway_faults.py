"""Upstreams that die, hang and babble; clients that read slowly or leave. Right status, right shape, nothing leaked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from playground.gateway import departure, relay
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, WHOLE, Script, ScriptedUpstream, frame
from tests.playground.error_shapes import WAYS, words_of

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGE_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
)
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n'
TOKEN = b'data:{"index":1,"token":{"text":"a"},"generated_text":null}\n\n'
LAST_TOKEN = b'data:{"index":2,"token":{"text":"b"},"generated_text":"ab"}\n\n'


@pytest.fixture(autouse=True)
async def nothing_is_left(gateway: RunningGateway) -> AsyncIterator[None]:
    """After each test: no request in flight or waiting, no byte held."""
    yield
    application = gateway.application
    await until(lambda: gateway.in_flight == {} and application.table.in_flight.total == 0)
    assert application.places.waiting == 0
    assert application.budget.used == 0


def ends_in(frames: bytes) -> bytes:
    """The last event but one, or the last where there is no [DONE]."""
    events = [event for event in frames.split(b"\n\n") if event and event != b"data: [DONE]"]
    return events[-1]


@pytest.mark.parametrize("cut", [False, True], ids=["closed", "cut"])
@pytest.mark.parametrize(
    ("path", "begun", "whole"),
    [
        ("/v1/chat/completions", STREAM[1], [STREAM[1], STREAM[-1]]),
        ("/v1/completions", STREAM[1], [STREAM[1], b"data:[DONE]\r\n\r\n"]),
        ("/v1/responses", b'event: response.created\ndata: {"type":"response.created"}\n\n', [COMPLETED]),
        ("/v1/messages", MESSAGE_START, [MESSAGE_START, MESSAGE_STOP]),
        ("/tgi/tiny/generate_stream", TOKEN, [TOKEN, LAST_TOKEN]),
    ],
)
async def test_a_broken_stream_ends_in_its_protocols_own_error(
    gateway: RunningGateway, path: str, begun: bytes, whole: list[bytes], cut: bool
) -> None:
    engine = "tgi" if path.startswith("/tgi/") else "vllm"
    body = {"model": "tiny", "stream": True}
    async with ScriptedUpstream(scripts.saying(begun, b'data: {"half', cut=cut)) as upstream:
        await gateway.serve(upstream.route(engine=engine))
        async with gateway.client.post(path, json=body) as response:
            assert response.status == 200
            broken = await response.read()
        upstream.script = scripts.saying(*whole)
        async with gateway.client.post(path, json=body) as response:
            assert await response.read() == b"".join(whole)
    # Half an event is dropped, so that the error can be read.
    assert broken.startswith(begun)
    assert b"half" not in broken
    name, _newline, data = ends_in(broken).rpartition(b"\n")
    error = json.loads(data.removeprefix(b"data:"))
    if path == "/v1/messages":
        assert name == b"event: error"
        assert error["type"] == "error"
        assert error["error"]["type"] == "api_error"
    elif engine == "tgi":
        assert error["error_type"] == "generation"
    else:
        assert error["error"]["code"] == "upstream_failed"
        assert broken.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        (scripts.die_before_headers, 502, "The server of tiny broke off"),
        (scripts.die_after_headers, 502, "The server of tiny broke off"),
        (scripts.saying(b"\x00 garbage"), 502, "The server of tiny broke off"),
        (scripts.think_until_left, 504, "The server of tiny fell silent"),
        (None, 502, "The server of tiny cannot be reached"),
    ],
    ids=["dies before its headers", "dies after them", "sends garbage", "hangs", "is away"],
)
async def test_before_the_first_byte_each_protocol_has_status_and_shape_of_its_own(
    gateway: RunningGateway, script: Script | None, status: int, words: str
) -> None:
    gateway.application.client.silence_s = 0.1
    async with ScriptedUpstream(script or scripts.answer) as upstream:
        if script is None:
            await upstream.stop()
        for version, (path, engine) in enumerate(WAYS, start=1):
            protocol = "ollama-text" if engine == "ollama" else "openai-text"
            await gateway.serve(upstream.route(engine=engine, protocol=protocol), version=version)
            body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
            async with gateway.client.post(path, json=body) as response:
                told = await response.json()
                assert response.status == status, path
                assert response.headers["X-Request-Id"]
            assert words in words_of(path, status, told)
            assert gateway.in_flight == {}


async def test_half_a_first_event_is_no_first_byte(gateway: RunningGateway) -> None:
    async with (
        ScriptedUpstream(scripts.saying(b'data: {"half', cut=True)) as dying,
        ScriptedUpstream(scripts.answer) as well,
    ):
        await gateway.serve(dying.route(1, config="a"), well.route(2, config="b"))
        async with gateway.chat("Tiny-1B", stream=True) as response:
            assert await response.read() == b"".join(STREAM)


async def test_after_the_first_byte_nobody_else_is_asked(gateway: RunningGateway) -> None:
    async with (
        ScriptedUpstream(scripts.saying(STREAM[1], cut=True)) as dying,
        ScriptedUpstream(scripts.answer) as well,
    ):
        await gateway.serve(dying.route(1, config="a"), well.route(2, config="b"))
        async with gateway.chat("Tiny-1B", stream=True) as response:
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
    assert well.seen == []


async def test_garbage_is_a_502(gateway: RunningGateway) -> None:
    server = await asyncio.start_server(scripts.nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        route = ScriptedUpstream(scripts.answer).route(endpoint=f"http://127.0.0.1:{port}")
        await gateway.serve(route)
        async with gateway.chat() as response:
            assert response.status == 502
            assert (await response.json())["error"]["code"] == "upstream_failed"


async def test_a_whole_answer_of_unstated_length_that_breaks_is_asked_elsewhere(gateway: RunningGateway) -> None:
    half = json.dumps(WHOLE).encode()[:40]
    async with (
        ScriptedUpstream(scripts.saying(half, content_type="application/json", cut=True)) as dying,
        ScriptedUpstream(scripts.answer) as well,
    ):
        await gateway.serve(dying.route(1, config="a"), well.route(2, config="b"))
        async with gateway.chat("Tiny-1B") as response:
            assert await response.read() == json.dumps(WHOLE).encode()


async def test_an_answer_too_long_to_hold_that_breaks_breaks_the_connection(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "HELD_BYTES", 1000)
    script = scripts.saying(b"x" * 2000, b"y" * 2000, content_type="application/json", cut=True)
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat() as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def test_an_idle_connection_closed_by_the_engine_is_no_failure(gateway: RunningGateway) -> None:
    async def once(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        # Says that it keeps the connection, and does not.
        if request.transport is not None:
            asyncio.get_running_loop().call_later(0.01, request.transport.abort)
        return web.json_response(WHOLE)

    async with ScriptedUpstream(once) as upstream:
        await gateway.serve(upstream.route())
        for _each in range(20):
            async with gateway.chat() as response:
                assert response.status == 200
            await asyncio.sleep(0.012)


async def test_a_stream_that_falls_silent_is_told_so(gateway: RunningGateway) -> None:
    gateway.application.client.silence_s = 0.05
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            body = await response.read()
        async with asyncio.timeout(1):
            await upstream.freed.wait()
    assert b'"code": "upstream_timeout"' in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_reads_slowly_holds_the_engine_back(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.flood) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            await response.content.readany()
            sent = -1
            while upstream.sent != sent:
                sent = upstream.sent
                await asyncio.sleep(0.1)
            # Sockets and buffers hold some; the gateway no more than a few hundred kilobytes of it.
            assert upstream.sent < 20_000_000
            response.close()
        async with asyncio.timeout(1):
            await upstream.freed.wait()


async def test_a_client_that_takes_nothing_at_all_has_left(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure.StopWhenClientLeaves.__init__, "__kwdefaults__", {"stalled_s": 0.2})
    async with ScriptedUpstream(scripts.flood) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            await response.content.readany()
            async with asyncio.timeout(5):
                await upstream.freed.wait()
            await until(lambda: gateway.in_flight == {})


@pytest.mark.slow
async def test_thousands_of_aborted_requests_leak_nothing(gateway: RunningGateway) -> None:
    process = psutil.Process()
    # Streams after their first byte, whole answers while the engine thinks, large bodies; some while they are sent.
    bodies: list[dict[str, Any]] = [{"stream": True}, {}, {"stream": True, "padding": "x" * 300_000}, {}]
    asked = aborted = 0

    async def play(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        script = scripts.stream_until_left if upstream.seen.pop().json.get("stream") else scripts.think_until_left
        try:
            return await script(upstream, request)
        except ConnectionResetError:
            # It left before the first byte.
            return web.Response()

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    def held() -> tuple[int, int]:
        """Tasks and file descriptors."""
        return len(asyncio.all_tasks()), process.num_fds()

    async def abort_many(times: int) -> None:
        """Return once nothing is under way any more."""
        nonlocal aborted
        async with aiohttp.ClientSession(gateway.url, headers=gateway.client.headers) as client:
            for _time in range(times):
                due = asked + 30
                requests = [
                    asyncio.create_task(
                        client.post("/v1/chat/completions", json={"model": "tiny", **body}).__aenter__()
                    )
                    for body in bodies * 10
                ]
                await until(lambda due=due: asked >= due)  # type: ignore[misc]
                for request in requests:
                    if request.done():
                        (await request).close()
                    else:
                        request.cancel()
                aborted += len(requests)
        await until(lambda: gateway.in_flight == {} and gateway.application.budget.used == 0)
        await until(lambda: gateway.application.client.busy == 0 and len(asyncio.all_tasks()) <= tasks)
        # A socket is closed at a later turn of the loop than its request.
        await asyncio.sleep(0.1)

    async with ScriptedUpstream(play) as upstream:
        await gateway.serve(upstream.route())
        tasks = len(asyncio.all_tasks())
        await abort_many(10)
        before, objects_before, memory_before = held(), objects(), process.memory_info().rss
        await abort_many(40)
        memory_after = process.memory_info().rss
        # Less than one object for each request is kept, and no body. What waits for its time, as a usage record does
        # for the next report, is not kept.
        await until(lambda: objects() - objects_before < 1000, within_s=15)
        with contextlib.suppress(TimeoutError):
            await until(lambda: held() == before)
        after = held()
    assert aborted == 2000
    assert asked >= 1500, "most of them reach the engine"
    assert after == before
    assert memory_after - memory_before < 10_000_000


async def test_a_long_event_passes_in_parts_and_unchanged(gateway: RunningGateway) -> None:
    long = frame("x" * 300_000)
    parts = [long[start : start + 50_000] for start in range(0, len(long), 50_000)]
    async with ScriptedUpstream(scripts.saying(STREAM[1], *parts, STREAM[-1])) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            assert await response.read() == STREAM[1] + long + STREAM[-1]
        # Cut within: what the client has of it is ended, so that the error is an event of its own.
        upstream.script = scripts.saying(STREAM[1], *parts[:3], cut=True)
        async with gateway.chat(stream=True) as response:
            body = await response.read()
    assert b'\n\ndata: {"error"' in body
