"""Hosts that can run models."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Node(models.Model):
    """A host with a runtime. Its agent keeps ``heartbeat_at`` fresh; its worker acts on it."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    runtimes = models.JSONField(_("runtimes"), default=list, help_text=_("Names of the runtimes it offers."))
    address = models.CharField(
        _("private address"),
        max_length=100,
        blank=True,
        help_text=_("Where its models are reached from other nodes; empty when they are reached on the node itself."),
    )
    facts = models.JSONField(
        _("facts"), default=dict, help_text=_("What its agent found: versions, memory, disk. For people to read.")
    )
    maintenance_since = models.DateTimeField(
        _("in maintenance since"), null=True, help_text=_("It keeps what runs and takes nothing new.")
    )
    maintenance_by = models.CharField(_("put into maintenance by"), max_length=150, blank=True)
    maintenance_note = models.CharField(_("reason for the maintenance"), max_length=200, blank=True)
    heartbeat_at = models.DateTimeField(_("last heartbeat"), null=True)
    created_at = models.DateTimeField(_("joined"), auto_now_add=True)

    class Meta:
        verbose_name = _("node")
        verbose_name_plural = _("nodes")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
