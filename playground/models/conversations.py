"""Conversations with models: a tree of messages for each, since an edit or another answer begins a branch."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

#: The longest message, in characters: some 100,000 words.
LONGEST_MESSAGE = 1_000_000
LONGEST_TITLE = 200


class Conversation(models.Model):
    """What one person said to models and what they answered. Others see it only by a share link."""

    class Purpose(models.TextChoices):
        CHAT = "chat", _("chat")
        COMPARE = "compare", _("comparison")
        # A prompt and the images that came of it.
        IMAGES = "images", _("images")

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), on_delete=models.CASCADE, related_name="+"
    )
    purpose = models.CharField(_("purpose"), max_length=10, choices=Purpose.choices, default=Purpose.CHAT)
    title = models.CharField(_("title"), max_length=LONGEST_TITLE, blank=True)
    # What was chosen last; each answer keeps what it was asked with.
    config = models.CharField(_("config"), max_length=200, blank=True)
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    # The end of the branch that was looked at last.
    leaf = models.ForeignKey(
        "Message", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(_("begun"), auto_now_add=True)
    updated_at = models.DateTimeField(_("last said"), auto_now=True)

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ("-updated_at", "-pk")
        indexes = (models.Index(fields=("owner", "purpose", "-updated_at"), name="conversations_of_a_person"),)

    def __str__(self) -> str:
        return self.title or str(_("Conversation %(number)s") % {"number": self.pk})


class Message(models.Model):
    """What was said once. Messages with the same parent are branches of each other; none is ever changed."""

    class Role(models.TextChoices):
        USER = "user", _("person")
        ASSISTANT = "assistant", _("model")

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="replies")
    role = models.CharField(_("said by"), max_length=10, choices=Role.choices)
    content = models.TextField(_("text"), blank=True)
    created_at = models.DateTimeField(_("said"), auto_now_add=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"
