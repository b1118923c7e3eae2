from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from .models import GatewayKey

if TYPE_CHECKING:
    GatewayKeyAdminBase = admin.ModelAdmin[GatewayKey]
else:
    GatewayKeyAdminBase = admin.ModelAdmin


@admin.register(GatewayKey)
class GatewayKeyAdmin(GatewayKeyAdminBase):
    """To look at only: keys are made and revoked on their own page, which leaves an audit row."""

    list_display = ("name", "prefix", "made_by", "created_at", "expires_at", "revoked_at", "last_used_at")
    search_fields = ("name", "prefix", "made_by")
    exclude = ("digest",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: GatewayKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: GatewayKey | None = None) -> bool:
        return False
