"""The gateway's own HTTP client against a server that writes exactly what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playground.gateway.http1 import connection as connections
from playground.gateway.http1.answer import HOLD_BYTES, Answer
from playground.gateway.http1.client import UpstreamClient
from playground.gateway.http1.errors import BrokenAnswerError, CannotConnectError, SilentError
from playground.gateway.http1.origin import Origin, origin_of
from tests.fakes.gateway import until

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Type: Application/JSON; charset=utf-8\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
UNSTATED = OK + b"\r\n"
HEAD = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n"
BODY = b"{}"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Runs ``serve`` for each connection, which may leave it open."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        #: Connections whose end this server saw.
        self.ended = 0

    async def __aenter__(self) -> Origin:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        return origin_of(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await until(lambda: self.ended == self.connections)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
        self.ended += 1
        writer.transport.abort()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """One whole request's body."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found is not None
    return await reader.readexactly(int(found[1]))


def saying(*parts: bytes, closes: bool = False, resets: bool = False) -> Serve:
    """Answers each request with ``parts``, each as a segment of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.002 if len(parts) > 1 else 0)
            if resets:
                writer.transport.abort()
            elif closes:
                writer.close()

    return serve


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    """A client that is impatient."""
    made = UpstreamClient(silence_s=5, connect_s=2)
    yield made
    await made.close()
    assert made.busy == 0
    assert made.idle == 0


async def ask(client: UpstreamClient, origin: Origin) -> Answer:
    return await client.ask(origin, HEAD, BODY)


async def test_an_answer_is_told_as_it_is(client: UpstreamClient) -> None:
    async with Server(saying(HELLO)) as origin:
        answer = await ask(client, origin)
        assert (answer.status, answer.content_type, answer.content_length) == (200, "application/json", 5)
        assert answer.headers[0] == (b"content-type", b"Application/JSON; charset=utf-8")
        assert not answer.encoded
        assert await answer.read() == b"hello"
        assert await answer.readany() == b""


async def test_a_connection_serves_one_request_after_the_other(client: UpstreamClient) -> None:
    server = Server(saying(HELLO))
    async with server as origin:
        for _each in range(3):
            assert await (await ask(client, origin)).read() == b"hello"
        assert (server.connections, client.idle, client.busy) == (1, 1, 0)
        await asyncio.gather(*(ask(client, origin) for _each in range(5)))
        assert server.connections == 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(min_size=1, max_size=300), framing=st.sampled_from(["stated", "chunked", "closed"]), data=st.data()
)
def test_any_cutting_of_any_answer_comes_out_the_same(body: bytes, framing: str, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=20))
    wire = b"HTTP/1.1 100 Continue\r\n\r\n" * data.draw(st.integers(0, 2))
    if framing == "stated":
        wire += OK + b"content-length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunked":
        size = sizes[0]
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        wire += CHUNKED + b"".join(b"%X;x=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: 1\r\n\r\n"
    else:
        wire += UNSTATED + body

    async def check() -> None:
        received: list[Answer] = []
        free: list[connections.Connection] = []
        one = connections.Connection(
            origin_of("http://h"), silence_s=5, on_free=free.append, on_lost=lambda _connection: None
        )
        one.connection_made(_Transport())
        asking = asyncio.create_task(one.ask(HEAD, BODY))
        await asyncio.sleep(0)
        asking.add_done_callback(lambda task: received.append(task.result()))
        position = 0
        while position < len(wire):
            size = sizes[position % len(sizes)]
            one.data_received(wire[position : position + size])
            position += size
        if framing == "closed":
            one.connection_lost(None)
        assert await (await asking).read() == body
        assert bool(free) == (framing != "closed")
        one.connection_lost(None)

    asyncio.run(check())


class _Transport(asyncio.Transport):
    """Takes everything."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nowhere."""

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", id="two lengths"),
        pytest.param(OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", id="two different lengths"),
        pytest.param(OK + b"content-length: 5, 5\r\n\r\nhello", id="a list of lengths"),
        pytest.param(OK + b"content-length: +5\r\n\r\nhello", id="a signed length"),
        pytest.param(OK + b"content-length: 0x5\r\n\r\nhello", id="a length in hex"),
        pytest.param(OK + b"content-length : 5\r\n\r\nhello", id="a space before the colon"),
        pytest.param(OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="length and chunks"),
        pytest.param(OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", id="chunks and length"),
        pytest.param(OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="another coding"),
        pytest.param(OK + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", id="chunks not last"),
        pytest.param(OK + b"transfer-encoding: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="two codings"),
        pytest.param(OK + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", id="an unknown coding"),
        pytest.param(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", id="a signed chunk"),
        pytest.param(CHUNKED + b"5\nhello\n0\n\n", id="chunks with bare line feeds"),
        pytest.param(CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n", id="a chunk longer than it says"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\n", id="a chunk size beyond 64 bits"),
        pytest.param(OK.replace(b"\r", b"") + b"content-length: 5\n\nhello", id="bare line feeds"),
        pytest.param(OK + b"x: a\r\n b: c\r\ncontent-length: 5\r\n\r\nhello", id="a folded line"),
        pytest.param(OK + b"x: a\0b\r\ncontent-length: 5\r\n\r\nhello", id="a zero byte"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", id="no status"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", id="TLS"),
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(OK + b"x: " + b"a" * 70_000 + b"\r\n\r\n", id="a long header"),
        pytest.param(OK + b"".join(b"x%d: %b\r\n" % (n, b"a" * 900) for n in range(90)) + b"\r\n", id="many headers"),
        pytest.param(OK + b"x: " + b"a" * 70_000, id="a header without an end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\nx: aaaaaaaaaa\r\n\r\n" * 5000, id="interim answers without an end"),
    ],
)
async def test_what_is_not_plainly_framed_is_refused(client: UpstreamClient, wire: bytes) -> None:
    server = Server(saying(wire))
    async with server as origin:
        with pytest.raises(BrokenAnswerError):
            await (await ask(client, origin)).read()
        await until(lambda: server.ended == 1)
    assert client.idle == 0


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "wire", [b"", b"HTTP/1.1 20", OK, HELLO[:-1], CHUNKED, CHUNKED + b"5\r\nhel", CHUNKED + b"5\r\nhello\r\n0\r\n"]
)
async def test_an_answer_that_breaks_anywhere_is_broken(client: UpstreamClient, wire: bytes, resets: bool) -> None:
    async with Server(saying(wire, closes=not resets, resets=resets)) as origin:
        with pytest.raises(BrokenAnswerError):
            await (await ask(client, origin)).read()


async def test_what_came_before_a_break_can_be_read(client: UpstreamClient) -> None:
    async with Server(saying(CHUNKED + b"5\r\nhello\r\n", b"5\r\nhe", closes=True)) as origin:
        answer = await ask(client, origin)
        assert await answer.readany() == b"hello"
        with pytest.raises(BrokenAnswerError):
            await answer.read()


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_have_no_body(client: UpstreamClient, status: bytes) -> None:
    server = Server(saying(b"HTTP/1.1 " + status + b"\r\n\r\n"))
    async with server as origin:
        for _each in range(2):
            assert await (await ask(client, origin)).read() == b""
    assert server.connections == 1


async def test_a_body_that_ends_with_the_connection_is_whole_only_after_an_orderly_end(client: UpstreamClient) -> None:
    async with Server(saying(UNSTATED + b"hel", b"lo", closes=True)) as origin:
        assert await (await ask(client, origin)).read() == b"hello"
    async with Server(saying(b"HTTP/1.0 200 OK\r\n\r\nhello", closes=True)) as origin:
        assert await (await ask(client, origin)).read() == b"hello"


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(HELLO + HELLO, id="a second answer"),
        pytest.param(HELLO + b"junk", id="junk"),
        pytest.param(HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), id="close"),
        pytest.param(HELLO.replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
    ],
)
async def test_a_connection_is_kept_only_when_the_answer_leaves_it_clean(client: UpstreamClient, wire: bytes) -> None:
    server = Server(saying(wire))
    async with server as origin:
        for _each in range(2):
            assert await (await ask(client, origin)).read() == b"hello"
        assert client.idle == 0
        await until(lambda: server.ended == 2)


async def test_a_200_that_offers_another_protocol_is_an_answer(client: UpstreamClient) -> None:
    wire = HELLO.replace(b"\r\n\r\n", b"\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")
    async with Server(saying(wire)) as origin:
        assert await (await ask(client, origin)).read() == b"hello"


async def test_what_nobody_asked_for_ends_an_idle_connection(client: UpstreamClient) -> None:
    server = Server(saying(HELLO, HELLO))
    async with server as origin:
        await ask(client, origin)
        await until(lambda: server.ended == 1)
        assert client.idle == 0


async def test_an_idle_connection_that_the_server_closes_is_not_used_again(client: UpstreamClient) -> None:
    server = Server(saying(HELLO, closes=True))
    async with server as origin:
        for _each in range(3):
            assert await (await ask(client, origin)).read() == b"hello"
            await until(lambda: client.idle == 0)


async def test_one_dead_idle_connection_condemns_the_others(client: UpstreamClient) -> None:
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(HELLO)
        await request_of(reader)
        answered.set()
        writer.transport.abort()

    async with Server(serve) as origin:
        await asyncio.gather(*(ask(client, origin) for _each in range(4)))
        assert client.idle == 4
        with pytest.raises(BrokenAnswerError):
            await ask(client, origin)
        assert client.idle == 0


async def test_idle_connections_end_in_time() -> None:
    client = UpstreamClient(silence_s=5, keep_s=0.02)
    server = Server(saying(HELLO))
    async with server as origin:
        await asyncio.gather(*(ask(client, origin) for _each in range(3)))
        assert client.idle == 3
        await until(lambda: server.ended == 3)
        assert client.idle == 0
    await client.close()


async def test_a_server_that_is_not_there_cannot_be_reached(client: UpstreamClient) -> None:
    async with Server(saying(HELLO)) as origin:
        pass
    with pytest.raises(CannotConnectError):
        await ask(client, origin)
    for wrong in ("", "ftp://h/", "http://", "http://h:99999", "http://user@h"):
        with pytest.raises(CannotConnectError):
            origin_of(wrong)


async def test_a_connection_that_does_not_come_about_in_time_cannot_be_reached() -> None:
    client = UpstreamClient(connect_s=0.02)
    # A full backlog of nobody who accepts.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), contextlib.ExitStack() as others:
            with contextlib.suppress(OSError):
                for _each in range(3):
                    one = others.enter_context(socket.socket())
                    one.settimeout(0)
                    one.connect_ex(("127.0.0.1", port))
            with pytest.raises(CannotConnectError):
                await ask(client, origin_of(f"http://127.0.0.1:{port}"))
    await client.close()


@pytest.mark.parametrize("wire", [b"", OK, CHUNKED + b"5\r\nhello\r\n"], ids=["nothing", "half a head", "a chunk"])
async def test_silence_ends_it(wire: bytes) -> None:
    client = UpstreamClient(silence_s=0.05)
    server = Server(saying(wire))
    async with server as origin:
        with pytest.raises(SilentError):
            await (await ask(client, origin)).read()
        await until(lambda: server.ended == 1)
    await client.close()


async def test_a_slow_stream_is_not_silent() -> None:
    client = UpstreamClient(silence_s=0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(CHUNKED)
        for _each in range(8):
            await asyncio.sleep(0.05)
            writer.write(b"1\r\nx\r\n")
        writer.write(b"0\r\n\r\n")

    async with Server(serve) as origin:
        assert await (await ask(client, origin)).read() == b"x" * 8
    await client.close()


async def test_who_leaves_frees_the_server(client: UpstreamClient) -> None:
    server = Server(saying(b""))
    async with server as origin:
        asking = asyncio.create_task(ask(client, origin))
        await until(lambda: client.busy == 1)
        asking.cancel()
        await until(lambda: server.ended == 1)
    server = Server(saying(CHUNKED + b"5\r\nhello\r\n"))
    async with server as origin:
        (await ask(client, origin)).close()
        await until(lambda: server.ended == 1)
    assert client.busy == 0


async def test_the_end_of_the_client_tells_who_waits() -> None:
    client = UpstreamClient()
    async with Server(saying(b"")) as origin:
        asking = asyncio.create_task(ask(client, origin))
        await until(lambda: client.busy == 1)
        await client.close()
        with pytest.raises(BrokenAnswerError):
            await asking


async def test_nobody_reading_holds_the_server_back(client: UpstreamClient) -> None:
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await request_of(reader)
        writer.write(OK + b"content-length: 50000000\r\n\r\n")
        for _each in range(500):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    async with Server(serve) as origin:
        answer = await ask(client, origin)
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.1)
        # What the sockets hold, and a little more.
        assert written < 20_000_000
        first = await answer.readany()
        assert len(first) < HOLD_BYTES + 300_000
        assert len(first) + len(await answer.read()) == 50_000_000
        assert client.idle == 1


async def test_a_long_request_goes_in_steps_and_whole(client: UpstreamClient) -> None:
    parts: list[bytes | memoryview] = [b"a" * 3_000_000, memoryview(bytearray(b"b" * 20_000_000)), b"c"]
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got.append(await request_of(reader))
            writer.write(HELLO)

    head = b"POST / HTTP/1.1\r\ncontent-length: 23000001\r\n\r\n"
    async with Server(serve) as origin:
        for payload in (parts, b"".join(parts)):
            assert await (await client.ask(origin, head, payload)).read() == b"hello"
    assert got == [b"".join(parts)] * 2


async def test_a_server_that_refuses_a_long_request_before_its_end_is_heard(client: UpstreamClient) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nno!"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)

    head = b"POST / HTTP/1.1\r\ncontent-length: 60000000\r\n\r\n"
    async with Server(serve) as origin:
        answer = await client.ask(origin, head, [b"x" * 60_000_000])
        assert answer.status == 413
        assert await answer.read() == b"no!"
    assert client.idle == 0


async def test_a_server_that_takes_nothing_is_silent() -> None:
    client = UpstreamClient(silence_s=0.1)
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()
        writer.transport.abort()

    async with Server(serve) as origin:
        with pytest.raises(SilentError):
            await client.ask(origin, b"POST / HTTP/1.1\r\ncontent-length: 60000000\r\n\r\n", [b"x" * 60_000_000])
        release.set()
    await client.close()
