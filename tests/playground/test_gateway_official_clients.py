"""The official clients of OpenAI and Anthropic against the gateway, where the real model cannot be told what to do.

A scripted upstream stands for an engine that calls tools, sees images, breaks off or is full. What the real model
shows is in test_gateway_real_model.py; Ollama's client has test_gateway_ollama_client.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from asgiref.sync import sync_to_async

from deployments.actors import Actor
from playground.key_rules import KeyRules
from playground.services.keys import NewKey, create_key
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, ScriptedUpstream

pytestmark = pytest.mark.django_db(transaction=True)

TALK: list[Any] = [{"role": "user", "content": "Hi"}]
IMAGE = "data:image/png;base64,iVBORw0KGgo="
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1,'}}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.fixture
async def gpt(gateway: RunningGateway, a_key: NewKey) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client with the gateway's key."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=a_key.secret, max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(gateway: RunningGateway, a_key: NewKey) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client with the gateway's key."""
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=a_key.secret, max_retries=0) as client:
        yield client


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


def event(kind: str, **content: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()


MESSAGE: dict[str, Any] = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "served-tiny",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 1},
}
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "He"})


async def test_openai_gets_fragments_of_calls_and_sends_their_results(
    gateway: RunningGateway, gpt: openai.AsyncOpenAI
) -> None:
    rest = {"index": 0, "function": {"arguments": ' "b": 2}'}}
    parts = [chunk(tool_calls=[{"index": 0, **CALL}]), chunk(tool_calls=[rest]), chunk("tool_calls"), STREAM[-1]]
    tools: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": PARAMETERS, "strict": True}}]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
    async with ScriptedUpstream(scripts.saying(*parts)) as upstream:
        await gateway.serve(upstream.route())
        stream = await gpt.chat.completions.create(model="tiny", messages=TALK, tools=tools, stream=True)
        calls = [call async for each in stream for call in each.choices[0].delta.tool_calls or []]
        arguments = "".join(call.function.arguments or "" for call in calls if call.function)
        assert json.loads(arguments) == {"a": 1, "b": 2}
        upstream.script = scripts.answer
        said: Any = {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "add", "arguments": arguments}}]}
        await gpt.chat.completions.create(model="tiny", messages=[*TALK, said, result], tools=tools)  # type: ignore[list-item]
    first, second = (seen.json for seen in upstream.seen)
    assert first["tools"] == second["tools"] == tools
    assert second["messages"] == [*TALK, said, result]


@pytest.mark.parametrize("given", [{"url": IMAGE, "detail": "low"}, IMAGE], ids=["an object", "a bare string"])
async def test_an_image_of_openais_arrives_as_it_was_sent(
    gateway: RunningGateway, gpt: openai.AsyncOpenAI, given: Any
) -> None:
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": given}]
    messages: Any = [{"role": "user", "content": content}]
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        told = await gpt.chat.completions.create(model="tiny", messages=messages)
    assert told.choices[0].message.content == "Hello 你好"
    assert upstream.seen[0].json == {"model": "served-tiny", "messages": messages}


async def test_openai_raises_for_a_broken_stream(gateway: RunningGateway, gpt: openai.AsyncOpenAI) -> None:
    async with ScriptedUpstream(scripts.saying(STREAM[1], b'data: {"half', cut=True)) as upstream:
        await gateway.serve(upstream.route())
        stream = await gpt.chat.completions.create(model="tiny", messages=TALK, stream=True)
        with pytest.raises(openai.APIError, match="The server of tiny broke off") as broken:
            async for _each in stream:
                pass
        assert broken.value.code == "upstream_failed"
        upstream.script = scripts.saying(event("response.created", sequence_number=0, response={}), cut=True)
        events = await gpt.responses.create(model="tiny", input="Hi", stream=True)
        with pytest.raises(openai.APIError, match="The server of tiny broke off"):
            async for _event in events:
                pass


