"""Registries that images are pushed to."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from deployments.encryption.columns import SealedField

from .catalogue import config_name


class Registry(models.Model):
    """A registry of version 2, and who Berth is there. ``secret`` is the password, encrypted; nobody reads it back."""

    name = models.CharField(_("name"), max_length=100, unique=True, validators=[config_name])
    address = models.CharField(_("address"), max_length=200, help_text=_("Host, and port unless it is 443."))
    username = models.CharField(_("user name"), max_length=200, blank=True)
    secret = SealedField(_("password or token"))
    insecure = models.BooleanField(
        _("without TLS"), default=False, help_text=_("For a registry on this host or in a private network only.")
    )
    checked_at = models.DateTimeField(_("checked"), null=True, editable=False)
    check_code = models.CharField(max_length=30, blank=True, editable=False, help_text=_("Empty: it accepted us."))
    check_detail = models.CharField(max_length=400, blank=True, editable=False)
    created_by = models.CharField(_("made by"), max_length=150, editable=False)
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("registry")
        verbose_name_plural = _("registries")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
