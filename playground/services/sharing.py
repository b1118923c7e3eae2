"""Shares a branch of a conversation by a link that is good inside the installation, until its owner revokes it."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import InvalidInputError, NotFoundError
from playground.models import Message, ShareLink

from .ownership import own_conversation, person_of


def share_branch(conversation_id: int, *, actor: Actor, leaf_id: int | None = None) -> ShareLink:
    """A link to the branch that ends at ``leaf_id``, else to the one looked at. Repeatable: a branch has one link.

    Raises NotAllowedError, NotFoundError, or InvalidInputError while nothing was said.
    """
    with transaction.atomic():
        conversation = own_conversation(conversation_id, actor)
        wanted = leaf_id or conversation.leaf_id or 0
        leaf = Message.objects.filter(conversation=conversation, pk=wanted).first()
        if leaf is None:
            raise InvalidInputError(_("There is nothing to share yet."))
        link = ShareLink.objects.filter(conversation=conversation, leaf=leaf, revoked_at=None).first()
        if link is None:
            link = ShareLink.objects.create(conversation=conversation, leaf=leaf)
            record_audit(actor, "conversation.share", str(conversation.pk), link=link.pk)
    return link


def revoke_link(link_id: int, *, actor: Actor) -> ShareLink:
    """End a link at once. Repeatable. Raises NotAllowedError, NotFoundError."""
    with transaction.atomic():
        link = ShareLink.objects.filter(pk=link_id, conversation__owner=person_of(actor)).first()
        if link is None:
            raise NotFoundError(_("There is no such link of yours."))
        if ShareLink.objects.filter(pk=link_id, revoked_at=None).update(revoked_at=timezone.now()):
            record_audit(actor, "conversation.unshare", str(link.conversation_id), link=link.pk)
        link.refresh_from_db()
    return link
