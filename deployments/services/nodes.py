"""What people do to nodes."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import OPERATE, Actor
from deployments.audit import record_audit
from deployments.exceptions import NotFoundError
from deployments.models import Node
from deployments.placement.leases import wake_waiting


def set_maintenance(name: str, *, actor: Actor, on: bool, note: str = "") -> Node:
    """Let the node take nothing new, or again. What runs there goes on. Repeatable.

    Raises NotAllowedError, NotFoundError.
    """
    actor.require(OPERATE)
    node = Node.objects.filter(name=name).first()
    if node is None:
        raise NotFoundError(_("There is no node “%(name)s”.") % {"name": name})
    if on == (node.maintenance_since is not None):
        return node
    with transaction.atomic():
        node.maintenance_since = timezone.now() if on else None
        node.maintenance_by = actor.name if on else ""
        node.maintenance_note = note[:200] if on else ""
        node.save(update_fields=["maintenance_since", "maintenance_by", "maintenance_note"])
        record_audit(actor, "node.maintenance_on" if on else "node.maintenance_off", name, note=note)
        if not on:
            transaction.on_commit(wake_waiting)
    return node
