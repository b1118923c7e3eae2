"""The official Python client of Ollama against the gateway, over an engine that speaks OpenAI's chat."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest

from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import STREAM, USAGE, ScriptedUpstream, frame

pytestmark = pytest.mark.django_db(transaction=True)


def part(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[ollama.AsyncClient]:
    """The client with the gateway's key."""
    made = ollama.AsyncClient(host=gateway.url, headers={"Authorization": gateway.client.headers["Authorization"]})
    yield made
    await made.close()  # type: ignore[no-untyped-call]


async def test_it_chats(gateway: RunningGateway, client: ollama.AsyncClient) -> None:
    script = scripts.saying(part(reasoning="Hm."), frame("He\u2028"), frame("llo"), part("stop"), USAGE, STREAM[-1])
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route())
        parts = [
            each
            async for each in await client.chat("tiny", [{"role": "user", "content": "Hi"}], stream=True, think=True)
        ]
    assert "".join(each.message.content or "" for each in parts) == "He\u2028llo"
    assert "".join(each.message.thinking or "" for each in parts) == "Hm."
    assert (parts[-1].done, parts[-1].done_reason, parts[-1].eval_count) == (True, "stop", 3)
    assert upstream.seen[0].json["chat_template_kwargs"]["enable_thinking"] is True


async def test_it_calls_tools_and_sends_their_results_back(gateway: RunningGateway, client: ollama.AsyncClient) -> None:
    def add(a: int, b: int) -> int:
        """Add.

        Args:
          a: one
          b: other
        """
        return a + b

    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    answer = {"choices": [{"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    messages: list[Any] = [{"role": "user", "content": "1 + 2?"}]
    async with ScriptedUpstream(scripts.telling(answer)) as upstream:
        await gateway.serve(upstream.route())
        told = await client.chat("tiny", messages, tools=[add])
        calls = told.message.tool_calls
        assert calls is not None
        assert calls[0].function.arguments == {"a": 1, "b": 2}
        messages += [told.message, {"role": "tool", "tool_name": "add", "content": "3"}]
        await client.chat("tiny", messages, tools=[add])
    first, second = (seen.json for seen in upstream.seen)
    assert first["tools"][0]["function"]["name"] == "add"
    assert second["messages"][1]["tool_calls"][0]["id"] == second["messages"][2]["tool_call_id"]


async def test_it_generates_with_images_and_a_schema(gateway: RunningGateway, client: ollama.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"what": {"type": "string"}}}
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        told = await client.generate(
            "tiny", "What is it?", images=[b"\x89PNG\r\n\x1a\n" + bytes(20)], format=schema, options={"seed": 1}
        )
    assert told.response == "Hello 你好"
    asked = upstream.seen[0].json
    assert asked["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert asked["response_format"]["json_schema"]["schema"] == schema
    assert asked["seed"] == 1


async def test_it_embeds(gateway: RunningGateway, client: ollama.AsyncClient) -> None:
    async with ScriptedUpstream(scripts.telling({"data": [{"embedding": [1.0, 0.0]}]})) as upstream:
        await gateway.serve(upstream.route())
        assert (await client.embed("tiny", ["a"])).embeddings == [[1.0, 0.0]]
        assert (await client.embeddings("tiny", "a")).embedding == [1.0, 0.0]


async def test_it_lists_and_shows(gateway: RunningGateway, client: ollama.AsyncClient) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        listed = [each.model for each in (await client.list()).models]
        assert listed == ["Tiny-1B:latest", "tiny:latest"]
        assert [each.name for each in (await client.ps()).models] == listed
        assert (await client.show("tiny:latest")).capabilities == ["completion"]
        for name in listed:
            assert (await client.chat(str(name), [{"role": "user", "content": "Hi"}])).done


async def test_it_raises_errors_with_status_and_words(gateway: RunningGateway, client: ollama.AsyncClient) -> None:
    async with ScriptedUpstream(scripts.saying(frame("He"))) as upstream:
        await gateway.serve(upstream.route())
        with pytest.raises(ollama.ResponseError, match="No ready model") as unknown:
            await client.chat("other", [{"role": "user", "content": "Hi"}])
        assert unknown.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="broke off"):
            async for _part in await client.chat("tiny", [{"role": "user", "content": "Hi"}], stream=True):
                pass
        for request in (client.pull("tiny"), client.delete("tiny"), client.copy("tiny", "other")):
            with pytest.raises(ollama.ResponseError, match="catalogue") as refused:
                await request
            assert refused.value.status_code == 403
