"""Settings and prompts that are kept under a name."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Preset(models.Model):
    """Settings, and perhaps a prompt, of one person; shared ones are offered to all and changed by their owner."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), on_delete=models.CASCADE, related_name="+"
    )
    name = models.CharField(_("name"), max_length=100)
    prompt = models.TextField(_("prompt"), blank=True)
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    is_shared = models.BooleanField(_("shared"), default=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("preset")
        verbose_name_plural = _("presets")
        ordering = ("name", "pk")
        constraints = (models.UniqueConstraint(fields=("owner", "name"), name="one_preset_of_a_name"),)

    def __str__(self) -> str:
        return self.name