async def test_anthropic_raises_for_a_broken_stream(gateway: RunningGateway, claude: anthropic.AsyncAnthropic) -> None:
    script = scripts.saying(event("message_start", message=MESSAGE), BLOCK, TEXT, b"event: content_bl", cut=True)
    texts: list[str] = []
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route())
        with pytest.raises(anthropic.APIStatusError, match="The server of tiny broke off"):
            async with claude.messages.stream(model="tiny", messages=TALK, max_tokens=9) as stream:
                texts += [text async for text in stream.text_stream]
    assert texts == []


async def test_anthropic_sends_images_and_tools(gateway: RunningGateway, claude: anthropic.AsyncAnthropic) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    messages: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    tools: Any = [{"name": "add", "input_schema": PARAMETERS}]
    async with ScriptedUpstream(scripts.telling({**MESSAGE, "content": [use], "stop_reason": "tool_use"})) as upstream:
        await gateway.serve(upstream.route())
        told = await claude.messages.create(model="tiny", messages=messages, tools=tools, max_tokens=9)
    (block,) = told.content
    assert block.type == "tool_use"
    assert block.input == {"a": 1}
    assert upstream.seen[0].json == {"model": "served-tiny", "messages": messages, "tools": tools, "max_tokens": 9}
    assert upstream.seen[0].headers["anthropic-version"]


async def test_over_a_limit_both_are_told_when_to_come_back(
    gateway: RunningGateway, gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    rules = KeyRules(requests_per_minute=1)
    few = (await sync_to_async(create_key)("few", actor=Actor.command_line(), rules=rules)).secret
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        limited = gpt.with_options(api_key=few)
        # All within one minute of Redis's clock, which is this host's.
        await until(lambda: time.time() % 60 < 55, within_s=6)
        await limited.chat.completions.create(model="tiny", messages=TALK)
        with pytest.raises(openai.RateLimitError) as refused:
            await limited.chat.completions.create(model="tiny", messages=TALK)
        with pytest.raises(anthropic.RateLimitError, match="has used its 1 requests per minute") as other:
            await claude.with_options(api_key=few).messages.create(model="tiny", messages=TALK, max_tokens=9)
    assert refused.value.code == "rate_limit_exceeded"
    for error in (refused.value, other.value):
        headers = error.response.headers
        assert 1 <= int(headers["retry-after"]) <= 60
        assert headers["x-ratelimit-limit-requests"] == "1"
        assert headers["x-ratelimit-remaining-requests"] == "0"


async def test_what_can_never_fit_is_not_tried_again(
    gateway: RunningGateway, gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = KeyRules(tokens_per_minute=50)
    few = await sync_to_async(create_key)("few", actor=Actor.command_line(), rules=rules)
    statuses: list[int] = []
    monkeypatch.setattr(gateway.application._meter, "record", lambda record: statuses.append(record.status))
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        with pytest.raises(openai.RateLimitError, match="may need"):
            await gpt.with_options(api_key=few.secret, max_retries=2).chat.completions.create(
                model="tiny", messages=TALK, max_tokens=500
            )
        with pytest.raises(anthropic.RateLimitError, match="may need"):
            await claude.with_options(api_key=few.secret, max_retries=2).messages.create(
                model="tiny", messages=TALK, max_tokens=500
            )
    assert statuses == [429, 429]


async def test_nothing_ready_is_an_overload_that_clients_try_again(
    gateway: RunningGateway, gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    with pytest.raises(openai.InternalServerError) as refused:
        await gpt.chat.completions.create(model="tiny", messages=TALK)
    assert (refused.value.status_code, refused.value.code) == (503, "no_model_ready")
    with pytest.raises(anthropic.APIStatusError) as other:
        await claude.messages.create(model="tiny", messages=TALK, max_tokens=9)
    body: Any = other.value.body
    assert (other.value.status_code, body["error"]["type"]) == (503, "overloaded_error")
