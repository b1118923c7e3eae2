"""Stable Diffusion web UI's lock, tasks, progress and errors, as the gateway meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from playground.gateway import departure
from playground.gateway.images import webui
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.pictures import png
from tests.fakes.webui import OUT_OF_MEMORY, FakeWebUi

from .images import ADDRESS, PATIENCE, draw, nothing_left, pictures, sentence, told

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _nothing_is_left(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(webui, "LOOK_S", 0.02)
    monkeypatch.setattr(departure, "WATCH_AFTER_S", 0.01)
    yield
    await nothing_left(gateway)


@pytest.fixture
async def engine(gateway: RunningGateway) -> AsyncIterator[FakeWebUi]:
    async with FakeWebUi() as server:
        await gateway.serve(server.route())
        yield server


async def test_the_engine_gets_what_the_request_says(gateway: RunningGateway, engine: FakeWebUi) -> None:
    changes = {"negative_prompt": "fog", "seed": 5, "steps": 8, "guidance": 4.5, "size": "512x256", "n": 2}
    await draw(gateway, prompt="a boat", **changes)
    (asked,) = engine.asked
    expected = {
        "prompt": "a boat",
        "negative_prompt": "fog",
        "seed": 5,
        "steps": 8,
        "cfg_scale": 4.5,
        "width": 512,
        "height": 256,
        "n_iter": 2,
        "batch_size": 1,
        "save_images": False,
        "override_settings": {"sd_model_checkpoint": "v1-5-pruned.safetensors [6ce0161689]"},
    }
    assert {name: asked[name] for name in expected} == expected


async def test_seeds_are_random_unless_they_are_named(gateway: RunningGateway, engine: FakeWebUi) -> None:
    seeds = [(await draw(gateway, seed=seed))[1]["seed"] for seed in (None, -1)]
    assert len(set(seeds)) == 2
    assert [asked["seed"] for asked in engine.asked] == seeds


async def test_a_grid_is_left_out(gateway: RunningGateway, engine: FakeWebUi) -> None:
    engine.has_grid = True
    _status, answer = await draw(gateway, n=2)
    assert len(answer["data"]) == 2
    assert png(255) not in pictures(answer)


async def test_a_missing_checkpoint_names_those_that_are_there(gateway: RunningGateway, engine: FakeWebUi) -> None:
    await gateway.serve(engine.route(served_name="sdxl"), version=2)
    message = await sentence(gateway, 502)
    assert "no checkpoint called sdxl" in message
    assert "There are: v1-5-pruned" in message
    assert engine.asked == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ((500, OUT_OF_MEMORY), "too little free memory"),
        ((500, {"error": "HTTPException", "detail": "Sampler not found", "errors": ""}), "Sampler not found"),
        ((422, {"detail": [{"loc": ["body", "steps"], "msg": "value is not a valid integer"}]}), "body.steps value is"),
        ((404, {"detail": "Not Found"}), "Not Found"),
        ((200, {"images": []}), "answered without an image"),
        ((200, [1]), "answered without an image"),
    ],
    ids=lambda each: str(each)[:30],
)
async def test_an_error_of_the_engine_is_told_in_its_words(
    gateway: RunningGateway, engine: FakeWebUi, failure: tuple[int, Any], words: str
) -> None:
    engine.failure = failure
    assert words in await sentence(gateway, 502)
    assert engine.interrupts == 0


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_engine_that_dies_is_502(gateway: RunningGateway, engine: FakeWebUi, moment: str) -> None:
    engine.dies = moment
    assert "broke off" in await sentence(gateway, 502)


async def test_two_requests_go_one_after_the_other_and_each_hears_of_its_own(
    gateway: RunningGateway, engine: FakeWebUi
) -> None:
    engine.go_on.clear()
    body = {"model": "painter", "size": "64x64", "stream": True}

    async def ask(prompt: str, steps: int) -> list[dict[str, Any]]:
        async with gateway.client.post(
            ADDRESS, json={**body, "prompt": prompt, "steps": steps}, timeout=PATIENCE
        ) as response:
            return told(await response.read())[0]

    first = asyncio.create_task(ask("one", 11))
    await asyncio.wait_for(engine.began.wait(), 5)
    second = asyncio.create_task(ask("two", 22))
    await until(lambda: gateway.in_flight == {1: 2} and engine.looks > 0)
    engine.go_on.set()
    one, two = await asyncio.gather(first, second)
    assert [asked["prompt"] for asked in engine.asked] == ["one", "two"]
    assert {comment["steps"] for comment in one} <= {0, 11}
    assert {comment["steps"] for comment in two} <= {0, 22}
    assert 11 in {comment["steps"] for comment in one}


async def test_one_that_leaves_the_line_leaves_the_others_alone(gateway: RunningGateway, engine: FakeWebUi) -> None:
    engine.go_on.clear()
    first = asyncio.create_task(draw(gateway))
    await asyncio.wait_for(engine.began.wait(), 5)
    second = asyncio.create_task(draw(gateway))
    await until(lambda: gateway.in_flight == {1: 2})
    second.cancel()
    await until(lambda: gateway.in_flight == {1: 1})
    engine.go_on.set()
    assert (await first)[0] == 200
    assert engine.interrupts == 0
    assert len(engine.asked) == 1


async def test_a_server_without_pages_draws_and_is_never_interrupted(gateway: RunningGateway) -> None:
    """It cannot be known whose work it is that runs."""
    async with FakeWebUi(pages=False) as engine:
        await gateway.serve(engine.route())
        assert (await draw(gateway))[0] == 200
        engine.go_on.clear()
        engine.began.clear()
        asking = asyncio.create_task(draw(gateway))
        await asyncio.wait_for(engine.began.wait(), 5)
        asking.cancel()
        await nothing_left(gateway)
        assert engine.interrupts == 0
