"""Places a deployment now, or says why not."""

from __future__ import annotations

from deployments.models import Deployment
from deployments.spec import ServingSpec

from .choosing import choose
from .situation import Fleet, request_of
from .views import Choice, Refusal


def place(deployment: Deployment, fleet: Fleet | None = None) -> Choice | Refusal:
    """Where the deployment goes as things are; takes nothing yet. Reads six rows' worth of queries and Redis once."""
    node = deployment.pinned_node.name if deployment.pinned_node else ""
    return place_spec(deployment.serving_spec(), node=node, gpu_uuids=deployment.pinned_gpus, fleet=fleet)


def place_spec(
    spec: ServingSpec, *, node: str = "", gpu_uuids: tuple[str, ...] | list[str] = (), fleet: Fleet | None = None
) -> Choice | Refusal:
    """Where a run of ``spec`` would go."""
    seen = fleet or Fleet()
    return choose(request_of(spec, node=node, gpu_uuids=gpu_uuids), seen.views(spec))
