"""What the database of a tree says, as JSON: taken by its ``control`` process, judged by the tests."""

from __future__ import annotations

from typing import Any


def snapshot() -> dict[str, Any]:
    """The newest deployment of each config with all its attempts, every lease, and whose containers are ours."""
    from django.conf import settings

    from deployments.lifecycle.phases import ENDED
    from deployments.models import Attempt, Deployment, Gpu, GpuLease

    rows = list(Deployment.objects.order_by("pk"))
    return {
        "installation": settings.BERTH_INSTALLATION,
        "gpus": Gpu.objects.count(),
        "deployments": [
            {
                "id": row.pk,
                "config": row.spec["config"],
                "desired": row.desired,
                "phase": row.phase,
                "reason": row.reason,
                "live": row.phase not in ENDED,
                "run": row.run_name,
                "attempt": row.attempt,
                "endpoint": row.endpoint,
                "failures": row.failures,
                "restarting": row.generation != row.applied_generation,
                "gpus": row.gpu_uuids,
            }
            for row in rows
        ],
        "leases": [
            {"deployment": lease.deployment_id, "gpu": lease.gpu.uuid}
            for lease in GpuLease.objects.select_related("gpu")
        ],
        "attempts": [
            {
                "deployment": each.deployment_id,
                "number": each.number,
                "was_ready": each.ready_at is not None,
                "ended": each.ended_at is not None,
                "cause": each.cause,
                "log": each.log,
            }
            for each in Attempt.objects.order_by("deployment_id", "number")
        ],
    }


def restart(config: str) -> None:
    """Restart the config's newest run, as the page's button does. Raises BerthError."""
    from deployments.actors import Actor
    from deployments.models import Deployment
    from deployments.services.lifecycle import restart_deployment

    newest = Deployment.objects.filter(config__name=config).order_by("-pk").values_list("pk", flat=True).first()
    restart_deployment(newest or 0, actor=Actor.command_line())
