"""Images outside of their gallery: small, by a link, from a chat's address, in another tab, in a comparison."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from PIL import Image

from playground.decoding import thumbnail
from playground.models import Comparison, Picture, ShareLink
from tests.playground.conftest import make_person
from tests.playground.test_chat_pages import signed_in
from tests.playground.test_images_page import PAGE, drawn
from tests.playground.test_playground_page import a_config, a_run
from tests.playground.test_taking_pictures import painted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def picture(operator: User) -> Picture:
    a_run(a_config("painter", protocol="openai-image", model="Tiny-SD"))
    return drawn(operator)[0]


def conversation_of(picture: Picture) -> int:
    message = picture.messages.first()
    assert message is not None
    return message.conversation_id


def test_a_thumbnail_fits_and_keeps_transparency() -> None:
    written = io.BytesIO()
    Image.new("RGBA", (1600, 800), (0, 0, 0, 0)).save(written, format="PNG")
    with Image.open(io.BytesIO(thumbnail(written.getvalue(), side=512))) as small:
        assert (small.format, small.size, small.convert("RGBA").getpixel((5, 5))[3]) == ("WEBP", (512, 256), 0)  # type: ignore[index]
    with Image.open(io.BytesIO(thumbnail(painted("JPEG"), side=512))) as small:
        assert small.size == (40, 20)


def test_the_gallery_shows_thumbnails_that_others_do_not_get(operator: User, picture: Picture) -> None:
    client = signed_in(operator)
    address = f"/playground/pictures/{picture.pk}/small/"
    assert f'src="{address}"' in client.get(PAGE).content.decode()
    answer = client.get(address)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/webp")
    assert "sandbox" in answer["Content-Security-Policy"]
    assert signed_in(make_person("other", "operator")).get(address).status_code == 404


def test_a_request_for_images_is_no_chat(operator: User, picture: Picture) -> None:
    address = f"/playground/c/{conversation_of(picture)}/"
    assert signed_in(operator).get(address)["Location"] == f"{PAGE}?image={picture.pk}"
    assert signed_in(make_person("other", "operator")).get(address).status_code == 404


def test_a_link_shows_the_images_until_it_is_revoked(operator: User, picture: Picture) -> None:
    owner, other = signed_in(operator), signed_in(make_person("other", "operator"))
    address = f"/playground/c/{conversation_of(picture)}/share/"
    assert other.post(address).status_code == 404
    assert owner.post(address)["Location"] == f"{PAGE}?image={picture.pk}"
    link = ShareLink.objects.get()
    shared = f"/playground/shared/{link.token}/"
    assert shared in owner.get(f"{PAGE}?image={picture.pk}").content.decode()
    assert f"/playground/pictures/{picture.pk}/small/" in other.get(shared).content.decode()
    assert other.get(f"/playground/pictures/{picture.pk}/").status_code == 200
    owner.post(f"/playground/links/{link.pk}/revoke/")
    assert other.get(shared).status_code == 404
    assert other.get(f"/playground/pictures/{picture.pk}/small/").status_code == 404


def test_another_tab_asks_for_the_gallery_alone(operator: User, picture: Picture) -> None:
    fragment = signed_in(operator).get(f"{PAGE}?part=gallery", headers={"HX-Request": "true"}).content.decode()
    assert fragment.lstrip().startswith("<div")
    assert f"/playground/pictures/{picture.pk}/small/" in fragment


def asked(client: Client, **changes: Any) -> Any:
    columns = [{"config": "tiny"}, {"config": "tiny"}]
    content = {"comparison": None, "columns": columns, "prompt": "What is this?", **changes}
    return client.post("/playground/compare/ask/", json.dumps(content), content_type="application/json")


def test_every_column_of_a_comparison_is_shown_the_pictures(operator: User, picture: Picture) -> None:
    a_run(a_config("tiny"))
    client = signed_in(operator)
    told = asked(client, pictures=[picture.pk]).json()
    assert [each["id"] for each in told["round"]["pictures"]] == [picture.pk]
    assert picture.messages.filter(conversation__purpose="compare").count() == 2
    assert "no pictures" in asked(client, pictures=[picture.pk], set=True).json()["error"]
    assert asked(signed_in(make_person("other", "operator")), pictures=[picture.pk]).status_code == 404
    assert Comparison.objects.count() == 1


def test_compare_offers_what_is_not_ready_apart(operator: User) -> None:
    a_run(a_config("tiny"))
    a_config("idle")
    page = signed_in(operator).get("/playground/compare/")
    assert page.context["ready"] == {"ready": ["tiny"], "others": ["idle"]}
