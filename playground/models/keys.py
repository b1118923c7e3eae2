"""Keys of the gateway."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from playground.key_rules import EndpointKind, KeyLimits, KeyRules


class GatewayKey(models.Model):
    """A key that programs send to the gateway. Only its digest is kept; see services/keys.py."""

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        EXPIRED = "expired", _("expired")
        REVOKED = "revoked", _("revoked")

    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("prefix"), max_length=8, unique=True, help_text=_("The visible part of the key."))
    digest = models.CharField(_("digest"), max_length=64, help_text=_("SHA-256 of the whole key, in hex."))
    made_by = models.CharField(_("made by"), max_length=150)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("person"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    allowed_models = models.JSONField(
        _("models"), default=list, blank=True, help_text=_("Names of models and configs; empty is all.")
    )
    allowed_endpoints = models.JSONField(_("kinds of request"), default=list, blank=True, help_text=_("Empty is all."))
    requests_per_minute = models.PositiveIntegerField(_("requests per minute"), null=True, blank=True)
    tokens_per_minute = models.PositiveBigIntegerField(_("tokens per minute"), null=True, blank=True)
    tokens_per_day = models.PositiveBigIntegerField(_("tokens per day"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    revoked_by = models.CharField(_("revoked by"), max_length=150, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        _("last used"), null=True, editable=False, help_text=_("To within ten minutes.")
    )

    class Meta:
        verbose_name = _("gateway key")
        verbose_name_plural = _("gateway keys")
        ordering = ("name", "-created_at")
        permissions = (("send_request", "Can send requests to models"),)
        constraints = (
            models.UniqueConstraint(
                fields=("name",), condition=Q(revoked_at__isnull=True), name="one_unrevoked_key_of_a_name"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} (berth-{self.prefix}-…)"

    @property
    def state(self) -> GatewayKey.State:
        """What the key is worth now."""
        return self.state_at(timezone.now())

    def state_at(self, moment: datetime) -> GatewayKey.State:
        """What the key is worth at ``moment``; revoked wins over expired."""
        if self.revoked_at is not None:
            return self.State.REVOKED
        if self.expires_at is not None and self.expires_at <= moment:
            return self.State.EXPIRED
        return self.State.ACTIVE

    @property
    def rules(self) -> KeyRules:
        """Scopes and limits."""
        return KeyRules(
            models=tuple(self.allowed_models),
            endpoints=tuple(self.allowed_endpoints),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            tokens_per_day=self.tokens_per_day,
        )

    @property
    def limits(self) -> KeyLimits:
        """How much it may use."""
        return KeyLimits(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            tokens_per_day=self.tokens_per_day,
        )

    @property
    def endpoint_words(self) -> list[str]:
        """The kinds of request that it may send, in words."""
        known = dict(EndpointKind.choices)
        return [str(known.get(kind, kind)) for kind in self.allowed_endpoints]
