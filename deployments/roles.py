"""The four roles, as Django groups. Each has all that the one before it has."""

from __future__ import annotations

from typing import Any

ROLES: dict[str, tuple[str, ...]] = {
    "viewer": (
        "deployments.view_config",
        "deployments.view_cataloguemodel",
        "deployments.view_deployment",
        "deployments.view_node",
        "deployments.view_auditentry",
        "deployments.view_delivery",
        "deployments.view_registry",
    ),
    "operator": ("deployments.operate_deployment", "playground.send_request"),
    "editor": (
        "deployments.add_config",
        "deployments.change_config",
        "deployments.delete_config",
        "deployments.add_cataloguemodel",
        "deployments.change_cataloguemodel",
        "deployments.view_configrevision",
        "deployments.build_image",
    ),
    "admin": (
        "playground.add_gatewaykey",
        "playground.change_gatewaykey",
        "playground.view_gatewaykey",
        "auth.add_user",
        "auth.change_user",
        "auth.delete_user",
        "auth.view_user",
        "auth.view_group",
    ),
}


def make_groups(**_: Any) -> None:
    """Make the groups and give each its permissions; repeatable. Runs after each app's migrations.

    A permission that does not exist yet (its app migrates later) is granted by a later call.
    Permissions that people added to a group by hand are kept.
    """
    from django.contrib.auth.models import Group, Permission

    known = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.select_related("content_type")
    }
    granted: list[str] = []
    for role, permissions in ROLES.items():
        granted.extend(permissions)
        group, _created = Group.objects.get_or_create(name=role)
        group.permissions.add(*(known[name] for name in granted if name in known))
