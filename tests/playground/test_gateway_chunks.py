"""From the engine's chunks to the client's bytes through the whole gateway: where a stream is cut changes nothing.

The engine is played in memory, since over a socket nobody decides where chunks end. EventStream and LineStream, which
do the work, have their own tests in test_event_streams.py and test_gateway_ollama_streams.py.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.gateway.app import GatewayApplication
from playground.gateway.http1.client import UpstreamClient
from playground.gateway.relay import Relay
from playground.gateway.wire import Message
from playground.services.command_line_token import make_token
from tests.fakes.upstream import STREAM, USAGE, frame

text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
cuts = st.lists(st.integers(0, 600), max_size=30)
endings = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\n\n"])


def data(content: Any, *, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(content, ensure_ascii=False).encode()


comments = text.map(lambda words: f": {words}".encode())
deltas = text.map(lambda words: data({"choices": [{"delta": {"content": words}}], "usage": None}))
blocks = text.map(lambda words: data({"type": "content_block_delta", "delta": {"text": words}}, name="x"))
tokens = text.map(lambda words: data({"token": {"text": words}, "generated_text": None}))
lines = text.map(lambda words: json.dumps({"message": {"content": words}, "done": False}).encode())


def stream_of(event: st.SearchStrategy[bytes], last: bytes) -> st.SearchStrategy[bytes]:
    """Any number of events, a comment here and there, and the last one."""
    ended = st.tuples(event | comments, endings).map(b"".join)
    return st.lists(ended, max_size=12).map(lambda events: b"".join(events) + last)


CHATS = stream_of(deltas, STREAM[-1])
LAST_LINE = b'{"done": true, "eval_count": 3}\n'
#: Path, engine, type of the answer, any valid stream.
PROTOCOLS: dict[str, tuple[str, str, str, st.SearchStrategy[bytes]]] = {
    "openai": ("/v1/chat/completions", "vllm", "text/event-stream", CHATS),
    "responses": (
        "/v1/responses",
        "vllm",
        "text/event-stream",
        stream_of(blocks, data({"type": "response.completed"}, name="response.completed") + b"\n\n"),
    ),
    "anthropic": (
        "/v1/messages",
        "vllm",
        "text/event-stream",
        stream_of(blocks, data({"type": "message_stop"}, name="message_stop") + b"\n\n"),
    ),
    "tgi": (
        "/tgi/tiny/generate_stream",
        "tgi",
        "text/event-stream",
        stream_of(tokens, data({"generated_text": "all"}) + b"\n\n"),
    ),
    "ollama": (
        "/api/chat",
        "ollama",
        "application/x-ndjson",
        st.lists(lines.map(lambda line: line + b"\n"), max_size=12).map(lambda them: b"".join(them) + LAST_LINE),
    ),
}


class Engine:
    """Stands for the gateway's client and for its answer: a stream in exactly these chunks."""

    status = 200
    content_length = None
    encoded = False

    def __init__(self, chunks: Sequence[bytes], content_type: str) -> None:
        self.content_type = content_type
        self.headers = [(b"content-type", content_type.encode())]
        self._chunks = [chunk for chunk in chunks if chunk]
        self.closed = False

    async def ask(self, *_: object, **__: object) -> Engine:
        return self

    async def readany(self) -> bytes:
        return self._chunks.pop(0) if self._chunks else b""

    def close(self) -> None:
        self.closed = True


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


def through_gateway(path: str, engine: str, played: Engine, **body: Any) -> bytes:
    """What a client gets for a streamed request; fails unless it is a 200 that leaves nothing behind."""
    application = GatewayApplication()
    route = {"deployment_id": 1, "config": "tiny", "model": "Tiny", "protocol": "openai-text", "engine": engine}
    route |= {"served_name": "served", "endpoint": "http://engine", "node": "here"}
    application.table.replace(json.dumps({"version": 1, "routes": [route]}))
    client = cast("UpstreamClient", played)
    application._relay = Relay(client, application.table, application.places, cast("Any", SimpleNamespace()))
    content = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "Hi"}], **body}
    sent: list[Message] = []
    asked = [{"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}]

    async def receive() -> Message:
        return asked.pop(0) if asked else await asyncio.Future[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {make_token('root')}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == 200
    assert played.closed
    assert (application.table.in_flight.total, application.budget.used) == (0, 0)
    return b"".join(part["body"] for part in sent[1:])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(choice=st.data())
def test_a_stream_of_any_protocol_comes_out_byte_for_byte(protocol: str, choice: st.DataObject) -> None:
    path, engine, kind, streams = PROTOCOLS[protocol]
    stream = choice.draw(streams)
    played = Engine(cut(stream, choice.draw(cuts)), kind)
    assert through_gateway(path, engine, played, stream_options={"include_usage": True}) == stream


@given(stream=CHATS, places=cuts)
def test_only_usage_that_nobody_asked_for_is_missing(stream: bytes, places: list[int]) -> None:
    whole = stream.removesuffix(STREAM[-1]) + USAGE + STREAM[-1]
    played = Engine(cut(whole, places), "text/event-stream")
    assert through_gateway("/v1/chat/completions", "vllm", played) == stream


TRANSLATED = st.lists(text.map(frame) | comments.map(lambda line: line + b"\r\n\r\n"), max_size=12).map(
    lambda events: b"".join(events) + data({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + b"\n\n" + USAGE
)


def told(answer: bytes) -> list[dict[str, Any]]:
    """Lines without times, which pass."""
    found = [json.loads(line) for line in answer.removesuffix(b"\n").split(b"\n")]
    return [
        {name: value for name, value in line.items() if not name.endswith("duration") and name != "created_at"}
        for line in found
    ]


@given(stream=TRANSLATED, places=cuts)
def test_a_translated_stream_is_the_same_lines_however_it_is_cut(stream: bytes, places: list[int]) -> None:
    stream += STREAM[-1]
    kind = "text/event-stream"
    once = told(through_gateway("/api/chat", "vllm", Engine([stream], kind)))
    assert once[-1]["done"] is True
    assert told(through_gateway("/api/chat", "vllm", Engine(cut(stream, places), kind))) == once
