"""The chat's pages and what its modules ask: each for its owner, for others, and for who may only look."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deployments.models import AuditEntry
from deployments.presentation.icons import SPRITE, drawings
from playground.models import Answer, Conversation, Message, Picture, Preset, ShareLink
from tests.playground.chatting import a_config, begin
from tests.playground.test_taking_pictures import painted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
SAY = {"config": "tiny", "settings": {"numbers": {"temperature": 0.3}}, "text": "Tides and harbours", "parent": None}


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def post(client: Client, path: str, content: Any = None) -> tuple[int, Any]:
    answer = client.post(f"/playground/{path}", json.dumps(content or {}), content_type="application/json")
    return answer.status_code, answer.json()


def finish(answer_id: int, text: str, **columns: Any) -> None:
    """As the task does at the end."""
    Answer.objects.filter(pk=answer_id).update(state="done", **columns)
    Message.objects.filter(pk=answer_id).update(content=text)


def state_of(shown: str) -> Any:
    """What the page's modules begin with."""
    found = re.search(r'id="chat-state" type="application/json">(.*?)</script>', shown, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture
def client(operator: User) -> Client:
    a_config()
    return signed_in(operator)


def test_a_first_message_begins_a_conversation_and_asks_for_an_answer(client: Client) -> None:
    status, told = post(client, "say/", SAY)
    assert status == 200
    said, answer = told["messages"]
    assert (said["role"], said["text"], said["parent"], answer["parent"]) == ("user", SAY["text"], None, said["id"])
    assert (answer["answer"]["state"], answer["answer"]["config"]) == ("waiting", "tiny")
    assert told["url"] == f"/playground/c/{told['conversation']}/"
    shown = client.get(told["url"]).content.decode()
    assert "Tides and harbours</span></h1>" in shown
    assert [each["id"] for each in state_of(shown)["messages"]] == [said["id"], answer["id"]]
    assert state_of(shown)["settings"] == SAY["settings"]


def test_a_question_waits_for_few_queries(
    client: Client, django_assert_num_queries: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_assert_num_queries(15):
        _status, first = post(client, "say/", SAY)
    finish(first["leaf"], "Yes")
    later = {**SAY, "conversation": first["conversation"], "parent": first["leaf"]}
    # With what its answer is asked with, which is read when the question is kept.
    with django_assert_num_queries(19), django_capture_on_commit_callbacks(execute=True):
        post(client, "say/", later)


def test_going_on_asking_again_and_editing_make_branches(client: Client) -> None:
    _status, first = post(client, "say/", SAY)
    said, answer = (each["id"] for each in first["messages"])
    conversation = first["conversation"]
    assert post(client, "say/", {**SAY, "conversation": conversation, "parent": said})[0] == 422
    finish(answer, "Yes")
    _status, other = post(client, "again/", {**SAY, "message": answer})
    _status, further = post(client, "say/", {**SAY, "conversation": conversation, "parent": answer, "text": "More"})
    _status, edited = post(client, "say/", {**SAY, "conversation": conversation, "text": "Other"})
    assert other["messages"][0]["parent"] == said
    assert further["messages"][0]["parent"] == answer
    assert edited["messages"][0]["parent"] is None
    tree = client.get(f"/playground/c/{conversation}/messages/").json()
    assert len(tree["messages"]) == 7
    assert tree["leaf"] == edited["leaf"]
    assert post(client, f"c/{conversation}/look/", {"leaf": further["leaf"]}) == (200, {})
    assert client.get(f"/playground/c/{conversation}/messages/").json()["leaf"] == further["leaf"]


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"text": "  "}, 422, "Write a message"),
        ({"text": 7}, 422, "has to be text"),
        ({"text": "x" * 1_000_001}, 422, "1,000,000"),
        ({"config": "nope"}, 404, "no config called nope"),
        ({"config": "flux"}, 422, "no chat"),
        ({"settings": {"numbers": {"temperature": 9}}}, 422, "temperature"),
        ({"conversation": 99}, 404, "no such conversation"),
        ({"parent": "x"}, 422, "number"),
        ({"parent": 99}, 404, "no such message"),
        ({"pictures": [99]}, 404, "picture"),
        ({"pictures": "x"}, 422, "list"),
        ({"pictures": list(range(1, 10))}, 422, "at most 8"),
    ],
)
def test_what_cannot_be_asked_is_said_and_leaves_nothing(
    client: Client, change: dict[str, Any], status: int, reason: str
) -> None:
    a_config("flux", protocol="openai-image")
    answered, told = post(client, "say/", {**SAY, **change})
    assert (answered, reason in told["error"]) == (status, True), told
    assert not Message.objects.exists()
    assert not Conversation.objects.exists()


