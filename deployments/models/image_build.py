"""One building of an image: what was asked for, frozen, and what came of it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .delivery import Delivery
from .job import Job


class ImageBuild(Job):
    """A Dockerfile and a context, built on one node by its worker.

    The text and the context are copies: what was built stays readable after the delivery has moved on. Secrets are
    kept as names only; their values are the node's own.
    """

    TASK = "deployments.tasks.build_image"

    delivery = models.ForeignKey(
        Delivery, verbose_name=_("delivery"), on_delete=models.CASCADE, related_name="image_builds"
    )
    dockerfile = models.TextField(_("Dockerfile"))
    context = models.JSONField(
        _("build context"), default=dict, help_text=_("See deployments.deliveries.contexts.Context.")
    )
    tag = models.CharField(_("tag"), max_length=300)
    arguments = models.JSONField(_("build arguments"), default=dict)
    secret_names = models.JSONField(_("secrets"), default=list)
    no_cache = models.BooleanField(_("without the cache"), default=False)
    labels = models.JSONField(_("labels"), default=dict)
    base_image = models.CharField(_("base image"), max_length=300, blank=True)
    base_digest = models.CharField(_("digest of the base image"), max_length=300, blank=True)
    steps = models.JSONField(
        _("steps"), default=list, help_text=_("See deployments.runtimes.docker.build_output.BuildStep.")
    )
    log = models.TextField(_("log"), blank=True, help_text=_("Its head and its tail."))
    image_id = models.CharField(_("image id"), max_length=100, blank=True)
    size_bytes = models.BigIntegerField(_("size"), null=True)
    gone_at = models.DateTimeField(
        _("gone since"), null=True, help_text=_("When its node's engine was first asked and had it no more.")
    )
    deleted_by = models.CharField(_("deleted by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("image build")
        verbose_name_plural = _("image builds")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.tag} on {self.node_id}: {self.state}"


class ContextArchive(models.Model):
    """An uploaded archive as it came, known by its digest: a build context, or images to load.

    In the database, because that is what the page's host and the building node share.
    """

    digest = models.CharField(_("digest"), max_length=64, unique=True)
    data = models.BinaryField(_("content"))
    uploaded_by = models.CharField(_("uploaded by"), max_length=150)
    uploaded_at = models.DateTimeField(_("uploaded"), auto_now_add=True)

    class Meta:
        verbose_name = _("uploaded build context")
        verbose_name_plural = _("uploaded build contexts")

    def __str__(self) -> str:
        return self.digest[:12]
