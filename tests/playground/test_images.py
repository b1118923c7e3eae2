"""Images as answers of the server: made as the person, told by steps, kept once they were decoded, stopped, refused."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async

from deployments.actors import Actor
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.models import Config
from playground.answers import runner as running
from playground.answers.runner import runner
from playground.answers.storing import interrupt_dead_answers
from playground.drawing.settings import DrawingSettings
from playground.gateway import departure
from playground.gateway.images import webui
from playground.models import Answer, Picture
from playground.services import pictures
from playground.services.conversations import stop_answer
from playground.services.drawing import draw
from playground.services.pictures import take_picture
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.pictures import png
from tests.fakes.upstream import ScriptedUpstream
from tests.fakes.webui import FakeWebUi
from tests.playground.chatting import a_config, ended

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)
FULL = DrawingSettings(negative="fog", size="64x64", count=2, seed=5, steps=8, guidance=4.5)


def encoded(*images: bytes, **more: Any) -> dict[str, Any]:
    """A whole answer of OpenAI's shape."""
    return {"created": 1, "data": [{"b64_json": base64.b64encode(image).decode()} for image in images], **more}


@pytest.fixture
async def person(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[User]:
    """An operator whose images are made through ``gateway``, and the config "painter"."""
    from tests.playground.conftest import make_person

    monkeypatch.setattr(running, "gateway_url", lambda: gateway.url)
    monkeypatch.setattr(webui, "LOOK_S", 0.02)
    monkeypatch.setattr(departure, "WATCH_AFTER_S", 0.01)
    await sync_to_async(a_config)("painter", protocol="openai-image", model="Tiny-SD")
    await runner.start()
    yield await sync_to_async(make_person)("ops", "operator")
    await runner.stop()


async def asked(person: User, prompt: str = "a boat", settings: DrawingSettings = FULL) -> Answer:
    """A request that is under way."""
    return await sync_to_async(draw)(prompt, config="painter", settings=settings, actor=Actor.person(person))


async def with_engine(engine: str) -> None:
    await Config.objects.filter(name="painter").aupdate(engine=engine)


async def drawn(answer: Answer) -> list[bytes]:
    """The images that were kept."""
    rows = Picture.objects.filter(messages=answer.pk).order_by("pk")
    return [bytes(row.content) async for row in rows]


async def test_images_are_made_with_progress_and_kept_with_their_seed(gateway: RunningGateway, person: User) -> None:
    await with_engine("sd-webui")
    async with FakeWebUi(steps=8) as engine:
        engine.go_on.clear()
        await gateway.serve(engine.route())
        answer = await asked(person)
        await until(lambda: engine.current_task is not None)
        looks = engine.looks
        await until(lambda: engine.looks > looks + 1)
        engine.go_on.set()
        answer = await ended(answer.pk)
    assert (answer.state, answer.error, answer.seed) == ("done", "", 5)
    assert (answer.steps, answer.deployment_id) == (8, 1)
    assert answer.duration_ms is not None
    assert len(await drawn(answer)) == 2
    (sent,) = engine.asked
    expected = {"prompt": "a boat", "negative_prompt": "fog", "seed": 5, "steps": 8, "cfg_scale": 4.5, "n_iter": 2}
    assert {name: sent[name] for name in expected} == expected


async def test_other_servers_get_openai_s_own_request_without_what_was_left_empty(
    gateway: RunningGateway, person: User
) -> None:
    await with_engine("custom")
    async with ScriptedUpstream(scripts.telling(encoded(png(7)))) as upstream:
        await gateway.serve(upstream.route(config="painter", protocol="openai-image", engine="custom"))
        answer = await ended((await asked(person, settings=DrawingSettings())).pk)
    assert (answer.state, answer.error, answer.seed) == ("done", "", None)
    assert await drawn(answer) == [png(7)]
    assert upstream.seen[0].json == {
        "model": "served-tiny",
        "prompt": "a boat",
        "n": 1,
        "response_format": "b64_json",
    }


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([b"<svg onload=alert(1)>"], ("failed", 0, "Image 1 of the engine is no PNG, JPEG, GIF or WebP picture.")),
        ([png(1), png(2)[:40]], ("interrupted", 1, "Image 2 of the engine is no PNG, JPEG, GIF or WebP picture.")),
        ([], ("failed", 0, "the server sent no image")),
    ],
)
async def test_what_is_no_image_is_refused_and_the_others_are_kept(
    gateway: RunningGateway, person: User, images: list[bytes], expected: tuple[str, int, str]
) -> None:
    async with ScriptedUpstream(scripts.telling(encoded(*images))) as upstream:
        await gateway.serve(upstream.route(config="painter", protocol="openai-image", engine="custom"))
        answer = await ended((await asked(person)).pk)
    assert (answer.state, len(await drawn(answer)), answer.error) == expected


