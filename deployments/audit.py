"""The one way to write an audit row."""

from __future__ import annotations

from typing import Any

from .actors import Actor
from .models import AuditEntry


def record_audit(actor: Actor, action: str, target: str, **detail: Any) -> None:
    """Write who did ``action`` (``object.verb``) to ``target``. Call it inside the change's transaction."""
    AuditEntry.objects.create(
        actor=actor.name, via=actor.via, user=actor.user, action=action, target=target, detail=detail
    )
