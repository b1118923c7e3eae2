"""The gateway's own HTTP server side under uvicorn: clients that are slow, rude, wrong or gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import uvicorn

from playground.gateway.serving import connection as connections
from playground.gateway.serving.connection import GatewayProtocol
from tests.fakes.gateway import until

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    """Answers with what came: method, path, query, and the body."""
    body = await body_of(receive)
    told = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


class Serving:
    """An application that listens; ``whole`` runs it in uvicorn's server, whose end takes a while."""

    def __init__(self, application: Application, *, whole: bool = False, **options: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.config = uvicorn.Config(
            application,
            http=GatewayProtocol,
            lifespan="off",
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=2,
            **options,
        )
        self.uvicorn = uvicorn.Server(self.config)
        self.state = self.uvicorn.server_state
        self._whole = whole

    @property
    def connections(self) -> int:
        return len(self.state.connections)

    @property
    def is_busy(self) -> bool:
        return bool(self.state.tasks)

    async def __aenter__(self) -> Serving:
        if self._whole:
            self.task = asyncio.create_task(self.uvicorn.serve(sockets=[self.listener]))
            await until(lambda: self.uvicorn.started)
        else:
            loop = asyncio.get_running_loop()
            self.server = await loop.create_server(
                lambda: GatewayProtocol(self.config, self.state, {}), sock=self.listener
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._whole:
            self.uvicorn.should_exit = True
            await self.task
        else:
            self.server.close()
            for connection in [*self.state.connections]:
                connection.shutdown()
            await until(lambda: not self.state.connections)
        assert not self.state.tasks
        assert not self.connections

    async def say(self, *parts: bytes, until_closed: bool = True) -> bytes:
        """Send ``parts``, each as a segment of its own, and give everything that comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.005 if len(parts) > 1 else 0)
            async with asyncio.timeout(5):
                return await reader.read() if until_closed else await reader.read(65536)
        finally:
            writer.close()


def post(body: bytes, *headers: bytes, path: bytes = b"/x") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"host: h", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CLOSE = b"connection: close"


async def test_a_request_is_told_as_it_came() -> None:
    scopes: list[Any] = []

    async def note(scope: Any, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with Serving(note, whole=True) as serving:
        said = await serving.say(post(b"hi", b"X-A: 1", CLOSE, path=b"/a%20b?c=d%20e"))
    assert said.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert said.endswith(b"\r\n\r\nPOST /a b c=d%20e hi")
    scope = scopes[0]
    assert (b"x-a", b"1") in scope["headers"]
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("http", "http", "1.1")
    assert scope["raw_path"] == b"/a%20b"
    assert scope["server"] == ("127.0.0.1", serving.port)
    assert scope["client"][0] == "127.0.0.1"


@pytest.mark.parametrize("size", [1, 2, 7, 50])
async def test_a_request_may_come_in_any_pieces(size: int) -> None:
    chunked = b"POST /y HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3;x=1\r\ncde\r\n0\r\n\r\n"
    wire = post(b"first") + chunked + post(b"last", CLOSE)
    async with Serving(echo) as serving:
        said = await serving.say(*(wire[start : start + size] for start in range(0, len(wire), size)))
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.find(b"first") < said.find(b"/y  abcde") < said.find(b"last")


async def test_requests_sent_ahead_are_answered_in_their_order_one_at_a_time() -> None:
    at_work = most = 0

    async def slowly(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.005)
        at_work -= 1
        await echo(scope, receive, send)

    wire = b"".join(post(b"%03d" % number) for number in range(30)) + post(b"end", CLOSE)
    async with Serving(slowly) as serving:
        said = await serving.say(wire)
    positions = [said.find(b"/x  %03d" % number) for number in range(30)]
    assert positions == sorted(positions)
    assert positions[0] > 0
    assert most == 1


async def test_a_client_that_waits_is_told_to_continue() -> None:
    async with Serving(echo) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(post(b"hi", b"Expect: 100-continue", CLOSE)[:-2])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.read()).endswith(b"POST /x  hi")
        writer.close()


async def test_a_client_that_is_refused_before_it_continues_has_to_connect_anew() -> None:
    async def refuse(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with Serving(refuse) as serving:
        said = await serving.say(post(b"hi", b"Expect: 100-continue")[:-2])
    assert b"100 Continue" not in said
    assert b"connection: close" in said


async def test_bodies_are_read_no_faster_than_they_are_taken() -> None:
    go_on = asyncio.Event()
    size = 64 * 1024 * 1024

    async def wait(scope: Any, receive: Receive, send: Send) -> None:
        await go_on.wait()
        got = 0
        while True:
            message = await receive()
            got += len(message["body"])
            assert len(message["body"]) <= connections.HOLD_BYTES + 300_000
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % got})

    async with Serving(wait) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await asyncio.sleep(0.1)
        # What the sockets do not hold waits at the client.
        assert writer.transport.get_write_buffer_size() > size // 2
        go_on.set()
        assert b"67108864" in await reader.read()
        writer.close()


async def test_a_client_that_reads_slowly_holds_the_answer_back() -> None:
    sent = 0

    async def flood(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _each in range(500):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent += 100_000
        await send({"type": "http.response.body"})

    async with Serving(flood) as serving, aiohttp.ClientSession(f"http://127.0.0.1:{serving.port}") as session:
        response = await session.get("/")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 20_000_000
        assert len(await response.read()) == 50_000_000
        # One that goes while it holds an answer back lets it end.
        other = await session.get("/")
        other.close()
        await until(lambda: not serving.is_busy)


async def test_an_application_hears_that_its_client_left() -> None:
    heard: list[str] = []

    async def wait(scope: Any, receive: Receive, send: Send) -> None:
        await body_of(receive)
        heard.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async with Serving(wait) as serving:
        _reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.write(post(b"hi"))
        await until(lambda: serving.is_busy)
        writer.transport.abort()
        await until(lambda: heard == ["http.disconnect"])


async def test_after_its_answer_an_application_hears_the_end() -> None:
    heard: list[str] = []

    async def listen(scope: Any, receive: Receive, send: Send) -> None:
        await body_of(receive)
        listening = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        heard.append((await listening)["type"])

    async with Serving(listen) as serving:
        said = await serving.say(post(b"hi", CLOSE))
    assert heard == ["http.disconnect"]
    assert b"transfer-encoding" not in said
    assert b"content-length" not in said


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\r\n\r\n", 400, id="TLS"),
        pytest.param(b"hello\r\n\r\n", 400, id="no HTTP"),
        pytest.param(b"GET http:// HTTP/1.1\r\nhost: h\r\n\r\n", 400, id="half an address"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nhost: h\r\n\r\n", 400, id="bytes that are no text"),
        pytest.param(post(b"hi", b"content-length: 2"), 400, id="two lengths"),
        pytest.param(post(b"hi", b"transfer-encoding: chunked"), 400, id="length and chunks"),
        pytest.param(post(b"hi", b"x : y"), 400, id="a space before the colon"),
        pytest.param(post(b"hi", b"x: y\r\n z"), 400, id="a folded line"),
        pytest.param(
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, id="chunks not last"
        ),
        pytest.param(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400, id="a broken chunk"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400, id="a negative length"),
        pytest.param(b"GET / HTTP/1.1\nhost: h\n\n", 400, id="bare line feeds"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n", 431, id="a long header"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000, 431, id="a header without an end"),
        pytest.param(b"GET /" + b"a" * 70_000, 431, id="an address without an end"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"x: yyyyyyyyyyyyyyyy\r\n" * 5000 + b"\r\n", 431, id="many headers"),
    ],
)
async def test_what_is_no_plain_http_is_refused_and_the_connection_ends(wire: bytes, status: int) -> None:
    async with Serving(echo) as serving:
        said = await serving.say(wire)
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert said.count(b"HTTP/1.1") == 1
        await until(lambda: serving.connections == 0)


async def test_garbage_after_a_request_does_not_spoil_its_answer() -> None:
    async with Serving(echo) as serving:
        said = await serving.say(post(b"hi") + b"\x00garbage\r\n\r\n")
        assert said.count(b"HTTP/1.1") == 1
        assert said.endswith(b"POST /x  hi")


async def test_an_old_client_gets_no_chunks_and_the_connection_ends() -> None:
    async def tell(scope: Any, receive: Receive, send: Send) -> None:
        assert scope["http_version"] == "1.0"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async with Serving(tell) as serving:
        said = await serving.say(b"GET / HTTP/1.0\r\n\r\n")
    assert said.endswith(b"\r\nconnection: close\r\n\r\nab")
    assert b"transfer-encoding" not in said


@pytest.mark.parametrize("body", [b"", b"hi"])
async def test_an_offer_of_another_protocol_is_passed_over(body: bytes) -> None:
    upgrade = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: x")
    async with Serving(echo) as serving:
        said = await serving.say(post(body, *upgrade) + post(body, *upgrade) + post(b"last", CLOSE))
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.count(b"POST /x  " + body) >= 2
    assert said.endswith(b"POST /x  last")


async def test_head_has_no_body() -> None:
    async with Serving(echo) as serving:
        said = await serving.say(b"HEAD /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
    assert b"content-length: 9\r\n" in said
    assert said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("sent", ["nothing", "start", "part", "too much", "too little", "a line end", "twice"])
async def test_an_application_that_fails_never_passes_for_one_that_answered(
    sent: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(scope: Any, receive: Receive, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        if sent == "a line end":
            await send({**start, "headers": [(b"x", b"a\r\nset-cookie: b")]})
        if sent in ("too much", "too little"):
            await send({**start, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b"xxxxx" if sent == "too much" else b"x"})
        if sent == "twice":
            await send(start)
            await send(start)
        if sent in ("start", "part"):
            await send(start)
        if sent == "part":
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError("meant to")

    with caplog.at_level(logging.CRITICAL, logger="playground.gateway.serving.cycle"):
        async with Serving(fail) as serving:
            said = await serving.say(GET)
    if sent in ("nothing", "a line end"):
        assert said.startswith(b"HTTP/1.1 500 ")
        assert b"set-cookie" not in said
    else:
        assert said.startswith(b"HTTP/1.1 200 ")
        assert not said.endswith(b"0\r\n\r\n")
        assert b"xxx" not in said


async def test_an_application_that_forgets_to_answer_is_a_500() -> None:
    async def forget(scope: Any, receive: Receive, send: Send) -> None:
        return

    async with Serving(forget) as serving:
        assert (await serving.say(GET)).startswith(b"HTTP/1.1 500 ")


async def test_idle_connections_end_and_busy_ones_do_not() -> None:
    async def slowly(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.3)
        await echo(scope, receive, send)

    async with Serving(slowly, timeout_keep_alive=0.1) as serving:
        said = await serving.say(GET)
        assert said.startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    async with Serving(echo, timeout_keep_alive=0.05) as serving:
        assert await serving.say() == b""
        assert await serving.say(GET[:10]) == b""


async def test_a_body_of_which_nothing_comes_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_S", 0.1)
    heard: list[str] = []

    async def listen(scope: Any, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])

    async with Serving(listen, timeout_keep_alive=0.05) as serving:
        assert await serving.say(post(b"hi")[:-2]) == b""
        await until(lambda: heard == ["http.disconnect"] and not serving.is_busy)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_takes_nothing_is_gone_after_a_while(
    streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_S", 0.2)
    size = 50_000_000

    async def answer(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(size), "more_body": streams})
        if streams:
            await send({"type": "http.response.body"})

    async with Serving(answer, timeout_keep_alive=0.05) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.port, limit=1000)
        writer.write(GET)
        await until(lambda: serving.connections == 1)
        await until(lambda: serving.connections == 0)
        await until(lambda: not serving.is_busy)
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read()) < size
        writer.close()


async def test_a_stop_lets_requests_end_and_closes_idle_connections() -> None:
    go_on = asyncio.Event()

    async def wait(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await go_on.wait()
        await echo(scope, receive, send)

    async with Serving(wait, whole=True) as serving:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", serving.port)
        idle_writer.write(GET)
        assert await idle_reader.readuntil(b"GET /  ")
        saying = asyncio.create_task(serving.say(post(b"hi", path=b"/wait")))
        await until(lambda: serving.is_busy)
        serving.uvicorn.should_exit = True
        assert await idle_reader.read() == b""
        idle_writer.close()
        go_on.set()
        said = await saying
    assert said.endswith(b"POST /wait  hi")
    assert b"connection: close" in said


async def test_requests_that_outlast_a_stop_are_broken_off() -> None:
    async def never(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with Serving(never, whole=True) as serving:
        serving.config.timeout_graceful_shutdown = 0
        saying = asyncio.create_task(serving.say(GET))
        await until(lambda: serving.is_busy)
        serving.uvicorn.should_exit = True
        with contextlib.suppress(ConnectionError):
            assert await saying == b""
        await until(lambda: not serving.is_busy)


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn's server takes the signals of a main thread."""
    monkeypatch.setattr(threading, "main_thread", lambda: None)
