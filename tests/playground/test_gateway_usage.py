"""Tokens of answers: read in each protocol, asked for where engines keep silent, recorded, charged to the key."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.apps import apps

from deployments.redis_keys import USAGE
from playground.exceptions import RateLimitedError
from playground.gateway.endpoints import ErrorShape
from playground.gateway.metering import RequestRecord
from playground.gateway.usage import usage_in
from playground.services.usage import roll_up
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, STREAM_WITH_USAGE, WHOLE, ScriptedUpstream, frame

database = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("shape", "tail", "prompt", "completion"),
    [
        ("openai", json.dumps(WHOLE).encode(), 7, 3),
        ("openai", b'{"data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}', 5, 0),
        ("openai", b'{"results":[],"usage":{"total_tokens":9}}', 9, 0),
        ("openai", b'{"usage":{"input_tokens":4,"output_tokens":2,"input_tokens_details":{"cached_tokens":1}}}', 4, 2),
        ("openai", b'{"text":"a","usage":{"type":"duration","seconds":3}}', None, None),
        ("openai", b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\ndata: [DONE]', 1, 2),
        (
            "openai",
            b'{"choices":[{"usage":null}],"usage": {"prompt_tokens":1,"completion_tokens":2},"usage":null}',
            1,
            2,
        ),
        ("openai", b'{"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}', None, None),
        ("openai", b'{"usage":{"prompt_tokens":true,"completion_tokens":-1}}', None, None),
        ("openai", b'{"usage":{"prompt_tokens":1', None, None),
        ("anthropic", b'{"usage":{"input_tokens":3,"cache_read_input_tokens":10,"output_tokens":2}}', 13, 2),
        ("ollama", b'{"done":true,"prompt_eval_count":26,"eval_count":298}\n', 26, 298),
        ("ollama", b'{"done":true,"eval_count":298}\n', None, 298),
        ("tgi", b'"details":{"finish_reason":"length","generated_tokens":20,"input_length":4}', 4, 20),
    ],
)
def test_usage_is_read_in_each_protocols_words(
    shape: ErrorShape, tail: bytes, prompt: int | None, completion: int | None
) -> None:
    usage = usage_in(shape, tail)
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt, completion)


def test_a_stream_of_messages_tells_its_input_first() -> None:
    head = b'event: message_start\ndata: {"message":{"usage":{"input_tokens":25,"output_tokens":1}}}\n\n'
    tail = b'event: message_delta\ndata: {"delta":{},"usage":{"output_tokens":15}}\n\n'
    usage = usage_in("anthropic", tail, head=head)
    assert (usage.prompt_tokens, usage.completion_tokens) == (25, 15)


def test_tgi_tells_usage_in_headers() -> None:
    usage = usage_in("tgi", b"{}", headers=[(b"x-prompt-tokens", b"3"), (b"x-generated-tokens", b"8")])
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 8)


@pytest.fixture
def records(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> list[RequestRecord]:
    """What the gateway records."""
    kept: list[RequestRecord] = []
    monkeypatch.setattr(gateway.application._meter, "record", kept.append)
    return kept


@pytest.fixture
def settled(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was admitted, and how it was settled."""
    calls: list[Any] = []

    class Spy:
        headers = ((b"x-ratelimit-limit-requests", b"60"),)

        def settle(self, prompt_tokens: int | None, completion_tokens: int | None) -> None:
            calls.append((prompt_tokens, completion_tokens))

    async def admit(_caller: object, **asked: Any) -> Spy:
        calls.append(asked)
        return Spy()

    monkeypatch.setattr(gateway.application._admission, "admit", admit)
    return calls


@database
@pytest.mark.parametrize("size", [10, 400_000])
@pytest.mark.parametrize("options", [None, {"include_usage": False, "x": 1}])
async def test_usage_is_asked_for_and_kept_from_a_client_that_did_not(
    gateway: RunningGateway, records: list[RequestRecord], size: int, options: dict[str, Any] | None
) -> None:
    sent: dict[str, Any] = {"model": "tiny", "stream": True, "messages": ["x" * size]}
    if options is not None:
        sent["stream_options"] = options
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(data=io.BytesIO(json.dumps(sent).encode())) as response:
            assert await response.read() == b"".join(STREAM)
        await until(lambda: len(records) == 1)
    expected = {**(options or {}), "include_usage": True}
    assert upstream.seen[0].json == {**sent, "model": "served-tiny", "stream_options": expected}
    (record,) = records
    assert (record.prompt_tokens, record.completion_tokens) == (7, 3)
    assert record.streamed
    assert record.first_token_s is not None
    assert 0 < record.first_token_s <= record.duration_s


@database
async def test_a_client_that_asks_for_usage_gets_it(gateway: RunningGateway, records: list[RequestRecord]) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True, stream_options={"include_usage": True}) as response:
            assert await response.read() == b"".join(STREAM_WITH_USAGE)
        await until(lambda: len(records) == 1)
    assert (records[0].prompt_tokens, records[0].completion_tokens) == (7, 3)


