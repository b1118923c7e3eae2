"""Takes pictures that people show to models, and lets those go that no message shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError, NotFoundError
from playground.decoding import decode_picture
from playground.models import Picture

from .ownership import person_of

#: Of one picture; it goes into each request as base64.
MOST_BYTES: Final = 10_000_000
#: Of all pictures of one person.
MOST_BYTES_A_PERSON: Final = 500_000_000
#: Longest sides that are offered, in pixels.
SIDES: Final = (768, 1024, 1536, 2048)
#: A picture that was added and never sent.
UNSENT_FOR: Final = timedelta(days=1)


def take_picture(content: bytes, *, name: str, actor: Actor, longest_side: int | None = None) -> Picture:
    """Keep a picture, made smaller where asked. Raises NotAllowedError, or InvalidInputError for what is none.

    Decoding holds a processor for up to a second.
    """
    owner = person_of(actor)
    name = "".join(letter for letter in name if letter.isprintable())[-200:]
    if longest_side is not None and longest_side not in SIDES:
        raise InvalidInputError(_("Pictures are made smaller to one of the offered sizes."))
    if len(content) > MOST_BYTES:
        raise InvalidInputError(_("%(path)s has more than 10 MB. Make it smaller.") % {"path": name})
    decoded = decode_picture(content, name=name, longest_side=longest_side)
    room_for(len(decoded.content), owner.pk)
    return Picture.objects.create(
        owner=owner,
        name=name,
        media_type=decoded.media_type,
        width=decoded.width,
        height=decoded.height,
        size_bytes=len(decoded.content),
        content=decoded.content,
    )


def room_for(size_bytes: int, owner_id: int) -> None:
    """Raise InvalidInputError where so many bytes more are too many for one person."""
    held = Picture.objects.filter(owner_id=owner_id).aggregate(sum=Sum("size_bytes"))["sum"] or 0
    if held + size_bytes > MOST_BYTES_A_PERSON:
        raise InvalidInputError(_("Your pictures have 500 MB already. Delete images or conversations with some first."))


def drop_picture(picture_id: int, *, actor: Actor) -> None:
    """Let an unsent picture go. Raises NotFoundError for one that is shown somewhere, or is not this person's."""
    owner = person_of(actor)
    deleted, _rows = Picture.objects.filter(pk=picture_id, owner=owner, messages=None).delete()
    if not deleted:
        raise NotFoundError(_("A picture is no longer there. Add it again."))


def drop_unsent_pictures() -> int:
    """Delete pictures that nobody sent within a day; gives how many. Repeatable."""
    old = Picture.objects.filter(messages=None, created_at__lt=timezone.now() - UNSENT_FOR)
    deleted, _rows = old.delete()
    return deleted
