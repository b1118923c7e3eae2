"""Conversations as pages, exports and share links read them. Query counts are constant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from deployments.exceptions import NotFoundError

from .answers.facts import AnswerFacts, facts_of
from .models import Comparison, Conversation, Message, Picture, Preset, ShareLink

LISTED: Final = 100
_LONGEST_SEARCH: Final = 200


@dataclass(frozen=True, kw_only=True)
class MessageFacts:
    """A message as pages read it; ``answer`` for those of models."""

    id: int
    parent: int | None
    role: str
    text: str
    at: str
    pictures: list[dict[str, Any]]
    answer: AnswerFacts | None


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Messages from the first to ``leaf``."""

    conversation: Conversation
    messages: Sequence[Message]


def conversations_of(
    user_id: int, *, search: str = "", purpose: str = Conversation.Purpose.CHAT
) -> QuerySet[Conversation]:
    """The newest conversations of a person; ``search`` looks into titles and all that was said."""
    found = Conversation.objects.filter(owner_id=user_id, purpose=purpose)
    search = search.strip()[:_LONGEST_SEARCH]
    if search:
        said = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=search)
        found = found.filter(Q(title__icontains=search) | Exists(said))
    return found[:LISTED]


def page_of(conversation: Conversation) -> str:
    """Where it is shown: requests for images and columns of comparisons are conversations too."""
    if conversation.purpose == Conversation.Purpose.IMAGES:
        image = Picture.objects.filter(messages__answer__message__conversation=conversation).order_by("pk").first()
        return reverse("playground:images") + (f"?image={image.pk}" if image else "")
    if conversation.purpose == Conversation.Purpose.COMPARE:
        comparison = Comparison.objects.filter(columns__conversation=conversation).first()
        return reverse("playground:comparison", args=[comparison.pk]) if comparison else reverse("playground:compare")
    return reverse("playground:conversation", args=[conversation.pk])


def find_conversation(conversation_id: int, user_id: int) -> Conversation:
    """A conversation of this person. Raises NotFoundError, for anybody else's too."""
    found = Conversation.objects.filter(pk=conversation_id, owner_id=user_id).first()
    if found is None:
        raise NotFoundError(_("There is no such conversation of yours. It may have been deleted."))
    return found


def message_tree(conversation: Conversation) -> list[MessageFacts]:
    """Everything that was said, in the order in which it was said: two queries."""
    return [message_facts(message) for message in _with_answers(conversation)]


def message_facts(message: Message) -> MessageFacts:
    """One message; its answer and pictures should be loaded."""
    answer = getattr(message, "answer", None) if message.role == Message.Role.ASSISTANT else None
    return MessageFacts(
        id=message.pk,
        parent=message.parent_id,
        role=message.role,
        text=message.content,
        at=message.created_at.isoformat(),
        pictures=[picture_facts(picture) for picture in message.pictures.all()],
        answer=None if answer is None else facts_of(answer),
    )


def picture_facts(picture: Picture) -> dict[str, Any]:
    """A picture without its bytes."""
    return {"id": picture.pk, "name": picture.name, "width": picture.width, "height": picture.height}


def branch_to(conversation: Conversation, leaf_id: int | None) -> Branch:
    """The branch that ends at ``leaf_id``, else the newest one."""
    every = {message.pk: message for message in _with_answers(conversation)}
    at = every.get(leaf_id or 0) or next(reversed(every.values()), None)
    found: list[Message] = []
    while at is not None:
        found.append(at)
        at = every.get(at.parent_id or 0)
    return Branch(conversation=conversation, messages=found[::-1])


def shared_branch(token: str) -> Branch:
    """What a link shows. Raises NotFoundError once it is revoked."""
    link = ShareLink.objects.select_related("conversation__owner").filter(token=token, revoked_at=None).first()
    if link is None:
        raise NotFoundError(_("There is no such link, or its owner has revoked it."))
    return branch_to(link.conversation, link.leaf_id)


def links_of(conversation: Conversation) -> QuerySet[ShareLink]:
    """The links that are good now."""
    return ShareLink.objects.filter(conversation=conversation, revoked_at=None)


def presets_for(user_id: int) -> QuerySet[Preset]:
    """A person's own presets, and those that others share."""
    return Preset.objects.filter(Q(owner_id=user_id) | Q(is_shared=True)).select_related("owner")


def find_picture(picture_id: int, user_id: int) -> Picture:
    """A picture of this person, or one that a link shows to everybody. Raises NotFoundError."""
    picture = Picture.objects.filter(pk=picture_id).first()
    if picture is None or (picture.owner_id != user_id and not _is_shared(picture)):
        raise NotFoundError(_("There is no such picture."))
    return picture


def _is_shared(picture: Picture) -> bool:
    links = ShareLink.objects.filter(conversation__messages__pictures=picture, revoked_at=None)
    return any(_shows(link, picture) for link in links.select_related("conversation").distinct()[:20])


def _shows(link: ShareLink, picture: Picture) -> bool:
    shown = {message.pk for message in branch_to(link.conversation, link.leaf_id).messages}
    return picture.messages.filter(pk__in=shown).exists()


def _with_answers(conversation: Conversation) -> Iterable[Message]:
    pictures = Picture.objects.defer("content")
    return (
        Message.objects.filter(conversation=conversation)
        .select_related("answer")
        .prefetch_related(Prefetch("pictures", queryset=pictures))
    )