@database
@pytest.mark.parametrize("changes", [{"stream": False}, {"stream": True, "stream_options": "nonsense"}])
async def test_nothing_else_is_asked_for(gateway: RunningGateway, changes: dict[str, Any]) -> None:
    async with ScriptedUpstream(scripts.telling(WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(**changes) as response:
            assert response.status == 200
    assert upstream.seen[0].json.get("stream_options") == changes.get("stream_options")


@database
async def test_a_record_says_who_asked_whom_and_how_it_ended(
    gateway: RunningGateway, records: list[RequestRecord], a_key: Any
) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(7))
        async with gateway.chat("Tiny-1B", headers={"X-Request-Id": "r-1"}) as response:
            assert response.status == 200
        async with gateway.chat("none") as response:
            assert response.status == 404
        async with gateway.client.post("/v1/images/edits", data=b"") as response:
            assert response.status == 400
        async with gateway.client.post("/v1/audio/speech", json={"model": "tiny"}) as response:
            assert response.status == 404
        upstream.script = scripts.refuse
        async with gateway.chat() as response:
            assert response.status == 400
        upstream.script = scripts.end_without_done
        async with gateway.chat(stream=True) as response:
            await response.read()
        upstream.script = scripts.think_until_left
        upstream.busy.clear()
        left = asyncio.create_task(gateway.chat().__aenter__())
        await upstream.busy.wait()
        left.cancel()
        await until(lambda: len(records) == 7)
    one = records[0]
    assert (one.request_id, one.key_id, one.caller) == ("r-1", a_key.key.pk, "notebook")
    assert (one.model, one.config, one.deployment_id, one.endpoint) == ("Tiny-1B", "tiny", 7, "chat")
    assert [record.status for record in records] == [200, 404, 400, 404, 400, 502, 499]
    assert (records[1].model, records[1].deployment_id) == ("none", None)
    # Nobody answered, and still it was this model that was asked.
    assert (records[2].model, records[3].model, records[3].config) == ("", "Tiny-1B", "tiny")


@database
@pytest.mark.parametrize(
    ("ask", "script", "expected"),
    [
        (lambda gateway: gateway.chat(), scripts.answer, (7, 3)),
        (lambda gateway: gateway.chat(stream=True), scripts.answer, (7, 3)),
        (lambda gateway: gateway.chat("none"), scripts.answer, (0, 0)),
        (lambda gateway: gateway.chat(), scripts.refuse, (0, 0)),
        (lambda gateway: gateway.chat(), scripts.die_before_headers, (0, 0)),
        # Computed, but nobody told how much: the reserve stays.
        (lambda gateway: gateway.chat(stream=True), scripts.end_without_done, (None, None)),
        (lambda gateway: gateway.chat(), scripts.telling({"choices": []}), (None, None)),
    ],
)
async def test_a_reservation_is_settled_however_it_ended(
    gateway: RunningGateway,
    settled: list[Any],
    ask: Callable[[RunningGateway], Any],
    script: scripts.Script,
    expected: tuple[int | None, int | None],
) -> None:
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route())
        async with ask(gateway) as response:
            await response.read()
            assert response.headers["x-ratelimit-limit-requests"] == "60"
        await until(lambda: len(settled) == 2)
    assert settled[1] == expected


@database
async def test_admission_is_told_what_the_model_reads(gateway: RunningGateway, settled: list[Any]) -> None:
    image = {"image_url": {"url": "data:image/png;base64," + "A" * 500_000}}
    async with ScriptedUpstream(scripts.telling(WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        for images in ([], [image], [{"image_url": {"url": "A" * 9_000}}]):
            async with gateway.chat(max_tokens=5, messages=[{"content": images}]) as response:
                assert response.status == 200
    asked = settled[::2]
    assert [each["max_tokens"] for each in asked] == [5, 5, 5]
    assert [each["endpoint"] for each in asked] == ["chat"] * 3
    assert all(each["prompt_bytes"] < 300 for each in asked)


@database
async def test_a_refusal_of_admission_asks_nobody(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_caller: object, **_asked: Any) -> Any:
        raise RateLimitedError("too many", rate_headers=((b"retry-after", b"7"),))

    monkeypatch.setattr(gateway.application._admission, "admit", refuse)
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat() as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
            assert (await response.json())["error"]["type"] == "rate_limit_error"
    assert upstream.seen == []


@database
async def test_nothing_that_was_said_is_stored_or_logged(
    gateway: RunningGateway, redis_server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def said(text: str) -> dict[str, Any]:
        return {"model": "tiny", "messages": [{"role": "user", "content": text}]}

    caplog.set_level(logging.DEBUG)
    whole = {**WHOLE, "choices": [{"message": {"content": "secretly answered"}}]}
    async with ScriptedUpstream(scripts.telling(whole)) as upstream:
        await gateway.serve(upstream.route())
        for path, body in (("/v1/chat/completions", said("secretly asked")), ("/api/chat", said("secretly asked"))):
            async with gateway.client.post(path, json=body) as response:
                assert response.status == 200
                assert "secretly answered" in await response.text()
        async with gateway.chat(data=b'{"model": "tiny", "messages": ["secretly asked"') as response:
            assert response.status == 400
        upstream.script = scripts.saying(frame("secretly answered"), b"secretly broken", cut=True)
        async with gateway.chat(**said("secretly asked"), stream=True) as response:
            assert b"upstream_failed" in await response.read()
        upstream.script = scripts.telling({"error": {"message": "secretly refused"}}, status=400)
        async with gateway.chat(**said("secretly asked")) as response:
            assert response.status == 400
        await until(lambda: redis_server.xlen(USAGE) > 0 and not gateway.application._meter._records)
    in_redis = [redis_server.xrange(USAGE)] + [
        redis_server.get(key) for key in redis_server.scan_iter() if redis_server.type(key) == b"string"
    ]
    assert b"tiny" in repr(in_redis).encode()
    assert await sync_to_async(roll_up)() > 0
    in_database = await sync_to_async(database_text)()
    assert "tiny" in in_database
    for kept in (repr(in_redis), in_database, caplog.text):
        assert "secretly" not in kept


def database_text() -> str:
    """Every value of every row."""
    rows = [list(model._default_manager.values_list()) for model in apps.get_models()]
    return repr(rows)
