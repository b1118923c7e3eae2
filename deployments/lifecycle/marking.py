"""Marks what runs do on the charts of their GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deployments.gpu_history import mark
from deployments.models import Deployment

from .phases import MAY_HOLD_A_RUN, Phase


def kind_of(origin: Phase, phase: Phase, *, reason: str) -> str:
    """What the charts call this transition, empty for one that they do not show. Each attempt ends at most once."""
    if phase is Phase.STARTING:
        return "start"
    if phase is Phase.READY:
        return "ready" if origin is Phase.LOADING else ""
    if origin not in MAY_HOLD_A_RUN or origin is Phase.STOPPING:
        return ""
    if phase is Phase.STOPPING:
        # With a reason it has failed already, and only its memory is waited for.
        return "crash" if reason else "stop"
    return "crash" if phase in {Phase.BACKOFF, Phase.FAILED} else ""


def mark_move(
    deployment: Deployment, origin: Phase, phase: Phase, *, at: datetime, reason: str, params: Mapping[str, Any]
) -> None:
    """Mark it on each GPU of the run, if it has any. Call it once the move is committed; never raises for Redis."""
    kind = kind_of(origin, phase, reason=reason)
    if not kind or not deployment.gpu_uuids or deployment.node is None:
        return
    for uuid in deployment.gpu_uuids:
        mark(
            deployment.node.name,
            kind,
            at=at.timestamp(),
            uuid=uuid,
            deployment_id=deployment.pk,
            config=deployment.serving_spec().config,
            reason=reason if kind == "crash" else "",
            reason_params=params,
        )
