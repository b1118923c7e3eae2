"""What a person does with images: ask for some, and delete them. Stopping is that of every answer.

A request for images is a conversation of its own: the prompt, and the answer with the images.
"""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.images.defaults import LONGEST_PROMPT
from deployments.models import Config
from playground.drawing.engines import PROTOCOL, can_edit
from playground.drawing.settings import DrawingSettings
from playground.models import Answer, Conversation, Message, Picture
from playground.services.conversations import begin_answer, delete_conversation
from playground.services.ownership import own_conversation, person_of
from playground.services.pictures import room_for

_TITLE: Final = 80


def draw(prompt: str, *, config: str, settings: DrawingSettings, actor: Actor) -> Answer:
    """Ask ``config`` for images; gives the answer, which is under way.

    Raises NotAllowedError, NotFoundError, InvalidInputError, or ConflictError while too much is under way.
    """
    owner = person_of(actor)
    prompt = prompt.replace("\0", "").strip()
    if not prompt or len(prompt) > LONGEST_PROMPT:
        sentence = _("A prompt has between 1 and %(most)d characters.") % {"most": LONGEST_PROMPT}
        raise InvalidInputError(sentence, fields={"prompt": [sentence]})
    shown = _shown(settings, owner.pk)
    _check_config(config, edits=bool(shown))
    # Before a GPU works for nothing.
    room_for(0, owner.pk)
    with transaction.atomic():
        title = " ".join(prompt.split())[:_TITLE]
        conversation = Conversation.objects.create(owner=owner, purpose=Conversation.Purpose.IMAGES, title=title)
        said = Message.objects.create(conversation=conversation, role=Message.Role.USER, content=prompt)
        said.pictures.set(shown)
        return begin_answer(conversation, said, config=config, protocol=PROTOCOL, kept=settings.to_json())


def delete_image(picture_id: int, *, actor: Actor) -> None:
    """Delete one image; with the last one of its request the request goes too.

    Raises NotAllowedError, NotFoundError.
    """
    owner = person_of(actor)
    with transaction.atomic():
        picture = Picture.objects.filter(pk=picture_id, owner=owner, messages__role=Message.Role.ASSISTANT).first()
        if picture is None:
            raise no_such_image()
        message = picture.messages.select_related("answer").get(role=Message.Role.ASSISTANT)
        picture.delete()
        record_audit(actor, "image.delete", str(picture_id))
        if not message.pictures.exists() and not message.answer.is_live:
            delete_conversation(message.conversation_id, actor=actor)


def delete_images_of(answer_id: int, *, actor: Actor) -> None:
    """Delete a request with all that came of it.

    Raises NotAllowedError, NotFoundError, or ConflictError while it is made.
    """
    answer = Answer.objects.filter(pk=answer_id, protocol=PROTOCOL).select_related("message").first()
    if answer is None:
        raise no_such_image()
    conversation = own_conversation(answer.message.conversation_id, actor)
    if answer.is_live:
        raise ConflictError(_("Its images are being made. Stop it first."))
    delete_conversation(conversation.pk, actor=actor)


def no_such_image() -> NotFoundError:
    """For an image that is not there, or not this person's."""
    return NotFoundError(_("There is no such image of yours. It may have been deleted."))


def _check_config(name: str, *, edits: bool) -> None:
    found = Config.objects.filter(name=name, archived_at=None).values_list("protocol", "engine").first()
    if found is None:
        raise NotFoundError(_("There is no config called %(name)s.") % {"name": name[:100]})
    protocol, engine = found
    if protocol != PROTOCOL:
        raise InvalidInputError(
            _("%(name)s speaks %(protocol)s, which draws no images.") % {"name": name, "protocol": protocol}
        )
    if edits and not can_edit(engine):
        raise InvalidInputError(_("%(name)s cannot edit images: its engine has no address for that.") % {"name": name})


def _shown(settings: DrawingSettings, owner_id: int) -> list[Picture]:
    """The picture to edit and its mask."""
    if settings.source is None:
        if settings.mask is not None:
            raise InvalidInputError(_("A mask needs the image that it belongs to."))
        return []
    wanted = [pk for pk in (settings.source, settings.mask) if pk is not None]
    rows = Picture.objects.filter(owner_id=owner_id).defer("content").in_bulk(wanted)
    if set(rows) != set(wanted):
        raise NotFoundError(_("A picture is no longer there. Add it again."))
    source, *masks = (rows[pk] for pk in wanted)
    if any((mask.width, mask.height) != (source.width, source.height) for mask in masks):
        raise InvalidInputError(_("The mask has to have the size of its image."))
    return [source, *masks]
