"""The state of a config as the command line and scripts read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .lifecycle.reasons import explain
from .models import Config, Deployment


@dataclass(frozen=True, kw_only=True)
class Status:
    """One row of ``status``. ``since`` is ISO 8601; fields of a config that never ran are empty."""

    config: str
    model: str
    protocol: str
    desired: str
    phase: str
    reason: str
    node: str
    gpus: int
    endpoint: str
    deployment: int | None
    since: str | None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def status_of(config: Config, deployment: Deployment | None) -> Status:
    """The state of ``config``, from its newest deployment."""
    if deployment is None:
        return Status(
            config=config.name,
            model=config.model.name,
            protocol=config.protocol,
            desired="stopped",
            phase="stopped",
            reason="",
            node="",
            gpus=config.gpus,
            endpoint="",
            deployment=None,
            since=None,
        )
    spec = deployment.serving_spec()
    return Status(
        config=spec.config,
        model=spec.model,
        protocol=spec.protocol,
        desired=deployment.desired,
        phase=deployment.phase,
        reason=str(explain(deployment.reason, deployment.reason_params)),
        node=deployment.node.name if deployment.node else "",
        gpus=spec.gpus,
        endpoint=deployment.endpoint,
        deployment=deployment.pk,
        since=deployment.phase_since.isoformat(),
    )