def test_every_icon_of_the_sprite_can_be_drawn() -> None:
    sprite = (settings.BASE_DIR / "static" / SPRITE).read_text(encoding="utf-8")
    assert set(drawings()) == set(re.findall(r'<symbol[^>]* id="([^"]+)"', sprite))


def test_what_scripts_copy_draws_its_icons_itself(client: Client) -> None:
    """A copy that names the sprite is drawn a frame late."""
    page = client.get("/playground/").content.decode()
    copied = [each for each in re.findall(r"<template.*?</template>", page, re.DOTALL) if "data-turn" in each[:60]]
    assert len(copied) == 2
    for each in copied:
        assert "<use" not in each
        assert each.count("<svg") == each.count('<g fill="none"') > 0


def test_no_json_is_no_request(client: Client) -> None:
    answer = client.post("/playground/say/", "{", content_type="application/json")
    assert (answer.status_code, "not JSON" in answer.json()["error"]) == (422, True)
    assert client.get("/playground/say/").status_code == 405


def test_others_find_nothing_and_viewers_say_nothing(client: Client, admin: User, viewer: User) -> None:
    _status, told = post(client, "say/", SAY)
    conversation, answer = told["conversation"], told["leaf"]
    stranger = signed_in(admin)
    for path in ("", "messages/", "conversation.md", "conversation.json"):
        assert stranger.get(f"/playground/c/{conversation}/{path}").status_code == 404
    for path, content in (
        (f"c/{conversation}/look/", {"leaf": answer}),
        (f"answers/{answer}/stop/", {}),
        ("again/", {**SAY, "message": answer}),
        ("say/", {**SAY, "conversation": conversation, "parent": answer}),
    ):
        assert post(stranger, path, content)[0] == 404
    for path in ("rename/", "delete/", "share/"):
        assert stranger.post(f"/playground/c/{conversation}/{path}", {"title": "Mine"}).status_code == 404
    onlooker = signed_in(viewer)
    assert post(onlooker, "say/", SAY) == (403, {"error": post(onlooker, "say/", SAY)[1]["error"], "fields": {}})
    assert onlooker.get("/playground/").status_code == 200
    assert Conversation.objects.get().title == SAY["text"]


def test_conversations_are_found_by_what_was_said(client: Client, operator: User) -> None:
    first, second = begin(operator, "About tides"), begin(operator, "About ropes")
    finish(first.answer.pk, "The MOON pulls")
    listed = client.get("/playground/?part=conversations&q=moon", headers={"HX-Request": "true"}).content.decode()
    assert f"/playground/c/{first.conversation.pk}/" in listed
    assert f"/playground/c/{second.conversation.pk}/" not in listed
    nothing = client.get("/playground/?part=conversations&q=100%25", headers={"HX-Request": "true"}).content.decode()
    assert "Nothing was said about that." in nothing


def test_a_page_costs_the_same_however_much_was_said(client: Client, operator: User) -> None:
    asked = begin(operator)
    address = f"/playground/c/{asked.conversation.pk}/"
    client.get(address)
    with CaptureQueriesContext(connection) as few:
        client.get(address)
    for number in range(10):
        begin(operator, f"Another {number}") if number < 5 else None
        said = Message.objects.create(conversation=asked.conversation, parent=asked.answer.message, role="user")
        again = Message.objects.create(conversation=asked.conversation, parent=said, role="assistant")
        Answer.objects.create(message=again, config="tiny", protocol="openai-text", state="done")
    with CaptureQueriesContext(connection) as many:
        client.get(address)
    assert len(few) == len(many) <= 16


def test_renaming_and_deleting(client: Client, operator: User) -> None:
    asked = begin(operator)
    path = f"/playground/c/{asked.conversation.pk}/"
    assert client.post(f"{path}rename/", {"title": "  A  new name "}).status_code == 303
    assert Conversation.objects.get().title == "A new name"
    assert client.post(f"{path}rename/", {"title": " "}).status_code == 422
    assert client.post(f"{path}delete/").headers["Location"] == "/playground/"
    assert not Message.objects.exists()
    assert AuditEntry.objects.filter(action="conversation.delete", actor="ops").exists()
    assert client.get(path).status_code == 404


