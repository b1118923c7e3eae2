"""Pictures are taken once they were decoded, made smaller where asked, bounded, and let go when nobody sends them."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone
from PIL import Image

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError, NotAllowedError, NotFoundError
from playground import decoding
from playground.models import Picture
from playground.services import pictures
from playground.services.pictures import drop_picture, drop_unsent_pictures, take_picture
from tests.playground.chatting import a_config, begin

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


def painted(kind: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGB") -> bytes:
    """A picture of one colour."""
    written = io.BytesIO()
    Image.new(mode, size, 120).save(written, format=kind)
    return written.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_is_taken_as_it_is(operator: User, kind: str) -> None:
    content = painted(kind)
    picture = take_picture(content, name="../a\u202e.png", actor=Actor.person(operator))
    assert bytes(picture.content) == content
    assert (picture.media_type, picture.width, picture.height) == (f"image/{kind.lower()}", 40, 20)
    assert picture.name == "../a.png"


@pytest.mark.parametrize(
    ("kind", "mode", "becomes"), [("PNG", "P", "png"), ("JPEG", "CMYK", "jpeg"), ("WEBP", "RGB", "png")]
)
def test_a_large_one_is_made_smaller_when_asked(operator: User, kind: str, mode: str, becomes: str) -> None:
    content = painted(kind, (1600, 400), mode)
    picture = take_picture(content, name="wide", actor=Actor.person(operator), longest_side=768)
    assert (picture.media_type, picture.width, picture.height) == (f"image/{becomes}", 768, 192)
    with Image.open(io.BytesIO(bytes(picture.content))) as image:
        assert image.size == (768, 192)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n" + b"<script>alert(1)</script>" * 9,
        painted()[:60],
        painted("JPEG", (400, 400))[:300],
        painted("BMP"),
        b"GIF89a",
    ],
)
def test_what_is_no_picture_is_refused(operator: User, content: bytes) -> None:
    with pytest.raises(InvalidInputError, match="is no PNG"):
        take_picture(content, name="x.png", actor=Actor.person(operator))
    assert not Picture.objects.exists()


def test_sizes_are_bounded(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = Actor.person(operator)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 799)
    with pytest.raises(InvalidInputError, match="pixels"):
        take_picture(painted(), name="x", actor=actor)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 800)
    monkeypatch.setattr(pictures, "MOST_BYTES_A_PERSON", len(painted()) + 1)
    take_picture(painted(), name="x", actor=actor)
    with pytest.raises(InvalidInputError, match="500 MB"):
        take_picture(painted(), name="x", actor=actor)
    with pytest.raises(InvalidInputError, match="10 MB"):
        take_picture(b"x" * 10_000_001, name="x", actor=actor)
    with pytest.raises(InvalidInputError, match="offered"):
        take_picture(painted(), name="x", actor=actor, longest_side=5)


def test_only_who_may_send_adds_pictures_and_only_their_own(operator: User, viewer: User, admin: User) -> None:
    with pytest.raises(NotAllowedError):
        take_picture(painted(), name="x", actor=Actor.person(viewer))
    picture = take_picture(painted(), name="x", actor=Actor.person(operator))
    with pytest.raises(NotFoundError):
        drop_picture(picture.pk, actor=Actor.person(admin))
    a_config()
    with pytest.raises(NotFoundError):
        begin(admin, picture_ids=[picture.pk])


def test_what_is_shown_stays_and_what_was_never_sent_goes(operator: User) -> None:
    a_config()
    actor = Actor.person(operator)
    sent = take_picture(painted(), name="x", actor=actor)
    begin(operator, "", picture_ids=[sent.pk])
    with pytest.raises(NotFoundError):
        drop_picture(sent.pk, actor=actor)
    unsent, fresh = (take_picture(painted(), name="x", actor=actor) for _number in range(2))
    old = Picture.objects.filter(pk__in=[sent.pk, unsent.pk])
    old.update(created_at=timezone.now() - timedelta(days=2))
    assert drop_unsent_pictures() == 1
    assert set(Picture.objects.all()) == {sent, fresh}
    drop_picture(fresh.pk, actor=actor)
    assert set(Picture.objects.all()) == {sent}
