"""Hosts that can run models."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Node(models.Model):
    """A host with a runtime. Its agent keeps ``heartbeat_at`` fresh; its worker acts on it."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    runtimes = models.JSONField(_("runtimes"), default=list, help_text=_("Names of the runtimes it offers."))
    heartbeat_at = models.DateTimeField(_("last heartbeat"), null=True)
    created_at = models.DateTimeField(_("joined"), auto_now_add=True)

    class Meta:
        verbose_name = _("node")
        verbose_name_plural = _("nodes")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
