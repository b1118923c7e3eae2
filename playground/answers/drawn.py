"""Keeps the images of an answer, after each was decoded: what an engine says it sent is no proof."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from playground.decoding import DecodedPicture, decode_picture
from playground.models import Message, Picture
from playground.services.pictures import room_for

#: Of one image: the largest that the gateway's engines draw, without any compression.
MOST_BYTES: Final = 48 * 1024 * 1024


def keep_drawn(answer_id: int, owner_id: int, images: Sequence[str]) -> list[str]:
    """Keep ``images`` (base64) beside the answer; gives a sentence for each that is refused.

    Decoding holds a processor for up to a second an image. An answer that was deleted meanwhile keeps nothing.
    """
    refusals = []
    for place, image in enumerate(images, start=1):
        try:
            _keep(answer_id, owner_id, _decoded(image, place), place)
        except InvalidInputError as error:
            refusals.append(str(error))
    return refusals


def _decoded(image: str, place: int) -> DecodedPicture:
    name = str(_("Image %(number)d of the engine") % {"number": place})
    try:
        content = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(_("%(path)s is not base64.") % {"path": name}) from error
    if len(content) > MOST_BYTES:
        raise InvalidInputError(_("%(path)s has more than 48 MB and is not kept.") % {"path": name})
    return decode_picture(content, name=name)


def _keep(answer_id: int, owner_id: int, decoded: DecodedPicture, place: int) -> None:
    with transaction.atomic():
        message = Message.objects.select_for_update().filter(pk=answer_id).first()
        if message is None:
            return
        room_for(len(decoded.content), owner_id)
        picture = Picture.objects.create(
            owner_id=owner_id,
            name=str(place),
            media_type=decoded.media_type,
            width=decoded.width,
            height=decoded.height,
            size_bytes=len(decoded.content),
            content=decoded.content,
        )
        picture.messages.add(message)
