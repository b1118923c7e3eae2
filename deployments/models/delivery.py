"""Deliveries: somebody asks for a model as a service, and an image is built, tested and pushed for them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .catalogue import Config, config_name


class Delivery(models.Model):
    """One request for a model as a service, from what is asked for to the report.

    It holds what people decided. What was built, tested and pushed are rows of their own, and each step's state is
    read from those and from the real objects behind them, never stored.
    """

    class Way(models.TextChoices):
        """Where its Dockerfile comes from."""

        PROJECT = "project", _("the project's own Dockerfile, with changes")
        OFFICIAL = "official", _("on top of the official image")
        SCRATCH = "scratch", _("from scratch")

    name = models.CharField(_("name"), max_length=100, unique=True, validators=[config_name])
    asked_by = models.CharField(_("asked for by"), max_length=150, blank=True)
    note = models.TextField(_("note"), blank=True)
    requirement = models.JSONField(
        _("requirement"), default=dict, help_text=_("See deployments.deliveries.requirement.Requirement.")
    )
    requirement_by = models.CharField(_("requirement written by"), max_length=150, blank=True)
    requirement_at = models.DateTimeField(_("requirement written"), null=True, editable=False)
    tool = models.CharField(_("tool"), max_length=30, blank=True, help_text=_("The engine that somebody chose."))
    tool_reason = models.CharField(_("why this tool"), max_length=300, blank=True)
    tool_by = models.CharField(_("tool chosen by"), max_length=150, blank=True)
    tool_at = models.DateTimeField(_("tool chosen"), null=True, editable=False)
    config = models.ForeignKey(
        Config,
        verbose_name=_("config"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deliveries",
        help_text=_("What its trials, its tests and its catalogue entry run."),
    )
    way = models.CharField(_("way"), max_length=10, choices=Way, blank=True)
    dockerfile = models.TextField(_("Dockerfile"), blank=True)
    dockerfile_by = models.CharField(_("Dockerfile by"), max_length=150, blank=True)
    dockerfile_at = models.DateTimeField(_("Dockerfile written"), null=True, editable=False)
    context = models.JSONField(
        _("build context"), default=dict, help_text=_("See deployments.deliveries.contexts.Context.")
    )
    created_by = models.CharField(_("made by"), max_length=150)
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    closed_at = models.DateTimeField(_("closed"), null=True, editable=False)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("-created_at", "-id")
        permissions = (("build_image", "Can deliver images: try, build, test and push them"),)

    def __str__(self) -> str:
        return self.name