async def test_the_engine_s_own_sentence_is_shown(gateway: RunningGateway, person: User) -> None:
    refusal = scripts.telling({"error": {"message": "safety checker says no", "code": "unsafe"}}, status=400)
    async with ScriptedUpstream(refusal) as upstream:
        await gateway.serve(upstream.route(config="painter", protocol="openai-image", engine="custom"))
        answer = await ended((await asked(person)).pk)
    assert (answer.state, answer.error, answer.error_code) == ("failed", "safety checker says no", "unsafe")


async def test_stop_reaches_the_engine(gateway: RunningGateway, person: User) -> None:
    await with_engine("sd-webui")
    async with FakeWebUi() as engine:
        engine.go_on.clear()
        await gateway.serve(engine.route())
        answer = await asked(person)
        await until(lambda: engine.current_task is not None)
        assert await sync_to_async(stop_answer)(answer.pk, actor=Actor.person(person))
        answer = await ended(answer.pk)
        await until(lambda: engine.interrupts > 0)
    assert (answer.state, await drawn(answer)) == ("stopped", [])


async def test_a_web_that_ends_leaves_its_requests_interrupted(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.think_until_left) as upstream:
        await gateway.serve(upstream.route(config="painter", protocol="openai-image", engine="custom"))
        answer = await asked(person)
        await asyncio.wait_for(upstream.busy.wait(), 5)
        await runner.stop()
    await answer.arefresh_from_db()
    assert answer.state == "interrupted"
    assert await sync_to_async(interrupt_dead_answers)() == 0


async def test_an_edit_sends_the_picture_and_its_mask_as_files(gateway: RunningGateway, person: User) -> None:
    await with_engine("custom")
    actor = Actor.person(person)
    take = sync_to_async(take_picture)
    source = await take(png(9, width=4, height=4), name="boat.png", actor=actor)
    mask = await take(png(0, width=4, height=4, alpha=0), name="mask.png", actor=actor)
    async with ScriptedUpstream(scripts.telling(encoded(png(3)))) as upstream:
        await gateway.serve(upstream.route(config="painter", protocol="openai-image", engine="custom"))
        answer = await ended((await asked(person, settings=DrawingSettings(source=source.pk, mask=mask.pk))).pk)
    (seen,) = upstream.seen
    assert (answer.state, seen.path) == ("done", "/v1/images/edits")
    assert seen.headers["content-type"].startswith("multipart/form-data")
    for part in (b'name="image"', b'name="mask"', png(9, width=4, height=4), png(0, width=4, height=4, alpha=0)):
        assert part in seen.body
    assert await drawn(answer) == [png(3)]


async def test_masks_of_another_size_and_engines_without_edits_are_refused(person: User) -> None:
    await with_engine("custom")
    actor = Actor.person(person)
    take = sync_to_async(take_picture)
    source = await take(png(9, width=4, height=4), name="boat.png", actor=actor)
    small = await take(png(0, alpha=0), name="mask.png", actor=actor)
    with pytest.raises(InvalidInputError, match="size of its image"):
        await asked(person, settings=DrawingSettings(source=source.pk, mask=small.pk))
    with pytest.raises(InvalidInputError, match="needs the image"):
        await asked(person, settings=DrawingSettings(mask=small.pk))
    with pytest.raises(NotFoundError):
        await asked(person, settings=DrawingSettings(source=987_654))
    await with_engine("vllm")
    with pytest.raises(InvalidInputError, match="cannot edit images"):
        await asked(person, settings=DrawingSettings(source=source.pk))


async def test_nothing_is_asked_for_when_there_is_no_room_or_too_much_under_way(
    person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync_to_async(take_picture)(png(1), name="old", actor=Actor.person(person))
    monkeypatch.setattr(pictures, "MOST_BYTES_A_PERSON", 1)
    with pytest.raises(InvalidInputError, match="500 MB"):
        await asked(person)
    monkeypatch.undo()
    await runner.stop()
    for _number in range(8):
        await asked(person)
    with pytest.raises(ConflictError, match="under way"):
        await asked(person)
