"""Links by which signed-in people read somebody's conversation."""

from __future__ import annotations

import secrets

from django.db import models
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation, Message


def new_token() -> str:
    """128 random bits. Kept as it is: a link is good only for people who are signed in, and its owner sees it again."""
    return secrets.token_urlsafe(16)


class ShareLink(models.Model):
    """Lets everybody with a role read one branch, up to the message that was its last when it was shared."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="links")
    leaf = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    token = models.CharField(max_length=32, unique=True, default=new_token, editable=False)
    created_at = models.DateTimeField(_("shared"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    class Meta:
        verbose_name = _("share link")
        verbose_name_plural = _("share links")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.created_at:%Y-%m-%d}"
