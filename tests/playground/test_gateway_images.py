"""Images from ComfyUI and from Stable Diffusion web UI, asked as OpenAI's clients ask."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import redis
from asgiref.sync import sync_to_async
from django.core.signing import TimestampSigner
from pytest_django import Settings

from deployments.actors import Actor
from playground.gateway import departure
from playground.gateway.body import LARGE_BYTES
from playground.gateway.images import comfyui, kept, webui
from playground.gateway.metering import RequestRecord
from playground.gateway.tally import CLIENT_LEFT
from playground.key_rules import KeyRules
from playground.services.keys import create_key
from tests.fakes import upstream as scripts
from tests.fakes.comfyui import FakeComfyUi
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.pictures import png
from tests.fakes.upstream import ScriptedUpstream
from tests.fakes.webui import FakeWebUi

from .images import ADDRESS, PATIENCE, draw, nothing_left, pictures, sentence, told

pytestmark = pytest.mark.django_db(transaction=True)
PNG = b"\x89PNG\r\n\x1a\n"
Painter = FakeComfyUi | FakeWebUi


@pytest.fixture(autouse=True)
async def _nothing_is_left(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(comfyui, "LOOK_S", 0.05)
    monkeypatch.setattr(comfyui, "SOON_S", 0.01)
    monkeypatch.setattr(webui, "LOOK_S", 0.02)
    monkeypatch.setattr(departure, "WATCH_AFTER_S", 0.01)
    yield
    await nothing_left(gateway)


@pytest.fixture(params=[FakeComfyUi, FakeWebUi], ids=["comfyui", "webui"])
async def painter(request: pytest.FixtureRequest, gateway: RunningGateway) -> AsyncIterator[Painter]:
    """Either engine, ready."""
    async with request.param() as engine:
        await gateway.serve(engine.route())
        yield engine


@pytest.fixture
def records(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> list[RequestRecord]:
    """What the gateway records."""
    found: list[RequestRecord] = []
    monkeypatch.setattr(gateway.application._meter, "record", found.append)
    return found


async def test_a_picture_comes_as_base64(gateway: RunningGateway, painter: Painter) -> None:
    status, answer = await draw(gateway, seed=7)
    assert status == 200
    (picture,) = pictures(answer)
    assert picture.startswith(PNG)
    assert answer["size"] == "64x64"
    assert answer["seed"] == 7
    assert answer["output_format"] == "png"


async def test_a_picture_is_fetched_by_its_address_without_a_key_until_its_time_is_over(
    gateway: RunningGateway, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _status, answer = await draw(gateway, response_format="url")
    (entry,) = answer["data"]
    assert entry["url"].startswith(f"{gateway.url}/v1/images/files/")
    async with gateway.client.get(entry["url"], headers={"Authorization": ""}) as response:
        assert response.status == 200
        assert response.content_type == "image/png"
        assert (await response.read()).startswith(PNG)
    async with gateway.client.head(entry["url"]) as response:
        assert response.status == 200
    async with gateway.client.get(entry["url"] + "x") as response:
        assert response.status == 404
    monkeypatch.setattr(kept, "KEPT_S", -1)
    async with gateway.client.get(entry["url"]) as response:
        assert response.status == 404
        assert "no such image any more" in (await response.json())["error"]["message"]


async def test_redis_forgets_a_picture_after_an_hour(gateway: RunningGateway, painter: Painter) -> None:
    await draw(gateway, response_format="url")
    (key,) = gateway.redis.keys("berth:image:*")
    assert 3590 <= gateway.redis.ttl(key) <= 3600


async def test_the_oldest_pictures_go_when_there_are_too_many(
    gateway: RunningGateway, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_IMAGES", 2)
    _status, answer = await draw(gateway, response_format="url", n=3)
    statuses = []
    for entry in answer["data"]:
        async with gateway.client.get(entry["url"]) as response:
            statuses.append(response.status)
    assert statuses == [404, 200, 200]


async def test_a_signed_address_of_nothing_is_404(gateway: RunningGateway, painter: Painter) -> None:
    address = kept.PATH + TimestampSigner(salt=kept._SIGNER_SALT).sign("nothing")
    async with gateway.client.get(address) as response:
        assert response.status == 404


async def test_without_redis_an_address_is_refused_and_base64_still_works(
    gateway: RunningGateway, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = gateway.application._images
    assert images is not None

    class Away:
        async def eval(self, *_arguments: object) -> None:
            raise ConnectionRefusedError

        async def aclose(self) -> None: ...

    monkeypatch.setattr(images.kept, "_redis", Away())
    assert "Redis is away" in await sentence(gateway, 503, response_format="url")
    assert (await draw(gateway))[0] == 200


async def test_several_pictures_are_several(gateway: RunningGateway, painter: Painter) -> None:
    _status, answer = await draw(gateway, n=3)
    assert len(set(pictures(answer))) == 3


async def test_the_official_client_draws(gateway: RunningGateway, painter: Painter) -> None:
    openai = pytest.importorskip("openai")
    secret = gateway.client.headers["Authorization"].removeprefix("Bearer ")
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client:
        answer = await client.images.generate(model="painter", prompt="a boat", size="512x512", n=2)
        assert answer.data is not None
        assert [base64.b64decode(image.b64_json or "")[:8] for image in answer.data] == [PNG, PNG]
        stream = await client.images.generate(model="painter", prompt="a boat", size="512x512", stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events] == ["image_generation.completed"]
    assert base64.b64decode(events[0].b64_json).startswith(PNG)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": "1000x1001"}, "WIDTHxHEIGHT"),
        ({"size": "8x8"}, "from 64 to 4096"),
        ({"size": "4096x4096"}, "8388608 pixels"),
        ({"size": 512}, "WIDTHxHEIGHT"),
        ({"n": 0}, "from 1 to 10"),
        ({"n": True}, "from 1 to 10"),
        ({"steps": 151}, "from 1 to 150"),
        ({"guidance": 31}, "from 0 to 30"),
        ({"cfg_scale": "7"}, "from 0 to 30"),
        ({"seed": -2}, "from 0 to 4294967295"),
        ({"seed": 1.5}, "from 0 to 4294967295"),
        ({"prompt": " "}, "'prompt' must be a text"),
        ({"prompt": "a" * 32_001}, "more than 32000 characters"),
        ({"negative_prompt": 1}, "'negative_prompt' must be a text"),
        ({"response_format": "png"}, "b64_json or url"),
    ],
    ids=str,
)
async def test_what_cannot_be_drawn_is_refused_before_the_engine_is_asked(
    gateway: RunningGateway, changes: dict[str, Any], words: str
) -> None:
    async with FakeWebUi() as engine:
        await gateway.serve(engine.route())
        status, answer = await draw(gateway, **changes)
    assert status == 400
    assert words in answer["error"]["message"]
    assert answer["error"]["param"] == next(iter(changes)).replace("cfg_scale", "guidance")
    assert engine.asked == []


async def test_refusals_are_in_the_readers_language(gateway: RunningGateway) -> None:
    """Their parts too: a sentence that was put together early would stay in English."""
    async with FakeComfyUi() as engine:
        await gateway.serve(engine.route(workflow="{}"))
        headers = {"Accept-Language": "zh-hans"}
        body = {"model": "painter", "prompt": "a"}
        async with gateway.client.post(ADDRESS, json=body, headers=headers, timeout=PATIENCE) as response:
            assert response.status == 502
            assert "BERTH_WORKFLOW" in (await response.json())["error"]["message"]


async def test_a_stream_tells_progress_in_comments_and_ends_with_the_picture(
    gateway: RunningGateway, painter: Painter
) -> None:
    painter.steps = 4
    if isinstance(painter, FakeWebUi):
        # What it tells is looked at now and then.
        painter.go_on.clear()
    body = {"model": "painter", "prompt": "a", "size": "64x64", "stream": True}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        painter.go_on.set()
        comments, events = told(await response.read())
    assert comments
    assert all(comment["step"] <= max(comment["steps"], 0) for comment in comments)
    assert [event["type"] for event in events] == ["image_generation.completed"]
    assert base64.b64decode(events[0]["b64_json"]).startswith(PNG)


async def test_images_are_metered_and_count_as_one_request(
    gateway: RunningGateway, painter: Painter, records: list[RequestRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted: list[dict[str, Any]] = []
    admit = gateway.application._admission.admit

    async def spy(caller: Any, **asked: Any) -> Any:
        admitted.append(asked)
        return await admit(caller, **asked)

    monkeypatch.setattr(gateway.application._admission, "admit", spy)
    await draw(gateway, n=2)
    await sentence(gateway, 400, size="1x1")
    await until(lambda: len(records) == 2)
    assert [(record.endpoint, record.status, record.config) for record in records] == [
        ("images", 200, "painter"),
        ("images", 400, "painter"),
    ]
    assert records[0].prompt_tokens is None
    # Their cost is no number of tokens: limits of requests hold, those of tokens do not.
    assert [(each["endpoint"], each["max_tokens"]) for each in admitted] == [("images", 0), ("images", 0)]


async def test_a_client_that_leaves_ends_its_own_work(
    gateway: RunningGateway, painter: Painter, records: list[RequestRecord]
) -> None:
    painter.go_on.clear()
    asking = asyncio.create_task(draw(gateway))
    await asyncio.wait_for(painter.began.wait(), 5)
    asking.cancel()
    await until(lambda: len(painter.interrupted) == 1)
    await until(lambda: len(records) == 1)
    assert records[0].status == CLIENT_LEFT
    if isinstance(painter, FakeComfyUi):
        # Nor does it keep the prompt.
        await until(lambda: painter.history == {})


async def test_a_client_that_leaves_does_not_end_the_work_of_others(gateway: RunningGateway, painter: Painter) -> None:
    painter.go_on.clear()
    if isinstance(painter, FakeComfyUi):
        painter.queue_for_others()
        others = None
    else:
        others = asyncio.create_task(painter.draw_for_others())
    await asyncio.wait_for(painter.began.wait(), 5)
    asking = asyncio.create_task(draw(gateway))
    waits = painter.pending if isinstance(painter, FakeComfyUi) else painter.pending_tasks
    await until(lambda: len(painter.pending if isinstance(painter, FakeComfyUi) else waits) == 1)
    asking.cancel()
    if isinstance(painter, FakeComfyUi):
        # Taken out of the queue before its turn.
        await until(lambda: len(painter.pending) == 0)
        assert painter.interrupts == []
        painter.go_on.set()
        await until(lambda: len(painter.history) == 1)
    else:
        # It can only be ended once it runs.
        await asyncio.sleep(0.1)
        assert painter.interrupts == 0
        painter.go_on.set()
    if others is not None:
        await others
    assert "task(somebody-else)" not in painter.interrupted


async def test_waiting_for_others_is_told_as_waiting(gateway: RunningGateway, painter: Painter) -> None:
    painter.go_on.clear()
    others = None
    if isinstance(painter, FakeComfyUi):
        painter.queue_for_others()
    else:
        others = asyncio.create_task(painter.draw_for_others())
    await asyncio.wait_for(painter.began.wait(), 5)
    body = {"model": "painter", "prompt": "a", "size": "64x64", "stream": True}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        first = await response.content.readuntil(b"\n\n")
        painter.go_on.set()
        rest = await response.read()
    assert json.loads(first.removeprefix(b": progress ")) == {"step": 0, "steps": 0}
    assert told(rest)[1][0]["type"] == "image_generation.completed"
    if others is not None:
        await others


async def test_an_engine_that_says_nothing_ends_with_504(
    gateway: RunningGateway, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = gateway.application._images
    assert images is not None
    monkeypatch.setattr(images, "_silence_s", 0.2)
    painter.go_on.clear()
    assert "fell silent" in await sentence(gateway, 504)
    await until(lambda: len(painter.interrupted) == 1)


async def test_a_silent_engine_ends_a_stream_with_an_error(
    gateway: RunningGateway, painter: Painter, monkeypatch: pytest.MonkeyPatch, records: list[RequestRecord]
) -> None:
    images = gateway.application._images
    assert images is not None
    monkeypatch.setattr(images, "_silence_s", 0.3)
    painter.go_on.clear()
    if isinstance(painter, FakeComfyUi):
        painter.queue_for_others()
        await asyncio.wait_for(painter.began.wait(), 5)
    body = {"model": "painter", "prompt": "a", "size": "64x64", "stream": True}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        await response.content.readuntil(b"\n\n")
        if isinstance(painter, FakeComfyUi):
            # The other one ends, and ours hangs.
            painter.hangs_at = 2
            painter.go_on.set()
        stream = await response.read()
    assert stream.endswith(b"data: [DONE]\n\n")
    assert "fell silent" in told(stream)[1][-1]["error"]["message"]
    await until(lambda: len(records) == 1)
    assert records[0].status == 504


async def test_an_engine_that_is_away_is_502(gateway: RunningGateway, painter: Painter) -> None:
    await gateway.serve(painter.route(endpoint="http://127.0.0.1:9"), version=2)
    assert "cannot be reached" in await sentence(gateway, 502)


async def test_another_replica_is_asked_when_one_dies(gateway: RunningGateway) -> None:
    async with FakeWebUi(dies="before") as broken, FakeWebUi() as whole:
        await gateway.serve(broken.route(1), whole.route(2))
        answers = [await draw(gateway) for _each in range(4)]
    assert [status for status, _answer in answers] == [200] * 4


async def test_too_little_memory_of_the_gateway_is_503(
    gateway: RunningGateway, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.application.budget, "limit_bytes", 150)
    body = {"model": "painter", "prompt": "a", "size": "64x64"}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        assert response.status == 503
        assert "too many large answers" in (await response.json())["error"]["message"]


async def test_the_defaults_of_the_config_hold_for_what_is_left_open(gateway: RunningGateway) -> None:
    defaults = {"size": "512x768", "steps": 4, "guidance": 1.5, "negative_prompt": "blurry"}
    async with FakeWebUi() as engine:
        await gateway.serve(engine.route(image_defaults=json.dumps(defaults)))
        await draw(gateway, size="auto")
        await draw(gateway, size="64x64", steps=9, guidance=3, negative_prompt="")
        names = ("width", "height", "steps", "cfg_scale", "negative_prompt")
        asked = [tuple(each[name] for name in names) for each in engine.asked]
        await gateway.serve(engine.route(image_defaults='{"size": "1x1"}'), version=2)
        message = await sentence(gateway, 502)
    assert asked == [(512, 768, 4, 1.5, "blurry"), (64, 64, 9, 3.0, "")]
    assert "BERTH_IMAGE_DEFAULTS of painter is wrong" in message
    assert "Correct it in the config." in message


@pytest.mark.parametrize("changes", [{}, {"response_format": "url"}, {"stream": True}], ids=str)
async def test_localais_own_addresses_never_reach_a_client(gateway: RunningGateway, changes: dict[str, Any]) -> None:
    picture = base64.b64encode(png()).decode()
    async with ScriptedUpstream(scripts.telling({"created": 1, "data": [{"b64_json": picture}]})) as engine:
        await gateway.serve(engine.route(config="painter", protocol="openai-image", engine="localai", keyed=True))
        body = {"model": "painter", "prompt": "a|b", "size": "64x64", "step": 3, **changes}
        async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
            assert response.status == 200
            raw = await response.read()
        if changes.get("stream"):
            assert told(raw)[1][0]["b64_json"] == picture
        elif changes:
            async with gateway.client.get(json.loads(raw)["data"][0]["url"], timeout=PATIENCE) as response:
                assert await response.read() == png()
        else:
            assert pictures(json.loads(raw)) == [png()]
    asked = engine.seen[0].json
    assert (asked["model"], asked["response_format"], asked["step"]) == ("served-tiny", "b64_json", 3)
    assert engine.seen[0].headers["authorization"].startswith("Bearer ")


async def test_a_large_request_to_localai_has_to_ask_for_base64(gateway: RunningGateway) -> None:
    content = {"created": 1, "data": [{"b64_json": "AAAA"}]}
    async with ScriptedUpstream(scripts.telling(content)) as engine:
        await gateway.serve(engine.route(config="painter", protocol="openai-image", engine="localai"))
        body = {"model": "painter", "prompt": "a", "file": "A" * LARGE_BYTES}
        for wanted in ({}, {"response_format": "url"}):
            async with gateway.client.post(ADDRESS, json={**body, **wanted}, timeout=PATIENCE) as response:
                assert response.status == 400
                assert "response_format b64_json" in (await response.json())["error"]["message"]
        body["response_format"] = "b64_json"
        async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
            assert await response.json() == content
    assert [seen.json["response_format"] for seen in engine.seen] == ["b64_json"]


async def test_a_picture_has_the_address_that_was_given_for_clients(
    gateway: RunningGateway, painter: Painter, settings: Settings
) -> None:
    settings.BERTH_GATEWAY_URL, settings.BERTH_GATEWAY_POINTER = "https://models.example", ""
    _status, answer = await draw(gateway, response_format="url")
    url = answer["data"][0]["url"]
    assert url.startswith("https://models.example/v1/images/files/")
    async with gateway.client.get(gateway.url + url.removeprefix("https://models.example")) as response:
        assert response.status == 200


async def test_localai_is_asked_for_base64_as_it_is(gateway: RunningGateway) -> None:
    content = {"created": 1, "id": "x", "data": [{"b64_json": "AAAA"}]}
    async with ScriptedUpstream(scripts.telling(content)) as engine:
        await gateway.serve(engine.route(config="painter", protocol="openai-image", engine="localai"))
        body = {"model": "painter", "prompt": "a", "response_format": "b64_json", "file": "x"}
        async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
            assert await response.read() == json.dumps(content).encode()
    assert engine.seen[0].json == {**body, "model": "served-tiny"}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"error": {"message": "CUDA error: out of memory"}}, 500, "too little free memory"),
        ({"data": [{"url": "http://localhost/x.png"}]}, 200, "answered without an image"),
    ],
)
async def test_localai_that_fails_says_why(
    gateway: RunningGateway, answer: dict[str, Any], status: int, words: str
) -> None:
    async with ScriptedUpstream(scripts.telling(answer, status=status)) as engine:
        await gateway.serve(engine.route(config="painter", protocol="openai-image", engine="localai"))
        assert words in await sentence(gateway, 502)


async def test_a_keys_scope_and_limit_hold_for_images(
    gateway: RunningGateway, painter: Painter, redis_server: redis.Redis
) -> None:
    seconds, _micro = redis_server.time()
    # A minute of Redis's clock that does not end soon: what is admitted is counted for one minute.
    if seconds % 60 > 55:
        await asyncio.sleep(60.05 - seconds % 60)
    actor = Actor.command_line()
    one = await sync_to_async(create_key)("one", actor=actor, rules=KeyRules(requests_per_minute=1))
    talks = await sync_to_async(create_key)("talks", actor=actor, rules=KeyRules(endpoints=("chat",)))
    body = {"model": "painter", "prompt": "a", "size": "64x64"}
    statuses = []
    for key in (one, one, talks):
        headers = {"Authorization": f"Bearer {key.secret}"}
        async with gateway.client.post(ADDRESS, json=body, headers=headers, timeout=PATIENCE) as response:
            statuses.append(response.status)
    assert statuses == [200, 429, 403]


async def test_many_clients_that_leave_at_any_moment_leave_nothing(gateway: RunningGateway, painter: Painter) -> None:
    """What is left is looked at after each test: requests, bytes, turns, tasks."""
    painter.steps = 3
    asking = [asyncio.create_task(draw(gateway, stream=number % 2 == 0)) for number in range(40)]
    for number, task in enumerate(asking):
        # Spread over the life of the requests; not a wait for anything.
        await asyncio.sleep(0.002 * (number % 5))
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await nothing_left(gateway)
    if isinstance(painter, FakeComfyUi):
        await until(lambda: painter.running is None and not painter.pending)
    assert (await draw(gateway))[0] == 200


async def test_a_key_for_images_may_edit_them_too(gateway: RunningGateway) -> None:
    rules = KeyRules(endpoints=("images",))
    key = await sync_to_async(create_key)("draws", actor=Actor.command_line(), rules=rules)
    form = aiohttp.FormData({"model": "painter", "prompt": "a hat"})
    form.add_field("image", png(), filename="a.png", content_type="image/png")
    async with ScriptedUpstream(scripts.telling({"data": [{"b64_json": "AAAA"}]})) as engine:
        await gateway.serve(engine.route(config="painter", protocol="openai-image", engine="custom"))
        headers = {"Authorization": f"Bearer {key.secret}"}
        async with gateway.client.post("/v1/images/edits", data=form, headers=headers, timeout=PATIENCE) as response:
            assert response.status == 200
