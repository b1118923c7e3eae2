"""Tests of a delivery's image: it is run, asked, loaded and judged."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings as django_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from deployments.models import Delivery, Deployment, ImageBuild
from deployments.models.job import Job

from .load_test import LoadTest


class ImageTest(Job):
    """One test. Its worker starts the image, waits until it answers, has the load test run, and stops what it started.

    ``passed`` is None until everything was judged. What it started and had run is kept as soon as it is known, so that
    the worker after one that died goes on with it.
    """

    TASK: ClassVar[str] = "playground.tasks.run_image_test"

    class Stage(models.TextChoices):
        """What it is at."""

        START = "start", _("starts the image")
        READY = "ready", _("waits until it answers")
        LOAD = "load", _("asks it")
        STOP = "stop", _("stops it")

    delivery = models.ForeignKey(
        Delivery, verbose_name=_("delivery"), on_delete=models.CASCADE, related_name="image_tests"
    )
    build = models.ForeignKey(
        ImageBuild, verbose_name=_("build"), null=True, on_delete=models.SET_NULL, related_name="tests"
    )
    image = models.CharField(_("image"), max_length=300)
    stage = models.CharField(_("stage"), max_length=5, choices=Stage, blank=True)
    deployment = models.ForeignKey(
        Deployment, verbose_name=_("deployment"), null=True, on_delete=models.SET_NULL, related_name="image_tests"
    )
    load_test = models.ForeignKey(
        LoadTest, verbose_name=_("load test"), null=True, on_delete=models.SET_NULL, related_name="image_tests"
    )
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("person"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    settings = models.JSONField(_("settings"), help_text=_("See playground.loadtests.settings.LoadSettings."))
    targets = models.JSONField(_("targets"), default=dict, help_text=_("See playground.loadtests.verdicts.TARGETS."))
    passed = models.BooleanField(_("passed"), null=True)

    class Meta:
        verbose_name = _("image test")
        verbose_name_plural = _("image tests")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.image} #{self.pk}"
