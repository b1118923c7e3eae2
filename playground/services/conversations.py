"""What a person does in a conversation: say something, ask again, stop, look at another branch, name and delete it.

A conversation of somebody else does not exist for anybody: NotFoundError, as for one that was deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.models import Config
from deployments.redis import RedisError, client
from playground.answers.names import KEPT_S, conversation_hints
from playground.answers.plan import branch_above, plan_chat
from playground.answers.runner import runner
from playground.answers.storing import DEAD_AFTER, ask_to_stop, interrupt_dead_answers
from playground.chat.settings import ChatSettings
from playground.models import Answer, Conversation, Message, Picture
from playground.models.conversations import LONGEST_MESSAGE, LONGEST_TITLE
from playground.protocols.streams import CHAT_PROTOCOLS
from playground.services.ownership import no_such_message, own_conversation, person_of

logger = logging.getLogger(__name__)

#: Answers that one person has under way at once: six columns of a comparison, and two more tabs.
MOST_AT_ONCE: Final = 8
MOST_PICTURES: Final = 8
MOST_MESSAGES: Final = 5_000
_TITLE_FROM_TEXT: Final = 80


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An answer that is under way. ``said`` is the person's message, None when it was there before."""

    conversation: Conversation
    said: Message | None
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked for: of ``config``, with ``settings``, by the open page of that name."""

    config: str
    settings: ChatSettings
    page: str = ""


def begin_conversation(
    *, actor: Actor, purpose: Conversation.Purpose = Conversation.Purpose.CHAT, title: str = ""
) -> Conversation:
    """A conversation without a word yet. Raises NotAllowedError."""
    return Conversation.objects.create(owner=person_of(actor), purpose=purpose, title=title[:LONGEST_TITLE])


def say(
    conversation_id: int | None,
    text: str,
    *,
    actor: Actor,
    question: Question,
    parent_id: int | None,
    picture_ids: Sequence[int] = (),
) -> Asked:
    """Say ``text`` after ``parent_id`` (None: at the beginning) and ask for an answer. An edit is a branch beside it.

    Without ``conversation_id`` it begins a conversation, unless it is refused.

    Raises NotAllowedError, NotFoundError, InvalidInputError, or ConflictError while too much is under way.
    """
    user = person_of(actor)
    text = text.replace("\0", "").strip()
    pictures = _pictures(picture_ids, user.pk)
    if not text and not pictures:
        raise InvalidInputError(_("Write a message first."), fields={"text": [_("Write a message first.")]})
    if len(text) > LONGEST_MESSAGE:
        raise InvalidInputError(_("The message has more than 1,000,000 characters. Make it shorter."))
    with transaction.atomic():
        if conversation_id is None:
            conversation = begin_conversation(actor=actor)
        else:
            conversation = own_conversation(conversation_id, actor)
        parent = _message(conversation, parent_id)
        if parent is not None and parent.role != Message.Role.ASSISTANT:
            raise InvalidInputError(_("Wait for the answer first, or ask for another one."))
        said = Message.objects.create(conversation=conversation, parent=parent, role=Message.Role.USER, content=text)
        said.pictures.add(*pictures)
        if not conversation.title:
            conversation.title = _title_of(text) or pictures[0].name[:_TITLE_FROM_TEXT]
        answer = _ask(conversation, said, question)
    return Asked(conversation=conversation, said=said, answer=answer)


def ask_again(message_id: int, *, actor: Actor, question: Question) -> Asked:
    """Another answer to what ``message_id`` answers, or to ``message_id`` itself: a branch beside those there are.

    Raises NotAllowedError, NotFoundError, InvalidInputError, or ConflictError while too much is under way.
    """
    person_of(actor)
    with transaction.atomic():
        message = Message.objects.select_related("parent").filter(pk=message_id).first()
        if message is None:
            raise no_such_message()
        conversation = own_conversation(message.conversation_id, actor)
        said = message if message.role == Message.Role.USER else message.parent
        if said is None:
            raise no_such_message()
        answer = _ask(conversation, said, question)
    return Asked(conversation=conversation, said=None, answer=answer)


def stop_answer(answer_id: int, *, actor: Actor) -> bool:
    """Stop an answer under way, in whatever process it is made; what came is kept. False: it was over before.

    Raises NotFoundError.
    """
    answer = Answer.objects.filter(pk=answer_id, message__conversation__owner_id=person_of(actor).pk).first()
    if answer is None:
        raise no_such_message()
    interrupt_dead_answers()
    if not Answer.objects.filter(pk=answer_id, state__in=Answer.LIVE).exists():
        return False
    # Both: the process that makes it is this one nearly always, and then nobody waits for Redis.
    runner.end(answer_id)
    ask_to_stop(answer_id)
    return True


def look_at(conversation_id: int, leaf_id: int, *, actor: Actor) -> None:
    """Remember which branch is looked at. Raises NotFoundError."""
    conversation = own_conversation(conversation_id, actor)
    leaf = _message(conversation, leaf_id)
    # Looking is no saying: the list's order stays.
    Conversation.objects.filter(pk=conversation.pk).update(leaf=leaf)


def rename_conversation(conversation_id: int, title: str, *, actor: Actor) -> Conversation:
    """Give it another title. Raises NotFoundError, InvalidInputError."""
    conversation = own_conversation(conversation_id, actor)
    title = " ".join(title.replace("\0", "").split())
    if not title or len(title) > LONGEST_TITLE:
        raise InvalidInputError(_("A title has between 1 and 200 characters."))
    Conversation.objects.filter(pk=conversation.pk).update(title=title)
    conversation.title = title
    return conversation


def delete_conversation(conversation_id: int, *, actor: Actor) -> None:
    """Delete it with all that was said, its links and the pictures that nothing else shows. Raises NotFoundError."""
    with transaction.atomic():
        conversation = own_conversation(conversation_id, actor)
        for answer in Answer.objects.filter(message__conversation=conversation, state__in=Answer.LIVE):
            runner.end(answer.pk)
            ask_to_stop(answer.pk)
        shown = list(Picture.objects.filter(messages__conversation=conversation).values_list("pk", flat=True))
        number = conversation.pk
        conversation.delete()
        Picture.objects.filter(pk__in=shown, messages=None).delete()
        # What it was about is nobody else's business.
        record_audit(actor, "conversation.delete", str(number))


def _ask(conversation: Conversation, said: Message, question: Question) -> Answer:
    """The row of an answer to ``said``, whose task begins when the transaction is committed."""
    protocol = Config.objects.filter(name=question.config, archived_at=None).values_list("protocol", flat=True).first()
    if protocol is None:
        raise NotFoundError(_("There is no config called %(name)s.") % {"name": question.config[:100]})
    if protocol not in CHAT_PROTOCOLS:
        raise InvalidInputError(
            _("%(name)s speaks %(protocol)s, which is no chat.") % {"name": question.config, "protocol": protocol}
        )
    if Message.objects.filter(conversation=conversation).count() >= MOST_MESSAGES:
        raise InvalidInputError(_("This conversation has 5,000 messages. Begin another one."))
    kept = question.settings.to_json()
    return begin_answer(conversation, said, config=question.config, protocol=protocol, kept=kept, page=question.page)


def begin_answer(
    conversation: Conversation, said: Message, *, config: str, protocol: str, kept: dict[str, Any], page: str = ""
) -> Answer:
    """The row of an answer, whose task begins when the caller's transaction is committed.

    Raises ConflictError while too much of this person is under way.
    """
    # Those whose task died do not count; whoever reads them marks them.
    living = Answer.objects.filter(state__in=Answer.LIVE, heartbeat_at__gte=timezone.now() - DEAD_AFTER)
    if living.filter(message__conversation__owner_id=conversation.owner_id).count() >= MOST_AT_ONCE:
        raise ConflictError(_("%(most)d answers are under way. Stop one, or wait.") % {"most": MOST_AT_ONCE})
    message = Message.objects.create(conversation=conversation, parent=said, role=Message.Role.ASSISTANT)
    answer = Answer.objects.create(
        message=message, config=config, protocol=protocol, settings=kept, heartbeat_at=timezone.now()
    )
    conversation.leaf, conversation.config, conversation.settings = message, config, kept
    conversation.save(update_fields=["leaf", "config", "settings", "title", "updated_at"])
    language = translation.get_language() or "en"

    def begin() -> None:
        plan = None
        if protocol in CHAT_PROTOCOLS:
            # Here and not in its task, which would wait for a thread of its own.
            try:
                prefetch_related_objects([said, message], "pictures")
                plan = plan_chat(answer, [said] if said.parent_id is None else branch_above(message))
            except Exception:  # the question is kept: its task tries again, and says what is wrong in the answer
                logger.exception("Answer %s is planned by its task", answer.pk)
        runner.begin(answer.pk, owner_id=conversation.owner_id, language=language, page=page, plan=plan)

    transaction.on_commit(begin)
    transaction.on_commit(lambda: hint(conversation.pk, leaf_id=message.pk))
    return answer


def hint(conversation_id: int, *, leaf_id: int) -> None:
    """Tell other tabs that the conversation grew ``leaf_id``, which one of them knows already. Never raises."""
    name = conversation_hints(conversation_id)
    try:
        told = client().pipeline(transaction=False)
        told.xadd(name, {"leaf": str(leaf_id)}, maxlen=20)
        told.expire(name, KEPT_S)
        told.execute()
    except RedisError as error:
        logger.warning("Other tabs of conversation %s were not told: %s", conversation_id, error)


def _message(conversation: Conversation, message_id: int | None) -> Message | None:
    if message_id is None:
        return None
    message = Message.objects.filter(pk=message_id, conversation=conversation).first()
    if message is None:
        raise no_such_message()
    return message


def _pictures(picture_ids: Sequence[int], user_id: int) -> list[Picture]:
    if len(picture_ids) > MOST_PICTURES:
        raise InvalidInputError(_("A message shows at most %(most)d pictures.") % {"most": MOST_PICTURES})
    found = Picture.objects.filter(pk__in=picture_ids, owner_id=user_id).defer("content")
    by_id = {picture.pk: picture for picture in found}
    if set(by_id) != set(picture_ids):
        raise NotFoundError(_("A picture is no longer there. Add it again."))
    return [by_id[picture_id] for picture_id in picture_ids]


def _title_of(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= _TITLE_FROM_TEXT else f"{first[: _TITLE_FROM_TEXT - 1]}…"
