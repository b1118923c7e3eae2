"""A request for what is not ready waits for its start, is told of it in its protocol's own way, or is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from deployments.actors import Actor
from deployments.models import CatalogueModel
from playground.gateway.starting import Patience
from playground.key_rules import KeyRules
from playground.services.keys import create_key
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, ScriptedUpstream, frame
from tests.playground.waiting import QUICK, SPEAKS, Worker, startable

pytestmark = pytest.mark.django_db(transaction=True)

HI = [{"role": "user", "content": "Hi"}]
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n'
STOPPED = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
GENERATED = b'data:{"token":{"text":"a"},"generated_text":"a"}\n\n'
FINISH = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
#: Path, body, engine, what the engine streams.
EVENT_STREAMS = [
    ("/v1/chat/completions", {"messages": HI}, "vllm", STREAM),
    ("/v1/completions", {"prompt": "Hi"}, "vllm", STREAM),
    ("/v1/responses", {"input": "Hi"}, "vllm", [COMPLETED]),
    ("/v1/messages", {"messages": HI, "max_tokens": 9}, "vllm", [STOPPED]),
    ("/tgi/tiny/generate_stream", {"inputs": "Hi"}, "tgi", [GENERATED]),
]
LINE_STREAMS = [("/api/chat", {"messages": HI}), ("/api/generate", {"prompt": "Hi"})]
NO_ROOM: dict[str, Any] = {"reason": "gpus_held", "reason_params": {"detail": "gpu-01: GPU 0 is held by big-model"}}


def ask(gateway: RunningGateway, path: str, **body: Any) -> Any:
    return gateway.client.post(path, json={"model": "tiny", "stream": True, **body})


async def whole(gateway: RunningGateway, path: str = "/v1/chat/completions", **body: Any) -> tuple[int, bytes, Any]:
    async with ask(gateway, path, **{"messages": HI, "stream": False, **body}) as response:
        return response.status, await response.read(), response.headers


# Waiting


@pytest.mark.parametrize(("path", "body", "engine", "streamed"), EVENT_STREAMS)
async def test_a_stream_of_events_is_kept_alive_by_comments_and_then_served(
    gateway: RunningGateway, path: str, body: dict[str, Any], engine: str, streamed: list[bytes]
) -> None:
    worker = Worker(gateway, SPEAKS)
    async with ScriptedUpstream(scripts.saying(*streamed)) as upstream:
        await gateway.serve(startable=[startable(engine=engine)])
        async with ask(gateway, path, **body) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert response.headers["X-Request-Id"]
            assert await response.content.readuntil(b"\n\n") == b": its start was asked for\n\n"
            worker.tell("loading", fraction=0.425)
            while (said := await response.content.readuntil(b"\n\n")) != b": loading, 42 %\n\n":
                assert said == b": its start was asked for\n\n"
            await gateway.serve(upstream.route(7, engine=engine), version=2)
            rest = await response.read()
    while rest.startswith(b": loading"):
        rest = rest.partition(b"\n\n")[2]
    # What the engine said arrives byte for byte.
    assert rest == b"".join(streamed)
    assert gateway.in_flight == {}
    assert worker.line.waiting == 0


@pytest.mark.parametrize(("path", "body"), LINE_STREAMS)
async def test_lines_of_ollama_are_whole_objects_without_content(
    gateway: RunningGateway, path: str, body: dict[str, Any]
) -> None:
    worker = Worker(gateway, SPEAKS)
    async with ScriptedUpstream(scripts.saying(frame("He"), FINISH, STREAM[-1])) as upstream:
        await gateway.serve(startable=[startable()])
        async with ask(gateway, path, **body) as response:
            assert response.headers["Content-Type"] == "application/x-ndjson"
            first = json.loads(await response.content.readline())
            assert await response.content.readline()
            worker.tell("loading")
            await gateway.serve(upstream.route(7), version=2)
            rest = await response.read()
    assert (first["model"], first["done"]) == ("tiny", False)
    assert (first["message"] if path == "/api/chat" else first["response"]) == (
        {"role": "assistant", "content": ""} if path == "/api/chat" else ""
    )
    told = [json.loads(line) for line in rest.splitlines()]
    texts = [line["message"]["content"] if path == "/api/chat" else line["response"] for line in told]
    assert "".join(texts) == "He"
    assert [line["done"] for line in told].count(True) == 1
    # Loading is what was waited for, and no time of the prompt.
    assert told[-1]["load_duration"] > 20_000_000
    assert told[-1]["prompt_eval_duration"] + told[-1]["load_duration"] <= told[-1]["total_duration"]


async def test_many_requests_wait_for_one_start_and_are_all_served(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(startable=[startable()])
        waiting = [asyncio.create_task(whole(gateway, model=name)) for name in ["tiny", "TINY", "Tiny-1B", "tiny"] * 5]
        await until(lambda: worker.line.waiting == 20)
        await worker.is_asked()
        worker.tell("preparing")
        await gateway.serve(upstream.route(7), version=2)
        answers = await asyncio.gather(*waiting)
    assert {status for status, _body, _headers in answers} == {200}
    assert worker.demands == ["tiny"]
    assert worker.line.waiting == 0


async def test_a_start_that_is_on_its_way_is_waited_for_and_not_asked_again(gateway: RunningGateway) -> None:
    worker = Worker(gateway, SPEAKS)
    await gateway.serve(startable=[startable()])
    worker.tell("queued", **NO_ROOM)
    async with ask(gateway, "/v1/chat/completions", messages=HI) as response:
        said = b""
        while b"queued" not in said:
            said = await response.content.readuntil(b"\n\n")
        assert said.startswith(b": queued: It waits for GPUs: gpu-01: GPU 0 is held by big-model")
    assert worker.demands == []


async def test_an_earlier_run_that_is_stopping_is_waited_for_and_asked_again(gateway: RunningGateway) -> None:
    worker = Worker(gateway, Patience(keep_alive_s=3600, look_s=0.01, ask_again_s=0.02))
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(startable=[startable()])
        worker.tell("stopping", stopped_by="idle")
        waiting = asyncio.create_task(whole(gateway))
        await until(lambda: len(worker.demands) >= 2)
        worker.tell("stopped", stopped_by="idle")
        asked = len(worker.demands)
        await until(lambda: len(worker.demands) > asked)
        worker.tell("queued", deployment_id=6)
        await gateway.serve(upstream.route(6), version=2)
        assert (await waiting)[0] == 200


async def test_a_request_of_ollama_that_only_loads_waits_too(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable()])
    waiting = asyncio.create_task(whole(gateway, "/api/generate", model="tiny:latest", messages=None))
    await worker.is_asked()
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(7), version=2)
        status, body, _headers = await waiting
    assert (status, json.loads(body)["done_reason"]) == (200, "load")


async def test_of_several_configs_the_one_on_its_way_is_waited_for(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable("a"), startable("b"), startable("c", may_start=False)])
    worker.tell("loading", config="b")
    waiting = asyncio.create_task(whole(gateway, model="Tiny-1B"))
    await until(lambda: "b" in worker.line._starting)
    another = asyncio.create_task(whole(gateway, model="Tiny-1B"))
    await until(lambda: worker.line.waiting == 2)
    assert list(worker.line._starting) == ["b"]
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(7, config="b"), version=2)
        assert [(await each)[0] for each in (waiting, another)] == [200, 200]
    assert worker.demands == []


# Failures


@pytest.mark.parametrize(("path", "body", "engine"), [each[:3] for each in EVENT_STREAMS])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_start_that_fails_ends_as_the_protocols_own_error(
    gateway: RunningGateway, path: str, body: dict[str, Any], engine: str, *, begun: bool
) -> None:
    worker = Worker(gateway, SPEAKS if begun else QUICK)
    await gateway.serve(startable=[startable(engine=engine)])
    asking = asyncio.create_task(_read(gateway, path, body))
    await worker.is_asked()
    if begun:
        await until(lambda: bool(worker.line._tasks) and gateway.application.line.waiting == 1)
        await asyncio.sleep(0.05)
    worker.tell("failed", reason="gated_model", reason_params={"last_line": "401"})
    status, headers, raw = await asking
    sentence = "tiny did not start: The weights are gated and this host's token may not read them: 401"
    if not begun:
        assert status == 503
        assert 0 < int(headers["Retry-After"]) <= 60
        told = json.loads(raw)
    else:
        assert status == 200
        events = [event for event in raw.split(b"\n\n") if event and not event.startswith(b": ")]
        if path.startswith(("/v1/chat", "/v1/comp", "/v1/resp")):
            assert events.pop() == b"data: [DONE]"
        (event,) = events
        assert event.startswith(b"event: error\n") is path.startswith(("/v1/messages", "/v1/responses"))
        told = json.loads(event.partition(b"data:")[2])
    error = told["error"]
    assert sentence in (error if isinstance(error, str) else error["message"])
    if path.startswith("/v1/messages"):
        assert (told["type"], error["type"]) == ("error", "overloaded_error")
    elif path.startswith("/v1/"):
        assert error["code"] == "model_start_failed"
    assert worker.line.waiting == 0
    assert worker.line._starting == {}


async def _read(gateway: RunningGateway, path: str, body: dict[str, Any]) -> tuple[int, Any, bytes]:
    async with ask(gateway, path, **body) as response:
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize(("path", "body"), LINE_STREAMS)
async def test_a_start_that_fails_ends_a_stream_of_lines_with_ollamas_error(
    gateway: RunningGateway, path: str, body: dict[str, Any]
) -> None:
    worker = Worker(gateway, SPEAKS)
    await gateway.serve(startable=[startable()])
    async with ask(gateway, path, **body) as response:
        assert json.loads(await response.content.readline())["done"] is False
        worker.tell("failed", reason="vanished")
        *before, last = (await response.read()).splitlines()
    assert all(json.loads(line)["done"] is False for line in before)
    assert json.loads(last)["error"].startswith("tiny did not start: The process disappeared")


async def test_after_a_failure_the_reason_is_told_and_nothing_is_started(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable()])
    worker.tell("failed", reason="bad_model_path", reason_params={"last_line": "no such file"})
    status, body, headers = await whole(gateway, "/api/chat")
    assert (status, worker.demands) == (503, [])
    assert "no such file" in json.loads(body)["error"]
    assert 0 < int(headers["Retry-After"]) <= 60


async def test_a_run_that_somebody_stops_on_its_way_is_not_started_again(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable()])
    waiting = asyncio.create_task(whole(gateway))
    await worker.is_asked()
    worker.tell("loading")
    await until(lambda: worker.line._starting["tiny"].state is not None)
    worker.tell("stopping", stopped_by="ops1")
    await asyncio.sleep(0.03)
    worker.tell("stopped", stopped_by="ops1")
    status, body, _headers = await waiting
    assert status == 503
    assert json.loads(body)["error"]["message"].startswith("tiny was stopped by ops1, and requests do not start it")
    assert worker.demands == ["tiny"]


async def test_what_somebody_has_just_stopped_is_not_started_by_clients_that_try_again(
    gateway: RunningGateway,
) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable()])
    worker.tell("stopped", stopped_by="ops1")
    for _try in range(2):
        status, body, headers = await whole(gateway)
        assert status == 503
        assert 50 < int(headers["Retry-After"]) <= 60
        message = json.loads(body)["error"]["message"]
        assert message.endswith("An operator can at once: in the catalogue, or with: berth start tiny")
    assert worker.demands == []


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (None, "No worker has begun to start tiny. Check that it runs: berth up, or the worker's service."),
        (NO_ROOM, "tiny is not ready after 0 s and goes on starting: queued: It waits for GPUs: "),
    ],
)
async def test_a_wait_is_bounded_and_says_what_it_waited_for(
    gateway: RunningGateway, told: dict[str, Any] | None, sentence: str
) -> None:
    worker = Worker(gateway, Patience(margin_s=0.3, look_s=0.01, ask_again_s=3600))
    await gateway.serve(startable=[startable(load_timeout_s=0)])
    if told:
        worker.tell("queued", **told)
    status, body, headers = await whole(gateway)
    assert status == 503
    assert json.loads(body)["error"]["message"].startswith(sentence)
    assert int(headers["Retry-After"]) > 0


async def test_a_worker_that_does_not_answer_is_not_waited_for_as_long_as_a_model(gateway: RunningGateway) -> None:
    worker = Worker(gateway, Patience(look_s=0.01, unheard_s=0.1))
    await gateway.serve(startable=[startable()])
    status, body, _headers = await whole(gateway)
    assert (status, worker.demands) == (503, ["tiny"])
    assert "No worker has begun" in json.loads(body)["error"]["message"]


async def test_without_redis_the_wait_ends_with_that_cause(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis.asyncio

    worker = Worker(gateway, Patience(look_s=0.01, unheard_s=0.1))
    await gateway.serve(startable=[startable(), startable("other", model="Other", may_start=False)])
    away = redis.asyncio.Redis.from_url("unix:///tmp/there-is-no-redis-here")
    monkeypatch.setattr(worker.line, "_redis", away)
    status, body, _headers = await whole(gateway)
    assert status == 503
    assert json.loads(body)["error"]["message"].startswith("Redis is away, so that tiny cannot be started.")
    # What a request may not start is refused as always.
    assert json.loads((await whole(gateway, model="other"))[1])["error"]["code"] == "model_not_started"


async def test_an_engines_refusal_after_keep_alives_is_an_error_frame(gateway: RunningGateway) -> None:
    worker = Worker(gateway, SPEAKS)
    async with ScriptedUpstream(scripts.refuse) as upstream:
        await gateway.serve(startable=[startable()])
        async with ask(gateway, "/v1/chat/completions", messages=HI) as response:
            await response.content.readuntil(b"\n\n")
            await gateway.serve(upstream.route(7), version=2)
            raw = await response.read()
    *_comments, event, done, end = raw.split(b"\n\n")
    assert (done, end) == (b"data: [DONE]", b"")
    error = json.loads(event.removeprefix(b"data: "))["error"]
    assert error["message"] == "the prompt is too long for the context"
    assert worker.line.waiting == 0


async def test_a_whole_answer_to_a_stream_that_has_begun_is_no_silent_end(gateway: RunningGateway) -> None:
    async def always_whole(_upstream: ScriptedUpstream, _request: Any) -> Any:
        from aiohttp import web

        return web.json_response(scripts.WHOLE)

    Worker(gateway, SPEAKS)
    async with ScriptedUpstream(always_whole) as upstream:
        await gateway.serve(startable=[startable()])
        async with ask(gateway, "/v1/chat/completions", messages=HI) as response:
            await response.content.readuntil(b"\n\n")
            await gateway.serve(upstream.route(7), version=2)
            raw = await response.read()
    assert b"sent no stream" in raw
    assert raw.endswith(b"data: [DONE]\n\n")


# Who waits, and who may


async def test_a_client_that_leaves_stops_waiting_and_the_start_goes_on(gateway: RunningGateway) -> None:
    worker = Worker(gateway, SPEAKS)
    await gateway.serve(startable=[startable()])
    async with aiohttp.ClientSession(gateway.url, headers=gateway.client.headers) as leaving:
        for streams in (True, False):
            body = {"model": "tiny", "messages": HI, "stream": streams}
            asking = asyncio.create_task(leaving.post("/v1/chat/completions", json=body))
            await until(lambda: worker.line.waiting == 1)
            await worker.is_asked(2 - streams)
            if streams:
                response = await asking
                await response.content.readuntil(b"\n\n")
                response.close()
            else:
                asking.cancel()
            await until(lambda: worker.line.waiting == 0)
            assert worker.line._starting == worker.line._tasks == {}
    assert worker.demands == ["tiny", "tiny"]


async def test_the_line_is_bounded(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    worker.line.most_waiting = 2
    await gateway.serve(startable=[startable()])
    waiting = [asyncio.create_task(whole(gateway)) for _each in range(2)]
    await until(lambda: worker.line.waiting == 2)
    status, body, headers = await whole(gateway)
    assert (status, json.loads(body)["error"]["code"], headers["Retry-After"]) == (503, "busy", "5")
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(7), version=2)
        assert [(await each)[0] for each in waiting] == [200, 200]


async def test_what_a_request_may_not_start_is_refused_with_what_to_do(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable(may_start=False)])
    status, body, headers = await whole(gateway)
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"], headers["Retry-After"]) == (503, "model_not_started", "model", "60")
    assert error["message"] == (
        "tiny is not started, and does not start on request. An operator starts it in the catalogue, "
        "or with: berth start tiny"
    )
    worker.tell("loading", fraction=0.5)
    status, body, headers = await whole(gateway)
    error = json.loads(body)["error"]
    assert (status, error["code"], headers["Retry-After"]) == (503, "model_starting", "10")
    assert error["message"] == "tiny is on its way (loading, 50 %). Try again in a moment."
    assert worker.demands == []


async def test_what_nobody_knows_is_404_and_what_it_cannot_do_too(gateway: RunningGateway) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable()])
    assert (await whole(gateway, model="nobody"))[0] == 404
    status, body, _headers = await whole(gateway, "/v1/images/generations", prompt="a boat")
    assert (status, json.loads(body)["error"]["code"]) == (404, "endpoint_not_served")
    assert worker.demands == []


@pytest.fixture
def narrow_keys(transactional_db: None) -> list[tuple[str, int]]:
    """Secrets of keys that may not ask it, or not as much, and the status that says so."""
    chief = Actor.command_line()
    CatalogueModel.objects.create(name="other")
    elsewhere = create_key("elsewhere", actor=chief, rules=KeyRules(models=("other",)))
    spent = create_key("spent", actor=chief, rules=KeyRules(tokens_per_day=1))
    return [(elsewhere.secret, 403), (spent.secret, 429)]


async def test_a_key_starts_nothing_that_it_may_not_ask(
    narrow_keys: list[tuple[str, int]], gateway: RunningGateway
) -> None:
    worker = Worker(gateway)
    await gateway.serve(startable=[startable()])
    for secret, status in narrow_keys:
        async with gateway.chat(headers={"Authorization": f"Bearer {secret}"}) as response:
            assert response.status == status
    assert worker.demands == []


# Lists


async def test_lists_name_what_a_request_may_start_and_say_that_it_is_not_ready(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        unready = [
            startable("slow"),
            startable("never", model="Never", may_start=False),
            startable("art", model="Artist"),
        ]
        unready[2] |= {"protocol": "openai-image", "engine": "localai"}
        await gateway.serve(upstream.route(7), startable=unready)
        async with gateway.client.get("/v1/models") as response:
            listed = {model["id"]: model["ready"] for model in (await response.json())["data"]}
        assert listed == {"Tiny-1B": True, "tiny": True, "Artist": False, "art": False, "slow": False}
        async with gateway.client.get("/v1/models/slow") as response:
            found = await response.json()
            assert (found["ready"], found["configs"]) == (False, ["slow"])
        async with gateway.client.get("/api/tags") as response:
            tags = {model["name"]: model.get("ready", True) for model in (await response.json())["models"]}
        assert tags == {"Tiny-1B:latest": True, "tiny:latest": True, "slow:latest": False}
        async with gateway.client.post("/api/show", json={"model": "slow"}) as response:
            assert (response.status, (await response.json())["capabilities"]) == (200, ["completion"])
    assert gateway.redis.exists("berth:demand") == 0
