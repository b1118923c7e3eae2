"""Whose what is in the playground: each person's own, and nobody else's."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from deployments.actors import TRY_MODELS, Actor
from deployments.exceptions import NotAllowedError, NotFoundError
from playground.models import Conversation


def person_of(actor: Actor) -> User:
    """The person, who must be allowed to send requests. Raises NotAllowedError, also for commands of the host."""
    actor.require(TRY_MODELS)
    if actor.user is None:
        raise NotAllowedError(_("Conversations belong to people. Sign in first."))
    return actor.user


def own_conversation(conversation_id: int, actor: Actor) -> Conversation:
    """A conversation of this person. Raises NotAllowedError, and NotFoundError for anybody else's."""
    conversation = Conversation.objects.filter(pk=conversation_id, owner=person_of(actor)).first()
    if conversation is None:
        raise NotFoundError(_("There is no such conversation of yours. It may have been deleted."))
    return conversation


def no_such_message() -> NotFoundError:
    """For a message that is not there, or not this person's."""
    return NotFoundError(_("There is no such message. Reload the page to see those that exist."))
