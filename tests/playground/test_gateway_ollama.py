"""Ollama's API at the gateway: natively for Ollama, by translation for the others, with its errors and its lists."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest

from playground.gateway.body import LARGE_BYTES
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, USAGE, WHOLE, ScriptedUpstream, frame

pytestmark = pytest.mark.django_db(transaction=True)

HI = [{"role": "user", "content": "Hi"}]
FINISH = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ANSWER = [frame("He"), frame("llo 你好"), FINISH, USAGE, STREAM[-1]]
NATIVE: dict[str, Any] = {"protocol": "ollama-text", "engine": "ollama"}
LINES = [
    b'{"model":"served-tiny","message":{"role":"assistant","content":"He"},"done":false}\n',
    b'{"model":"served-tiny","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}\n',
]


def lines(body: bytes) -> list[dict[str, Any]]:
    assert b"\n\n" not in body
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body[:-1].split(b"\n")]


async def chat(gateway: RunningGateway, path: str = "/api/chat", **changes: Any) -> tuple[int, bytes, Any]:
    body = {"model": "tiny", **({"messages": HI} if path == "/api/chat" else {}), **changes}
    async with gateway.client.post(path, json=body) as response:
        return response.status, await response.read(), response.headers


async def test_an_openai_stream_arrives_as_lines(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.saying(*ANSWER)) as upstream:
        await gateway.serve(upstream.route(7))
        status, body, headers = await chat(gateway)
    assert status == 200
    told = lines(body)
    assert "".join(line["message"]["content"] for line in told) == "Hello 你好"
    assert [line["done"] for line in told] == [False, False, True]
    assert {line["model"] for line in told} == {"tiny"}
    assert (told[-1]["done_reason"], told[-1]["prompt_eval_count"], told[-1]["eval_count"]) == ("stop", 7, 3)
    assert told[-1]["total_duration"] >= told[-1]["prompt_eval_duration"] > 0
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["X-Berth-Deployment"] == "7"
    assert upstream.seen[0].path == "/v1/chat/completions"
    assert upstream.seen[0].json == {
        "model": "served-tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": HI,
    }
    assert "authorization" not in upstream.seen[0].headers
    assert gateway.in_flight == {}


async def test_a_line_is_not_held_back(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.client.post("/api/chat", json={"model": "tiny", "messages": HI}) as response:
            first = await response.content.readline()
            assert json.loads(first)["message"]["content"] == "He"
            upstream.go_on.set()
            assert lines(await response.read())[-1]["done"] is True


async def test_a_whole_answer(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        status, body, headers = await chat(gateway, stream=False)
        generated, generate_body, _headers = await chat(gateway, "/api/generate", prompt="Hi", stream=False)
    assert status == generated == 200
    told = json.loads(body)
    assert told["message"] == {"role": "assistant", "content": "Hello 你好"}
    assert (told["done"], told["eval_count"]) == (True, 3)
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(body)
    assert json.loads(generate_body)["response"] == "Hello 你好"
    assert upstream.seen[1].json["messages"] == HI


async def test_embeddings(gateway: RunningGateway) -> None:
    answer = {"data": [{"index": 0, "embedding": [0.0, 2.0]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    async with ScriptedUpstream(scripts.telling(answer)) as upstream:
        await gateway.serve(upstream.route())
        _status, body, _headers = await chat(gateway, "/api/embed", input="a")
        _status, old, _headers = await chat(gateway, "/api/embeddings", prompt="a")
    assert json.loads(body)["embeddings"] == [[0.0, 1.0]]
    assert json.loads(old) == {"embedding": [0.0, 2.0]}
    assert [seen.path for seen in upstream.seen] == ["/v1/embeddings"] * 2


async def test_ollama_itself_is_passed_through(gateway: RunningGateway) -> None:
    sent = {"model": "tiny:latest", "messages": HI, "keep_alive": 0, "options": {"num_ctx": 64}, "unknown": [1]}
    async with ScriptedUpstream(scripts.saying(*LINES, content_type="application/x-ndjson")) as upstream:
        await gateway.serve(upstream.route(**NATIVE))
        async with gateway.client.post("/api/chat", json=sent) as response:
            assert await response.read() == b"".join(LINES)
            assert response.headers["Content-Type"] == "application/x-ndjson"
    assert upstream.seen[0].path == "/api/chat"
    # It stays loaded, whatever one of its many clients wishes.
    assert upstream.seen[0].json == {**sent, "model": "served-tiny", "keep_alive": -1}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("padding", ["", "x" * 300_000], ids=["small", "large"])
async def test_a_second_name_that_ollama_would_read_is_refused(
    gateway: RunningGateway, path: str, padding: str
) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(**NATIVE))
        status, body, _headers = await chat(gateway, path, messages=HI, x=padding, MODEL="another")
        assert status == 400
        assert b"Some engines would take 'MODEL' for 'model'." in body
        # A member of the same letters elsewhere is the model's own affair.
        status, _body, _headers = await chat(gateway, path, messages=HI, tools=[{"MODEL": padding}], stream=False)
        assert status == 200
    assert len(upstream.seen) == 1


async def test_no_spelling_of_keep_alive_unloads_the_model(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(**NATIVE))
        await chat(gateway, stream=False, Keep_Alive=0, Keep_alive=0)
    assert upstream.seen[0].json == {"model": "served-tiny", "messages": HI, "stream": False, "keep_alive": -1}


async def test_ollama_has_openais_addresses_too(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(**NATIVE))
        async with gateway.chat() as response:
            assert await response.read() == json.dumps(WHOLE).encode()
    assert upstream.seen[0].path == "/v1/chat/completions"


async def test_a_broken_stream_of_ollama_ends_with_an_error_line(gateway: RunningGateway) -> None:
    script = scripts.saying(LINES[0], LINES[1][:20], content_type="application/x-ndjson", cut=True)
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route(**NATIVE))
        status, body, _headers = await chat(gateway)
    assert status == 200
    told = lines(body)
    assert told[0]["message"]["content"] == "He"
    assert "broke off" in told[1]["error"]


@pytest.mark.parametrize("protocol", ["openai-text", "ollama-text"])
@pytest.mark.parametrize(
    ("path", "changes", "expected"),
    [
        ("/api/chat", {"messages": []}, {"message": {"role": "assistant", "content": ""}, "done_reason": "load"}),
        ("/api/generate", {"keep_alive": "1h"}, {"response": "", "done": True, "done_reason": "load"}),
        ("/api/embed", {"input": []}, {"embeddings": []}),
    ],
)
async def test_loading_answers_at_once(
    gateway: RunningGateway, protocol: str, path: str, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        engine = {"openai-text": "vllm", "ollama-text": "ollama"}[protocol]
        await gateway.serve(upstream.route(protocol=protocol, engine=engine))
        status, body, _headers = await chat(gateway, path, **changes)
        unknown, _body, _headers = await chat(gateway, path, **{**changes, "model": "other"})
        unload, words, _headers = await chat(gateway, "/api/generate", keep_alive=0)
    assert status == 200
    assert {**json.loads(body), **expected} == json.loads(body)
    assert unknown == 404
    assert unload == 403
    assert "catalogue" in json.loads(words)["error"]
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"{}", 400, "lacks 'model'"),
        (b'{"model": "none", "messages": [1]}', 404, "none"),
        (b'{"model": "tiny", "messages": [1]}', 400, "'messages'"),
        (b'{"model": "tiny", "messages": [1], "options": {"num_predict": "all"}}', 400, "num_predict"),
    ],
)
async def test_what_is_wrong_is_told_in_ollamas_way(
    gateway: RunningGateway, data: bytes, status: int, words: str
) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.client.post("/api/chat", data=data) as response:
            told = await response.json()
            assert response.status == status
    assert list(told) == ["error"]
    assert words in told["error"]
    assert upstream.seen == []
    assert gateway.in_flight == {}


async def test_an_engines_refusal_keeps_its_status_and_words(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.refuse) as upstream:
        await gateway.serve(upstream.route())
        status, body, _headers = await chat(gateway)
    assert status == 400
    assert json.loads(body) == {"error": "the prompt is too long for the context"}


async def test_an_error_instead_of_the_first_event_has_a_status_of_its_own(gateway: RunningGateway) -> None:
    told = b'data: {"error": {"message": "too long", "code": 400}}\n\n'
    async with ScriptedUpstream(scripts.saying(told, STREAM[-1])) as upstream:
        await gateway.serve(upstream.route())
        status, body, _headers = await chat(gateway)
    assert status == 400
    assert json.loads(body) == {"error": "too long"}


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ([], "broke off"),
        ([b"data: {garbage\n\n", STREAM[-1]], "no event"),
        ([b'data: {"error": {"message": "CUDA out of memory"}}\n\n', STREAM[-1]], "CUDA out of memory"),
        ([frame("half")[:30]], "broke off"),
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error_line(
    gateway: RunningGateway, rest: list[bytes], words: str
) -> None:
    async with ScriptedUpstream(scripts.saying(frame("He"), *rest)) as upstream:
        await gateway.serve(upstream.route())
        status, body, _headers = await chat(gateway)
    assert status == 200
    told = lines(body)
    assert told[0]["message"]["content"] == "He"
    assert words in told[1]["error"]
    assert len(told) == 2
    assert gateway.in_flight == {}


async def test_a_cut_after_the_reason_to_stop_loses_nothing(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.saying(frame("He"), FINISH, cut=True)) as upstream:
        await gateway.serve(upstream.route())
        _status, body, _headers = await chat(gateway)
    assert lines(body)[-1]["done_reason"] == "stop"


async def test_another_server_is_asked_before_the_first_line(gateway: RunningGateway) -> None:
    async with (
        ScriptedUpstream(scripts.die_after_headers) as broken,
        ScriptedUpstream(scripts.saying(LINES[0], LINES[1], content_type="application/x-ndjson")) as native,
    ):
        await gateway.serve(broken.route(1, config="a"), native.route(2, config="b", **NATIVE))
        status, body, _headers = await chat(gateway, model="Tiny-1B")
    assert status == 200
    assert body == b"".join(LINES)
    assert [each.json["messages"] for each in (*broken.seen, *native.seen)] == [HI, HI]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_server_is_freed_when_the_client_leaves(gateway: RunningGateway, stream: bool) -> None:
    script = scripts.stream_until_left if stream else scripts.think_until_left
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route())
        request = asyncio.create_task(chat(gateway, stream=stream))
        await upstream.busy.wait()
        await asyncio.sleep(0.05)
        request.cancel()
        await asyncio.wait_for(upstream.freed.wait(), 1)
        await until(lambda: gateway.in_flight == {})


@pytest.mark.parametrize("engine", ["vllm", "ollama"])
async def test_a_large_image_arrives_whole(gateway: RunningGateway, engine: str) -> None:
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8 * LARGE_BYTES)).decode()
    messages = [{"role": "user", "content": "What is it?", "images": [image]}]
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(engine=engine))
        body = io.BytesIO(json.dumps({"model": "tiny", "messages": messages, "stream": False}).encode())
        async with gateway.client.post("/api/chat", data=body) as response:
            assert response.status == 200
    sent = upstream.seen[0].json["messages"]
    if engine == "ollama":
        assert sent == messages
    else:
        assert sent[0]["content"][1]["image_url"]["url"] == f"data:image/png;base64,{image}"
    assert gateway.application.budget.used == 0


async def test_metering_knows_the_tokens(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[Any] = []
    monkeypatch.setattr(gateway.application._meter, "record", records.append)
    async with (
        ScriptedUpstream(scripts.saying(*ANSWER)) as upstream,
        ScriptedUpstream(scripts.saying(*LINES, content_type="application/x-ndjson")) as native,
    ):
        await gateway.serve(upstream.route(1), native.route(2, config="other", **NATIVE))
        await chat(gateway)
        await chat(gateway, model="other")
        await chat(gateway, messages=[])
        await until(lambda: len(records) == 3)
    told = [(each.endpoint, each.status, each.prompt_tokens, each.completion_tokens, each.streamed) for each in records]
    assert told == [("chat", 200, 7, 3, True), ("chat", 200, 7, 3, True), ("chat", 200, None, None, False)]


async def test_lists_say_only_what_is_known(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(
            upstream.route(1, digest="ab" * 32),
            upstream.route(2, digest="ab" * 32),
            upstream.route(3, config="paint", model="Paint", protocol="openai-image", engine="localai"),
        )
        async with gateway.client.get("/api/tags") as response:
            tags = (await response.json())["models"]
        async with gateway.client.get("/api/ps") as response:
            loaded = (await response.json())["models"]
        async with gateway.client.post("/api/show", json={"name": "tiny:latest"}) as response:
            shown = await response.json()
        async with gateway.client.get("/api/version") as response:
            version = await response.json()
    assert [each["name"] for each in tags] == ["Tiny-1B:latest", "tiny:latest"]
    assert {each["size"] for each in tags} == {0}
    assert {each["digest"] for each in tags} == {"ab" * 32}
    assert not any(tags[0]["details"].values())
    assert [each["digest"] for each in loaded] == [each["digest"] for each in tags]
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"] == {}
    assert version["version"].count(".") == 2
    assert upstream.seen == []


async def test_ollama_shows_its_model_itself(gateway: RunningGateway) -> None:
    details = {"details": {"family": "llama"}, "capabilities": ["completion", "tools"], "model_info": {}}
    async with ScriptedUpstream(scripts.telling(details)) as upstream, ScriptedUpstream(scripts.answer) as gone:
        await gateway.serve(upstream.route(**NATIVE))
        async with gateway.client.post("/api/show", json={"model": "tiny", "verbose": True}) as response:
            assert await response.json() == details
        await gone.stop()
        await gateway.serve(gone.route(**NATIVE), version=2)
        async with gateway.client.post("/api/show", json={"model": "tiny"}) as response:
            assert response.status == 502
            assert list(await response.json()) == ["error"]
        async with gateway.client.post("/api/show", json={}) as response:
            assert response.status == 400
    assert upstream.seen[0].json == {"model": "served-tiny", "verbose": True}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/pull", 403),
        ("POST", "/api/push", 403),
        ("POST", "/api/create", 403),
        ("POST", "/api/copy", 403),
        ("DELETE", "/api/delete", 403),
        ("HEAD", "/api/blobs/sha256:0", 404),
        ("POST", "/api/blobs/sha256:0", 403),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/chat", 405),
        ("POST", "/api/tags", 405),
        ("HEAD", "/api/version", 200),
        ("HEAD", "/api/tags", 200),
    ],
)
async def test_the_other_addresses(gateway: RunningGateway, method: str, path: str, status: int) -> None:
    async with gateway.client.request(method, path, json={"model": "tiny"}) as response:
        assert response.status == status
        if status != 200 and method != "HEAD":
            assert list(await response.json()) == ["error"]


@pytest.mark.parametrize("path", ["/api", "/api/"])
async def test_the_root_answers_probes_without_a_key(gateway: RunningGateway, path: str) -> None:
    for method, text in (("GET", "Ollama is running"), ("HEAD", "")):
        async with gateway.client.request(method, path, headers={"Authorization": ""}) as response:
            assert response.status == 200
            assert await response.text() == text


@pytest.mark.parametrize("path", ["/api/tags", "/api/version", "/api/pull", "/api/chat"])
async def test_everything_else_wants_a_key(gateway: RunningGateway, path: str) -> None:
    method = "POST" if path in ("/api/pull", "/api/chat") else "GET"
    async with gateway.client.request(method, path, headers={"Authorization": "Bearer berth-wrong"}) as response:
        assert response.status == 401
        assert list(await response.json()) == ["error"]
