"""Pictures that people show to models."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .conversations import Message


class Picture(models.Model):
    """A picture that was decoded before it was taken. In the database, so that every web process has it."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), on_delete=models.CASCADE, related_name="+"
    )
    # Of an edited message the pictures are shown again.
    messages = models.ManyToManyField(Message, related_name="pictures")
    name = models.CharField(_("name"), max_length=200, blank=True)
    media_type = models.CharField(_("type"), max_length=20)
    width = models.PositiveIntegerField(_("width"))
    height = models.PositiveIntegerField(_("height"))
    size_bytes = models.PositiveIntegerField(_("size"))
    content = models.BinaryField()
    created_at = models.DateTimeField(_("taken"), auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("picture")
        verbose_name_plural = _("pictures")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name or f"{self.media_type} {self.width}×{self.height}"
