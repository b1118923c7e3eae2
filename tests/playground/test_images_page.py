"""The page of images: composer, gallery, drawer, downloads; each for its owner and nobody else."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image

from deployments.actors import Actor
from deployments.exceptions import NotAllowedError, NotFoundError
from deployments.models import AuditEntry
from playground.drawing.settings import DrawingSettings
from playground.models import Answer, Conversation, Message, Picture
from playground.services.drawing import delete_image, delete_images_of, draw
from tests.playground.chatting import begin
from tests.playground.conftest import make_person
from tests.playground.test_chat_pages import finish, signed_in
from tests.playground.test_playground_page import a_config, a_run
from tests.playground.test_taking_pictures import painted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
PAGE = "/playground/images/"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202eevil"


def requested(person: User, prompt: str = "a boat", **settings: Any) -> Answer:
    """A request of ``person`` that waits."""
    return draw(prompt, config="painter", settings=DrawingSettings(**settings), actor=Actor.person(person))


def drawn(person: User, prompt: str = "a boat", *, count: int = 1, kind: str = "PNG", **settings: Any) -> list[Picture]:
    """Images as the task keeps them."""
    answer = requested(person, prompt, count=count, **settings)
    content = painted(kind)
    for number in range(1, count + 1):
        picture = Picture.objects.create(
            owner=person,
            name=str(number),
            media_type=f"image/{kind.lower()}",
            width=40,
            height=20,
            size_bytes=len(content),
            content=content,
        )
        picture.messages.add(answer.message_id)
    finish(answer.pk, "", seed=17, duration_ms=1200)
    return list(Picture.objects.filter(messages=answer.pk))


@pytest.fixture
def client(operator: User) -> Client:
    a_run(a_config("painter", protocol="openai-image", model="Tiny-SD"))
    return signed_in(operator)


def shown(client: Client, query: str = "", **options: Any) -> str:
    answer = client.get(PAGE + query, **options)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_without_a_config_the_page_says_what_to_start(operator: User) -> None:
    page = shown(signed_in(operator))
    assert "Start a config that draws: one of the protocol openai-image." in page
    assert "?protocol=openai-image" in page


def test_a_request_stands_first_in_the_gallery(client: Client) -> None:
    written = {"prompt": "a lighthouse", "config": "painter", "count": "2", "seed": "", "size": "512×512", "steps": "9"}
    answer = client.post(f"{PAGE}draw/", written, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    row = Answer.objects.select_related("message__parent", "message__conversation").get()
    assert row.settings == {"size": "512x512", "count": 2, "steps": 9}
    assert row.message.parent is not None
    assert row.message.parent.content == "a lighthouse"
    assert row.message.conversation.purpose == Conversation.Purpose.IMAGES
    assert f'data-image-job="{row.pk}"' in answer.content.decode()
    assert f'data-image-job="{row.pk}"' in shown(client)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": " "}, "A prompt has between 1 and 32000 characters."),
        ({"size": "10x10"}, "“size” is WIDTHxHEIGHT"),
        ({"count": "11"}, "“count” must be a number from 1 to 10."),
        ({"seed": "-1"}, "“seed” must be a number"),
        ({"steps": "many"}, "“steps” must be a number"),
        ({"guidance": "nan"}, "“guidance” must be a number"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_what_was_written_stays(
    client: Client, changes: dict[str, str], sentence: str
) -> None:
    written = {"prompt": "a lighthouse", "config": "painter", "count": "1", "negative": "fog", **changes}
    answer = client.post(f"{PAGE}draw/", written)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert 'value="fog"' in answer.content.decode()
    assert not Answer.objects.exists()


def test_the_drawer_tells_how_an_image_was_made(client: Client, operator: User) -> None:
    _first, second = drawn(operator, count=2, negative="fog", steps=9, guidance=0.0)
    page = shown(client, f"?image={second.pk}")
    for words in ("fog", "painter", "17", "image 2 of 2", "<dd>9</dd>", "1200 ms"):
        assert words in page
    part = client.get(f"{PAGE}{second.pk}/", headers={"HX-Request": "true"}).content.decode()
    assert "data-image-drawer" in part
    assert "<html" not in part


def test_again_with_this_seed_fills_the_composer(client: Client, operator: User) -> None:
    drawn(operator, "a red boat", steps=9)
    again = Answer.objects.get().pk
    assert 'name="seed" min="0" max="4294967295" value="17"' in shown(client, f"?again={again}&seed=1")
    page = shown(client, f"?again={again}")
    assert 'name="seed" min="0" max="4294967295" value=""' in page
    assert ">a red boat</textarea>" in page
    assert 'name="steps" min="1" max="150" value="9"' in page


def test_hostile_words_are_text(client: Client, operator: User) -> None:
    (picture,) = drawn(operator, HOSTILE, negative=HOSTILE)
    failed = requested(operator, HOSTILE)
    Answer.objects.filter(pk=failed.pk).update(state="failed", error=HOSTILE)
    page = shown(client, f"?image={picture.pk}")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_editing_is_offered_only_where_an_engine_can(client: Client, operator: User) -> None:
    (picture,) = drawn(operator)
    assert "?edit=" not in shown(client, f"?image={picture.pk}")
    editor = a_config("editor", protocol="openai-image", model="Tiny-SD")
    editor.engine = "custom"
    editor.save()
    run = a_run(editor)
    run.spec = editor.serving_spec().to_json()
    run.save()
    assert f"?edit={picture.pk}" in shown(client, f"?image={picture.pk}")
    page = shown(client, f"?edit={picture.pk}")
    assert f'name="source" value="{picture.pk}"' in page
    assert '<option value="editor" selected>' in page


def test_a_png_is_downloaded_with_how_it_was_made(client: Client, operator: User) -> None:
    (picture,) = drawn(operator, "ein Schiff 船", negative="fog", steps=9, guidance=4.5)
    answer = client.get(f"{PAGE}{picture.pk}/image.file")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="image-{picture.pk}.png"'
    with Image.open(io.BytesIO(answer.content)) as image:
        image.load()
        texts = image.text  # type: ignore[attr-defined]  # of PNG files
    assert texts["parameters"] == (
        "ein Schiff 船\nNegative prompt: fog\nSteps: 9, CFG scale: 4.5, Seed: 17, Size: 40x20, Model: painter"
    )
    facts = json.loads(texts["berth"])
    assert (facts["prompt"], facts["seed"], facts["config"]) == ("ein Schiff 船", 17, "painter")
    assert client.get(f"{PAGE}{picture.pk}/image.json").json() == facts


def test_other_formats_are_downloaded_as_they_came(client: Client, operator: User) -> None:
    (picture,) = drawn(operator, kind="JPEG")
    answer = client.get(f"{PAGE}{picture.pk}/image.file")
    assert (answer.headers["Content-Type"], answer.content) == ("image/jpeg", painted("JPEG"))
    assert client.get(f"{PAGE}{picture.pk}/image.exe").status_code == 404


def test_nobody_else_sees_or_deletes_them(client: Client, operator: User) -> None:
    (picture,) = drawn(operator)
    answer = Answer.objects.get()
    other = make_person("other", "operator")
    theirs = signed_in(other)
    assert "image-tile" not in shown(theirs)
    for path in (f"{picture.pk}/image.file", f"{picture.pk}/image.json", f"jobs/{answer.pk}/", f"?image={picture.pk}"):
        assert theirs.get(PAGE + path).status_code == 404
    assert theirs.get(f"/playground/pictures/{picture.pk}/").status_code == 404
    for path in (f"{picture.pk}/delete/", f"jobs/{answer.pk}/delete/"):
        assert theirs.post(PAGE + path).status_code == 404
    with pytest.raises(NotFoundError):
        delete_image(picture.pk, actor=Actor.person(other))
    assert Picture.objects.count() == 1


def test_who_may_only_look_draws_and_deletes_nothing(client: Client, viewer: User) -> None:
    looking = signed_in(viewer)
    assert "aria-disabled" in shown(looking)
    assert looking.post(f"{PAGE}draw/", {"prompt": "x", "config": "painter"}).status_code == 403
    with pytest.raises(NotAllowedError):
        requested(viewer)
    for deleted in (delete_image, delete_images_of):
        with pytest.raises((NotAllowedError, NotFoundError)):
            deleted(1, actor=Actor.person(viewer))


def test_the_last_image_takes_its_request_along(client: Client, operator: User) -> None:
    first, second = drawn(operator, count=2)
    assert client.post(f"{PAGE}{first.pk}/delete/").status_code == 303
    assert Conversation.objects.count() == 1
    assert client.post(f"{PAGE}{second.pk}/delete/").status_code == 303
    assert not Conversation.objects.exists()
    assert not Message.objects.exists()
    assert AuditEntry.objects.filter(action="image.delete").count() == 2


def test_a_request_under_way_is_stopped_first(client: Client, operator: User) -> None:
    answer = requested(operator)
    assert client.post(f"{PAGE}jobs/{answer.pk}/delete/").status_code == 409
    Answer.objects.filter(pk=answer.pk).update(state="failed", error="out of memory")
    assert "out of memory" in shown(client)
    assert client.post(f"{PAGE}jobs/{answer.pk}/delete/").status_code == 303
    assert not Answer.objects.exists()


def test_chats_and_what_they_show_are_no_images(client: Client, operator: User) -> None:
    from tests.playground.chatting import a_config as a_chat

    a_chat()
    begin(operator)
    assert "image-job" not in shown(client)
    (_picture,) = drawn(operator)
    assert "a boat" not in client.get("/playground/").content.decode()


def test_the_gallery_costs_the_same_queries_however_much_is_in_it(client: Client, operator: User) -> None:
    drawn(operator)
    with CaptureQueriesContext(connection) as few:
        shown(client)
    for number in range(7):
        drawn(operator, f"boat {number}", count=2)
    with CaptureQueriesContext(connection) as many:
        shown(client)
    assert len(many) == len(few) <= 14


def test_older_images_are_on_the_next_page(client: Client, operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.selectors_images.LISTED", 2)
    for number in range(3):
        drawn(operator, f"boat {number}")
    page = shown(client)
    assert "boat 2" in page
    assert "boat 0" not in page
    second = list(Answer.objects.order_by("-pk"))[1]
    assert f"?before={second.pk}" in page
    older = shown(client, f"?before={second.pk}")
    assert "boat 0" in older
    assert "boat 1" not in older
