"""The GPUs of the nodes, and which deployment holds which."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .deployment import Deployment
from .node import Node


class Gpu(models.Model):
    """One GPU as its node's agent found it. What changes every second is in :mod:`deployments.gpu_readings`.

    Known by its UUID: indexes change with a reboot. A row stays when the GPU is gone; ``seen_at`` tells.
    """

    node = models.ForeignKey(Node, verbose_name=_("node"), on_delete=models.CASCADE, related_name="gpus")
    uuid = models.CharField(_("UUID"), max_length=80)
    index = models.PositiveSmallIntegerField(_("index"))
    name = models.CharField(_("name"), max_length=100)
    memory_bytes = models.PositiveBigIntegerField(_("memory, bytes"))
    pci_bus_id = models.CharField(_("PCI bus id"), max_length=30, blank=True)
    numa_node = models.SmallIntegerField(_("NUMA node"), null=True)
    nvlink_peers = models.JSONField(_("NVLink peers"), default=list, help_text=_("UUIDs of the same node's GPUs."))
    compute_capability = models.CharField(_("compute capability"), max_length=10, blank=True)
    replay = models.BooleanField(_("of a recording"), default=False, help_text=_("Never placeable."))
    seen_at = models.DateTimeField(_("last seen"))
    quarantined_at = models.DateTimeField(
        _("quarantined at"), null=True, help_text=_("Memory of a stopped run did not return; nothing new is put here.")
    )
    quarantine_params = models.JSONField(default=dict, help_text=_("Who holds the memory: for the sentence shown."))

    class Meta:
        verbose_name = _("GPU")
        verbose_name_plural = _("GPUs")
        ordering = ("node", "index")
        constraints = (models.UniqueConstraint(fields=("node", "uuid"), name="one_row_for_each_gpu"),)

    def __str__(self) -> str:
        return f"{self.node_id} GPU {self.index}"


class GpuLease(models.Model):
    """A GPU held by a live deployment. The row is the lease: a second one is refused by the database."""

    gpu = models.OneToOneField(Gpu, verbose_name=_("GPU"), on_delete=models.PROTECT, related_name="lease")
    deployment = models.ForeignKey(
        Deployment, verbose_name=_("deployment"), on_delete=models.PROTECT, related_name="leases"
    )
    taken_at = models.DateTimeField(_("taken"), auto_now_add=True)

    class Meta:
        verbose_name = _("GPU lease")
        verbose_name_plural = _("GPU leases")

    def __str__(self) -> str:
        return f"{self.gpu_id} held by {self.deployment_id}"
