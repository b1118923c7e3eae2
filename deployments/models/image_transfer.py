"""Images that were pushed to a registry, saved as an archive, or loaded from one."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .delivery import Delivery
from .job import Job
from .registry import Registry


class ImageTransfer(Job):
    """One push, save or load on ``node``. The image is known there by ``image_id``; ``image`` is its name for people.

    ``repository`` is whole, with the registry's address, so that it stays true when the registry is changed.
    """

    TASK = "deployments.tasks.transfer_image"

    class Kind(models.TextChoices):
        """What is done with the image."""

        PUSH = "push", _("push")
        SAVE = "save", _("save as an archive")
        LOAD = "load", _("load an archive")

    kind = models.CharField(_("kind"), max_length=4, choices=Kind)
    delivery = models.ForeignKey(
        Delivery, verbose_name=_("delivery"), on_delete=models.CASCADE, related_name="transfers"
    )
    image = models.CharField(_("image"), max_length=300, blank=True)
    image_id = models.CharField(_("image id"), max_length=80, blank=True)
    registry = models.ForeignKey(
        Registry, verbose_name=_("registry"), null=True, on_delete=models.SET_NULL, related_name="transfers"
    )
    repository = models.CharField(_("repository"), max_length=300, blank=True)
    tag = models.CharField(_("tag"), max_length=128, blank=True)
    path = models.CharField(_("file"), max_length=500, blank=True, help_text=_("On the node."))
    digest = models.CharField(
        _("digest"), max_length=80, blank=True, help_text=_("The manifest's, or of an archive the file's.")
    )
    size_bytes = models.PositiveBigIntegerField(_("size, bytes"), null=True)
    layers = models.JSONField(_("layers"), default=list, help_text=_("See deployments.transfers.layers."))
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    looked_at = models.DateTimeField(null=True, help_text=_("When the registry was last asked about the digest."))
    asked_at = models.DateTimeField(null=True, help_text=_("When it last answered."))
    gone_at = models.DateTimeField(
        _("gone since"), null=True, help_text=_("When it first said that it has it no more.")
    )
    pinned_at = models.DateTimeField(_("pinned into the config"), null=True)

    class Meta:
        verbose_name = _("image transfer")
        verbose_name_plural = _("image transfers")
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=("delivery", "kind", "-created_at")),)

    def __str__(self) -> str:
        return f"{self.kind} {self.image or self.path}"

    @property
    def pinned_image(self) -> str:
        """What a config writes to run exactly this image: ``repository@sha256:…``."""
        return f"{self.repository}@{self.digest}"
