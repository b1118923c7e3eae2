"""Load tests: what was asked of which model, and what came of it, level by level."""

from __future__ import annotations

from typing import ClassVar, cast

from django.conf import settings as django_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from deployments.models import Delivery, Deployment
from deployments.models.job import Job
from playground.loadtests.figures import Level
from playground.loadtests.settings import LoadSettings


class LoadTest(Job):
    """One load test of a config. The worker of its node runs it and writes :attr:`levels` about each second.

    ``config`` and what else names the model are copies: figures outlive what was measured. While it runs, the last of
    ``levels`` is the one under way.
    """

    TASK: ClassVar[str] = "playground.tasks.run_load_test"

    config = models.CharField(_("config"), max_length=100)
    model = models.CharField(_("model"), max_length=200)
    protocol = models.CharField(_("protocol"), max_length=20)
    engine = models.CharField(_("engine"), max_length=30)
    deployment = models.ForeignKey(
        Deployment, verbose_name=_("deployment"), null=True, on_delete=models.SET_NULL, related_name="load_tests"
    )
    delivery = models.ForeignKey(
        Delivery, verbose_name=_("delivery"), null=True, on_delete=models.SET_NULL, related_name="load_tests"
    )
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("person"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text=_("In whose name the gateway is asked."),
    )
    via_command_line = models.BooleanField(_("from the command line"), default=False)
    settings = models.JSONField(_("settings"), help_text=_("See playground.loadtests.settings.LoadSettings."))
    levels = models.JSONField(_("levels"), default=list, help_text=_("See playground.loadtests.figures.Level."))
    targets = models.JSONField(_("targets"), default=dict, help_text=_("See playground.loadtests.verdicts.TARGETS."))
    verdicts = models.JSONField(_("verdicts"), default=list)
    smoke = models.JSONField(_("smoke requests"), default=list, help_text=_("See playground.loadtests.smoke.Smoke."))
    context_tokens = models.PositiveIntegerField(
        _("context, tokens"), null=True, help_text=_("Of the prompt that was to fill the context, with its answer.")
    )

    class Meta:
        verbose_name = _("load test")
        verbose_name_plural = _("load tests")
        ordering = ("-pk",)
        indexes = (models.Index(fields=("config", "-created_at"), name="load_test_of_config"),)

    def __str__(self) -> str:
        return f"{self.config} #{self.pk}"

    @property
    def asked(self) -> LoadSettings:
        """The settings, as they were asked for."""
        return LoadSettings.from_json(self.settings)

    @property
    def measured(self) -> list[Level]:
        """The levels, typed."""
        return cast("list[Level]", self.levels)
