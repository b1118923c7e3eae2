"""What is asked for images: the prompt above the answer, and for an edit its picture and mask."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from deployments.exceptions import NotFoundError
from deployments.models import Config
from playground.drawing.engines import EDITS, GENERATIONS, request_body
from playground.drawing.settings import read_drawing
from playground.models import Answer, Picture
from playground.protocols.streaming import Files
from playground.protocols.streams.images import LARGEST, ImageReader

from .asked import Plan


def plan_images(answer: Answer) -> Plan:
    """The request of an answer in images; its message, parent and conversation should be loaded: at most three queries.

    Raises InvalidInputError for kept settings that are no longer understood, NotFoundError for a deleted picture.
    """
    settings = read_drawing(answer.settings)
    engine = Config.objects.filter(name=answer.config).values_list("engine", flat=True).first() or ""
    said = answer.message.parent
    body = request_body(answer.config, said.content if said else "", settings, engine=engine)
    owner_id = answer.message.conversation.owner_id
    files = _files({"image": settings.source, "mask": settings.mask}, owner_id)
    if files:
        # A form knows no numbers. Who serves edits is asked in OpenAI's own way.
        body = {name: str(value) for name, value in body.items() if name != "stream"}
    return Plan(
        answer_id=answer.pk,
        user_id=owner_id,
        path=EDITS if files else GENERATIONS,
        body=body,
        reader=ImageReader(),
        files=files,
        largest_whole=LARGEST,
    )


def _files(wanted: dict[str, int | None], owner_id: int) -> Files:
    ids = {name: pk for name, pk in wanted.items() if pk is not None}
    if not ids:
        return {}
    rows: dict[int, Any] = Picture.objects.filter(owner_id=owner_id).in_bulk(list(ids.values()))
    if set(rows) != set(ids.values()):
        raise NotFoundError(_("A picture is no longer there. Add it again."))
    return {
        name: (f"{name}.{rows[pk].media_type.partition('/')[2]}", bytes(rows[pk].content), rows[pk].media_type)
        for name, pk in ids.items()
    }
