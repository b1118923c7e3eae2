"""What is asked for an answer: read from the database once, before its task begins."""

from __future__ import annotations

from collections.abc import Sequence

from deployments.models import Deployment
from playground.chat.settings import read_settings
from playground.drawing.engines import PROTOCOL as IMAGES
from playground.models import Answer, Message
from playground.pictures import Picture
from playground.protocols.streams import CHAT_PROTOCOLS, ChatQuestion
from playground.protocols.streams.question import Turn

from .asked import Plan
from .image_plan import plan_images


def make_plan(answer_id: int) -> Plan:
    """The request for an answer: the branch above it with its pictures. Four queries, however long it is.

    Raises Answer.DoesNotExist for one that was deleted, InvalidInputError for kept settings that are no longer
    understood, and NotFoundError for a picture to edit that was deleted.
    """
    answer = Answer.objects.select_related("message__conversation", "message__parent").get(pk=answer_id)
    if answer.protocol == IMAGES:
        return plan_images(answer)
    return plan_chat(answer, branch_above(answer.message))


def plan_chat(answer: Answer, branch: Sequence[Message]) -> Plan:
    """The request for an answer to the last of ``branch``, whose pictures should be loaded: no query of its own.

    Raises InvalidInputError for kept settings that are no longer understood.
    """
    protocol = CHAT_PROTOCOLS[answer.protocol]
    question = ChatQuestion(
        model=answer.config,
        turns=tuple(_turn(message) for message in branch if _says_something(message)),
        settings=read_settings(answer.settings),
    )
    return Plan(
        answer_id=answer.pk,
        user_id=answer.message.conversation.owner_id,
        path=protocol.path,
        body=protocol.body(question),
        reader=protocol.reader(),
    )


def branch_above(message: Message) -> list[Message]:
    """The messages before ``message``, the first one first."""
    parents = dict(Message.objects.filter(conversation_id=message.conversation_id).values_list("pk", "parent_id"))
    found: list[int] = []
    parent_id = message.parent_id
    while parent_id is not None:
        found.append(parent_id)
        parent_id = parents[parent_id]
    wanted = Message.objects.filter(pk__in=found).order_by("pk").prefetch_related("pictures")
    return list(wanted)


def _says_something(message: Message) -> bool:
    """An answer without a word is left out: engines refuse empty messages of their own."""
    return bool(message.content) or bool(message.pictures.all())


def _turn(message: Message) -> Turn:
    pictures = tuple(
        Picture(content=bytes(each.content), media_type=each.media_type) for each in message.pictures.all()
    )
    return Turn(role=message.role, content=message.content, pictures=pictures)


def replica_name(deployment_id: int | None) -> str:
    """Which replica answered, as people tell them apart: its node, and its number where a config has several."""
    found = Deployment.objects.filter(pk=deployment_id or 0).values_list("node__name", "replica").first()
    if found is None:
        return ""
    node, replica = found
    return f"{node or '–'} · {replica + 1}" if replica else str(node or "")
