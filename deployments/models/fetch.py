"""Long fetches of weights and images, one row for each thing on each node."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .node import Node


class Fetch(models.Model):
    """An image or bundle being brought to a node, shared by all deployments that need it.

    A worker holds it by ``claim_token`` until ``claim_expires_at`` (the database's clock) and renews
    both while bytes arrive; a worker that dies loses it by expiry.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    node = models.ForeignKey(Node, verbose_name=_("node"), on_delete=models.CASCADE, related_name="fetches")
    runtime = models.CharField(_("runtime"), max_length=20)
    image = models.CharField(_("image"), max_length=300)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    progress = models.JSONField(_("progress"), default=dict, help_text=_("See deployments.progress.Progress."))
    error_code = models.CharField(_("error code"), max_length=50, blank=True)
    error = models.TextField(_("error"), blank=True)
    permanent = models.BooleanField(_("permanent"), default=False)
    claim_token = models.CharField(max_length=32, blank=True)
    claim_expires_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("fetch")
        verbose_name_plural = _("fetches")
        constraints = (
            models.UniqueConstraint(fields=("node", "runtime", "image"), name="one_fetch_of_an_image_on_a_node"),
        )

    def __str__(self) -> str:
        return f"{self.image} on {self.node_id}: {self.state}"
