"""Long work that somebody asked for and one node's worker does: the columns that every kind of it has."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from .node import Node


class Job(models.Model):
    """A build, a push, a load test: asked for once, done by the worker of its node.

    A worker holds it by ``claim_token`` until ``claim_expires_at`` (the database's clock) and renews both while it
    works; :mod:`deployments.jobs` is the only writer of the columns below. A worker that dies loses it by expiry and
    the next one begins it again, so the work of each kind is repeatable.
    """

    #: The name of the Celery task that does one job of this kind, given its id.
    TASK: ClassVar[str]

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    #: From which nothing comes any more.
    ENDED = (State.DONE, State.FAILED, State.CANCELLED)

    node = models.ForeignKey(Node, verbose_name=_("node"), on_delete=models.PROTECT, related_name="+")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    progress = models.JSONField(_("progress"), default=dict, help_text=_("See deployments.progress.Progress."))
    error_code = models.CharField(_("error code"), max_length=50, blank=True)
    error = models.TextField(_("error"), blank=True)
    requested_by = models.CharField(_("asked for by"), max_length=150)
    cancelled_by = models.CharField(_("cancelled by"), max_length=150, blank=True)
    cancel_requested_at = models.DateTimeField(_("cancel asked for"), null=True)
    runs = models.PositiveSmallIntegerField(_("runs"), default=0, help_text=_("How often a worker took it."))
    claim_token = models.CharField(max_length=32, blank=True)
    claim_expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(_("asked for"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)

    class Meta:
        abstract = True

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state not in self.ENDED
