"""Runs of configs, their attempts and their timeline."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from deployments.lifecycle.phases import ENDED, Desired, Phase
from deployments.spec import ServingSpec

from .catalogue import Config
from .node import Node


class Deployment(models.Model):
    """One run of a config, from Start to its end.

    People write ``desired`` and ``generation`` through the services; only
    :mod:`deployments.lifecycle.record` writes ``phase`` and the observed columns, under a claim.
    """

    config = models.ForeignKey(Config, verbose_name=_("config"), on_delete=models.PROTECT, related_name="deployments")
    replica = models.PositiveSmallIntegerField(_("replica"), default=0)
    spec = models.JSONField(_("specification"))
    spec_digest = models.CharField(_("specification digest"), max_length=64)
    revision = models.PositiveIntegerField(_("config revision"))
    node = models.ForeignKey(
        Node, verbose_name=_("node"), null=True, on_delete=models.PROTECT, related_name="deployments"
    )
    gpu_uuids = models.JSONField(_("GPUs"), default=list, help_text=_("UUIDs, as placed; kept after the end."))
    pinned_node = models.ForeignKey(
        Node, verbose_name=_("pinned node"), null=True, on_delete=models.PROTECT, related_name="+"
    )
    pinned_gpus = models.JSONField(_("pinned GPUs"), default=list, help_text=_("UUIDs on the pinned node, or none."))
    supersedes = models.ForeignKey(
        "self",
        verbose_name=_("replaces"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="replacements",
        help_text=_("Stopped once this one is ready."),
    )
    in_place = models.BooleanField(
        _("in place"), default=False, help_text=_("The old one made room first, and is put back if this one fails.")
    )

    desired = models.CharField(_("desired"), max_length=10, choices=Desired, default=Desired.RUNNING)
    generation = models.PositiveIntegerField(_("generation"), default=1, help_text=_("Raised by Restart."))
    started_by = models.CharField(_("started by"), max_length=150)
    stopped_by = models.CharField(_("stopped by"), max_length=150, blank=True)

    stop_now = models.BooleanField(_("without draining"), default=False, help_text=_("Somebody pressed Stop now."))

    phase = models.CharField(_("phase"), max_length=12, choices=Phase, default=Phase.QUEUED)
    phase_since = models.DateTimeField(_("in this phase since"))
    applied_generation = models.PositiveIntegerField(default=1)
    reason = models.CharField(_("reason"), max_length=50, blank=True)
    reason_params = models.JSONField(default=dict)
    progress = models.JSONField(_("progress"), default=dict, help_text=_("See deployments.progress.Progress."))
    endpoint = models.CharField(_("endpoint"), max_length=200, blank=True)
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    failed_probes = models.PositiveIntegerField(default=0)
    abort_reason = models.CharField(max_length=50, blank=True)
    run_cleared_at = models.DateTimeField(null=True, help_text=_("When nothing but GPU memory was left of the run."))
    signalled_at = models.DateTimeField(null=True)
    killed_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(_("ready at"), null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    ended_at = models.DateTimeField(_("ended"), null=True)

    claim_token = models.CharField(max_length=32, blank=True)
    claim_expires_at = models.DateTimeField(null=True)
    next_check_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")
        ordering = ("-created_at", "-id")
        permissions = (("operate_deployment", "Can start and stop models"),)
        constraints = (
            models.UniqueConstraint(
                fields=("config", "replica"),
                condition=~Q(phase__in=sorted(ENDED)),
                name="one_live_deployment_of_a_replica",
            ),
            models.UniqueConstraint(
                fields=("supersedes",),
                condition=~Q(phase__in=sorted(ENDED)),
                name="one_live_replacement_of_a_deployment",
            ),
        )
        indexes = (
            models.Index(fields=("next_check_at",), name="deployment_due"),
            models.Index(fields=("config", "-created_at"), name="deployment_of_config"),
        )

    def __str__(self) -> str:
        return f"{self.config_id}/{self.pk} {self.phase}"

    @property
    def is_live(self) -> bool:
        """Whether the run has not ended."""
        return self.phase not in ENDED

    @property
    def answered_at(self) -> datetime | None:
        """When it last came to answer, in whichever attempt; ``ready_at`` is empty again once that attempt has ended.

        Reads ``attempts``, for lists to fetch together.
        """
        return max((each.ready_at for each in self.attempts.all() if each.ready_at is not None), default=None)

    def serving_spec(self) -> ServingSpec:
        """The frozen specification that this run was started with."""
        return ServingSpec.from_json(self.spec)

    @property
    def run_name(self) -> str:
        """The deterministic name of this attempt's process or container on its node."""
        return f"berth-{settings.BERTH_INSTALLATION}-{self.pk}-{self.attempt}"


class DeploymentEvent(models.Model):
    """A change of phase or an act of a person: the timeline."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(_("at"))
    phase = models.CharField(_("phase"), max_length=12, choices=Phase)
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    reason = models.CharField(_("reason"), max_length=50, blank=True)
    reason_params = models.JSONField(default=dict)
    actor = models.CharField(_("by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("at", "id")

    def __str__(self) -> str:
        return f"{self.at:%T} {self.phase} {self.reason}"


class Attempt(models.Model):
    """One process or container of a deployment; keeps its log and exit after it is gone."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField(_("number"))
    started_at = models.DateTimeField(_("started"))
    ready_at = models.DateTimeField(_("ready"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    exit_code = models.IntegerField(
        _("exit code"), null=True, help_text=_("Negative: the signal that killed it, as in subprocess.")
    )
    out_of_memory = models.BooleanField(
        _("out of memory"), default=False, help_text=_("The kernel killed it at its memory limit.")
    )
    peak_memory_bytes = models.PositiveBigIntegerField(
        _("peak GPU memory, bytes"), null=True, help_text=_("Over all its GPUs, as observed; null when unknown.")
    )
    cause = models.CharField(_("cause"), max_length=50, blank=True)
    cause_params = models.JSONField(default=dict)
    log = models.TextField(_("log"), blank=True, help_text=_("Bounded; the middle is left out and marked."))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("number",)
        constraints = (models.UniqueConstraint(fields=("deployment", "number"), name="one_row_for_each_attempt"),)

    def __str__(self) -> str:
        return f"{self.deployment_id} attempt {self.number}"