def test_a_link_shows_one_branch_to_everybody_until_it_is_revoked(client: Client, operator: User, viewer: User) -> None:
    asked = begin(operator, "Shared words")
    finish(asked.answer.pk, "An answer")
    path = f"/playground/c/{asked.conversation.pk}/"
    assert client.post(f"{path}share/").status_code == 303
    client.post(f"{path}share/")
    link = ShareLink.objects.get()
    later = begin(operator)
    Message.objects.filter(pk=later.said.pk if later.said else 0).update(conversation=asked.conversation)
    address = f"/playground/shared/{link.token}/"
    assert address in client.get(path).content.decode()
    reader = signed_in(viewer)
    state = state_of(reader.get(address).content.decode())
    assert [each["text"] for each in state["messages"]] == ["Shared words", "An answer"]
    assert Client().get(address).status_code == 302
    assert reader.post(f"/playground/links/{link.pk}/revoke/").status_code == 403
    assert client.post(f"/playground/links/{link.pk}/revoke/").status_code == 303
    assert reader.get(address).status_code == 404
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == [
        "conversation.share",
        "conversation.unshare",
    ]


def test_exports_have_what_was_said(client: Client, operator: User) -> None:
    asked = begin(operator, "Über Häfen")
    calls = [{"index": 0, "id": "", "name": "tide", "arguments": '{"a": "```"}'}]
    finish(asked.answer.pk, "**An** answer", reasoning="Hm\nso", tool_calls=calls, error="It broke off.")
    markdown = client.get(f"/playground/c/{asked.conversation.pk}/conversation.md")
    assert markdown.headers["Content-Disposition"] == 'attachment; filename="_ber-H_fen.md"'
    assert markdown.content.decode() == (
        "# Über Häfen\n\n## You\n\nÜber Häfen\n\n## tiny\n\n> *Reasoning*\n> \n> Hm\n> so\n\n**An** answer\n\n"
        '````json\ntide({"a": "```"})\n````\n\n*complete: It broke off.*\n'
    )
    told = client.get(f"/playground/c/{asked.conversation.pk}/conversation.json").json()
    assert [message["text"] for message in told["messages"]] == ["Über Häfen", "**An** answer"]
    assert told["messages"][1]["answer"]["calls"] == calls
    assert client.get(f"/playground/c/{asked.conversation.pk}/conversation.exe").status_code == 404


def test_pictures_come_and_go(client: Client, admin: User, viewer: User) -> None:
    file = SimpleUploadedFile("boat.png", painted(), content_type="text/html")
    answer = client.post("/playground/pictures/", {"picture": file, "side": ""})
    picture = answer.json()
    assert (picture["width"], picture["name"]) == (40, "boat.png")
    shown = client.get(f"/playground/pictures/{picture['id']}/")
    assert (shown.content, shown.headers["Content-Type"]) == (painted(), "image/png")
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert signed_in(admin).get(f"/playground/pictures/{picture['id']}/").status_code == 404
    lie = SimpleUploadedFile("boat.png", b"<svg/>", content_type="image/png")
    assert client.post("/playground/pictures/", {"picture": lie}).status_code == 422
    assert client.post("/playground/pictures/").status_code == 422
    _status, told = post(client, "say/", {**SAY, "pictures": [picture["id"]]})
    assert told["messages"][0]["pictures"][0]["id"] == picture["id"]
    assert post(client, f"pictures/{picture['id']}/drop/")[0] == 404
    client.post(f"/playground/c/{told['conversation']}/share/")
    assert signed_in(viewer).get(f"/playground/pictures/{picture['id']}/").status_code == 200
    client.post(f"/playground/c/{told['conversation']}/delete/")
    assert not Picture.objects.exists()


def test_presets_are_kept_shared_and_their_owners(client: Client, admin: User, viewer: User) -> None:
    kept = {"name": "Brief", "settings": {"system": "Be brief."}, "prompt": "Hi", "shared": False}
    status, told = post(client, "presets/", kept)
    assert (status, told["name"]) == (200, "Brief")
    other = signed_in(admin)
    assert "Be brief." not in other.get("/playground/").content.decode()
    assert post(client, "presets/", {**kept, "shared": True})[1]["id"] == told["id"]
    assert "Be brief." in other.get("/playground/").content.decode()
    assert post(other, f"presets/{told['id']}/delete/")[0] == 404
    assert post(signed_in(viewer), "presets/", kept)[0] == 403
    assert post(client, "presets/", {**kept, "name": " "})[0] == 422
    assert post(client, "presets/", {**kept, "settings": {"nope": 1}})[0] == 422
    assert post(client, f"presets/{told['id']}/delete/") == (200, {})
    assert not Preset.objects.exists()
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["preset.share", "preset.delete"]
