"""ComfyUI's queue, websocket, history and refusals, as the gateway meets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments.images.workflow import shipped_workflow
from playground.gateway import departure
from playground.gateway.images import comfyui
from tests.fakes.comfyui import OUT_OF_MEMORY, FakeComfyUi
from tests.fakes.gateway import RunningGateway, until

from .images import ADDRESS, PATIENCE, draw, nothing_left, pictures, sentence, told

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _nothing_is_left(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(comfyui, "LOOK_S", 0.05)
    monkeypatch.setattr(comfyui, "SOON_S", 0.01)
    monkeypatch.setattr(departure, "WATCH_AFTER_S", 0.01)
    yield
    await nothing_left(gateway)


@pytest.fixture
async def engine(gateway: RunningGateway) -> AsyncIterator[FakeComfyUi]:
    async with FakeComfyUi() as server:
        await gateway.serve(server.route())
        yield server


async def test_the_shipped_workflow_gets_what_the_request_says(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    changes = {"negative_prompt": "fog", "seed": 5, "steps": 8, "guidance": 4.5, "size": "512x256", "n": 2}
    await draw(gateway, prompt='a "%seed%" sign', **changes)
    (item,) = engine.queued
    assert item.prompt["prompt"]["inputs"]["text"] == 'a "%seed%" sign'
    assert item.prompt["negative"]["inputs"]["text"] == "fog"
    assert item.prompt["checkpoint"]["inputs"]["ckpt_name"] == "tiny.safetensors"
    assert item.prompt["latent"]["inputs"] == {"width": 512, "height": 256, "batch_size": 2}
    sampler = item.prompt["sampler"]["inputs"]
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (5, 8, 4.5)


async def test_a_workflow_without_batches_runs_once_for_each_image(
    gateway: RunningGateway, engine: FakeComfyUi
) -> None:
    workflow = json.loads(shipped_workflow())
    workflow["latent"]["inputs"]["batch_size"] = 1
    workflow["prompt"]["inputs"]["text"] = "photo of %prompt%, %width% wide"
    await gateway.serve(engine.route(workflow=json.dumps(workflow)), version=2)
    _status, answer = await draw(gateway, n=3, seed=10)
    assert len(set(pictures(answer))) == 3
    assert [item.prompt["sampler"]["inputs"]["seed"] for item in engine.queued] == [10, 11, 12]
    assert engine.queued[0].prompt["prompt"]["inputs"]["text"] == "photo of a lighthouse, 64 wide"


async def test_the_engine_keeps_no_prompt(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    await draw(gateway)
    await until(lambda: len(engine.queued) == 1 and engine.history == {})


async def test_progress_comes_step_by_step_from_the_websocket(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.steps = 4
    body = {"model": "painter", "prompt": "a", "size": "64x64", "stream": True}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        comments, _events = told(await response.read())
    assert comments == [{"step": step, "steps": 4} for step in (1, 2, 3, 4)]


async def test_a_websocket_that_breaks_loses_nothing(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.drops_sockets = True
    status, _answer = await draw(gateway, n=2)
    assert status == 200
    assert engine.sockets == {}


async def test_an_unknown_checkpoint_is_the_configs_fault(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.checkpoints = ("other.safetensors",)
    message = await sentence(gateway, 502)
    assert "ckpt_name: 'tiny.safetensors' not in ['other.safetensors']" in message
    assert "its served name is %checkpoint%" in message


async def test_a_size_that_the_engine_does_not_take_is_the_clients_fault(
    gateway: RunningGateway, engine: FakeComfyUi
) -> None:
    message = await sentence(gateway, 400, size="4096x64")
    assert "ComfyUI does not take this: EmptyLatentImage: Value 4096 bigger than max of 2048" in message


async def test_a_missing_node_is_named(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    workflow = json.loads(shipped_workflow())
    workflow["sampler"]["class_type"] = "FancySampler"
    await gateway.serve(engine.route(workflow=json.dumps(workflow)), version=2)
    message = await sentence(gateway, 502)
    assert "Node 'FancySampler' not found" in message
    assert "install the nodes that it needs" in message


@pytest.mark.parametrize("content", [{"error": "no prompt", "node_errors": []}, {}, [1]])
async def test_a_refusal_of_any_shape_is_a_sentence(gateway: RunningGateway, engine: FakeComfyUi, content: Any) -> None:
    engine.refusal = (400, content)
    assert "refused the workflow" in await sentence(gateway, 502)


async def test_an_answer_without_a_name_is_a_failure(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.refusal = (200, {"unexpected": 1})
    assert "under which name it queued" in await sentence(gateway, 502)


async def test_a_node_that_fails_says_why_and_keeps_its_trace(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.failure = ("builtins.RuntimeError", "mat1 and mat2 shapes cannot be multiplied")
    message = await sentence(gateway, 502)
    assert "KSampler: builtins.RuntimeError: mat1 and mat2 shapes cannot be multiplied" in message
    assert "secret.py" not in message
    assert engine.interrupts == []


async def test_too_little_gpu_memory_says_what_to_do(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.failure = OUT_OF_MEMORY
    message = await sentence(gateway, 502)
    assert "too little free memory" in message
    assert "Ask for a smaller size or fewer images" in message


async def test_a_failure_after_the_first_byte_ends_the_stream_with_an_error(
    gateway: RunningGateway, engine: FakeComfyUi
) -> None:
    engine.go_on.clear()
    engine.queue_for_others()
    await asyncio.wait_for(engine.began.wait(), 5)
    body = {"model": "painter", "prompt": "a", "size": "64x64", "stream": True}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        assert response.status == 200
        await response.content.readuntil(b"\n\n")
        engine.failure = OUT_OF_MEMORY
        engine.go_on.set()
        stream = await response.read()
    assert "too little free memory" in told(stream)[1][-1]["error"]["message"]
    assert stream.endswith(b"data: [DONE]\n\n")


async def test_a_workflow_without_an_image_says_what_it_lacks(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.tells_images = False
    assert "needs a node such as SaveImage" in await sentence(gateway, 502)


async def test_somebody_who_interrupts_it_in_its_own_pages_is_named(
    gateway: RunningGateway, engine: FakeComfyUi
) -> None:
    engine.go_on.clear()
    asking = asyncio.create_task(sentence(gateway, 502))
    await asyncio.wait_for(engine.began.wait(), 5)
    async with gateway.client.post(f"{engine.endpoint}/interrupt"):
        pass
    assert "somebody interrupted it" in await asking


async def test_a_queue_that_was_emptied_is_noticed(gateway: RunningGateway, engine: FakeComfyUi) -> None:
    engine.go_on.clear()
    engine.queue_for_others()
    await asyncio.wait_for(engine.began.wait(), 5)
    asking = asyncio.create_task(sentence(gateway, 502))
    await until(lambda: len(engine.pending) == 1)
    engine.pending.clear()
    assert "no longer knows the request" in await asking
    engine.go_on.set()


@pytest.mark.parametrize("moment", ["prompt", "running", "history", "view"])
async def test_an_engine_that_dies_is_502(gateway: RunningGateway, engine: FakeComfyUi, moment: str) -> None:
    engine.dies_at = moment
    assert "The server of painter" in await sentence(gateway, 502)


async def test_an_older_version_is_interrupted_only_while_ours_runs(
    gateway: RunningGateway, engine: FakeComfyUi
) -> None:
    engine.names_runs = False
    engine.go_on.clear()
    others = engine.queue_for_others()
    await asyncio.wait_for(engine.began.wait(), 5)
    asking = asyncio.create_task(draw(gateway))
    await until(lambda: len(engine.pending) == 1)
    asking.cancel()
    await until(lambda: len(engine.pending) == 0)
    engine.go_on.set()
    await until(lambda: others in engine.history)
    assert engine.interrupts == []


async def test_a_slow_look_is_no_failure(
    gateway: RunningGateway, engine: FakeComfyUi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that loads a checkpoint answers nothing for a while, and draws all the same."""
    monkeypatch.setattr(comfyui.ComfyDrawing, "_entry", _slow_once(comfyui.ComfyDrawing._entry))
    assert (await draw(gateway))[0] == 200


def _slow_once(entry: Any) -> Any:
    seen: list[str] = []

    async def look(self: Any, prompt_id: str) -> Any:
        seen.append(prompt_id)
        if len(seen) == 1:
            raise TimeoutError
        return await entry(self, prompt_id)

    return look
