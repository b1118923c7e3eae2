"""The only place that writes a deployment's phase and observed columns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from deployments.live import publish_change, publish_routes
from deployments.models import Deployment, DeploymentEvent
from deployments.placement.leases import release_leases
from deployments.start_telling import publish_start_state

from .marking import mark_move
from .phases import ENDED, Phase, may_move
from .replacing import follow_up

logger = logging.getLogger(__name__)
ROUTED = frozenset({Phase.READY})


class LostClaimError(Exception):
    """Somebody else acts on the row now; nothing was written."""


def move(
    deployment: Deployment,
    phase: Phase,
    *,
    token: str,
    reason: str = "",
    together: Callable[[], None] | None = None,
    **changes: Any,
) -> None:
    """Enter ``phase``, write its event, and tell the pages and the gateways once committed.

    ``changes`` are further columns, ``together`` writes further rows in the same transaction. Leases are given back
    by whatever ends a run or queues it again. Raises LostClaimError when the claim or the phase is not what it was,
    ValueError for a transition that the table forbids.
    """
    origin = Phase(deployment.phase)
    if not may_move(origin, phase):
        raise ValueError(f"{origin} -> {phase} is not in the transition table")
    now = timezone.now()
    params = changes.pop("reason_params", {})
    if phase in ENDED:
        changes.setdefault("ended_at", now)
    values = {
        "phase": phase,
        "phase_since": now,
        "reason": reason,
        "reason_params": params,
        "progress": {},
        **changes,
    }
    with transaction.atomic():
        _update(deployment, token, values)
        if phase in ENDED or phase is Phase.QUEUED:
            release_leases(deployment)
        if together is not None:
            together()
        follow_up(deployment, phase)
        DeploymentEvent.objects.create(
            deployment=deployment,
            at=now,
            phase=phase,
            attempt=deployment.attempt,
            reason=reason,
            reason_params=params,
        )

        def after() -> None:
            _tell(deployment, routes_changed=bool({origin, phase} & ROUTED))
            mark_move(deployment, origin, phase, at=now, reason=reason, params=params)

        transaction.on_commit(after)


def note(deployment: Deployment, *, token: str, **changes: Any) -> None:
    """Write observed columns without changing the phase; silent when nothing differs."""
    changed = {name: value for name, value in changes.items() if getattr(deployment, name) != value}
    if not changed:
        return
    with transaction.atomic():
        _update(deployment, token, changed)
        transaction.on_commit(lambda: _tell(deployment, routes_changed=False))


#: Moments that deadlines are measured from.
MOMENTS = ("phase_since", "signalled_at", "killed_at", "run_cleared_at", "ready_at")
#: Clocks of two hosts differ by so much without anything being wrong.
TOLERATED = timedelta(seconds=2)


def restamp_future(deployment: Deployment, *, token: str) -> None:
    """Move what lies in the future to now: the clock was set back, and every deadline would wait for it to catch up.

    Raises LostClaimError.
    """
    now = timezone.now()
    ahead = {name: now for name in MOMENTS if (at := getattr(deployment, name)) is not None and at - now > TOLERATED}
    if ahead:
        logger.warning("Deployment %s: the clock was set back; %s begin anew", deployment.pk, ", ".join(ahead))
        note(deployment, token=token, **ahead)


def _update(deployment: Deployment, token: str, values: dict[str, Any]) -> None:
    mine = Deployment.objects.filter(pk=deployment.pk, claim_token=token, phase=deployment.phase)
    if not mine.update(**values):
        raise LostClaimError(f"deployment {deployment.pk}")
    for name, value in values.items():
        setattr(deployment, name, value)


def _tell(deployment: Deployment, *, routes_changed: bool) -> None:
    publish_change(deployment.pk, deployment.serving_spec().config)
    publish_start_state(deployment)
    if routes_changed:
        publish_routes()
