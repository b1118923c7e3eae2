"""What the tests of builds share: a delivery, a job of it on this node, a real engine with a base image."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from deployments.models import Delivery, ImageBuild, Node
from tests.docker_engine import IMAGE

DOCKERFILE = f"FROM {IMAGE}\nRUN echo built > /tmp/built\n"


def this_node() -> Node:
    """The node of this process, alive."""
    node, _made = Node.objects.update_or_create(
        name=settings.BERTH_NODE_NAME, defaults={"runtimes": ["docker", "process"], "heartbeat_at": Now()}
    )
    return node


def make_delivery(name: str = "chat", **columns: Any) -> Delivery:
    """A delivery whose Dockerfile builds in a second."""
    return Delivery.objects.create(
        **{"name": name, "created_by": "ed", "dockerfile": DOCKERFILE, "way": "official", **columns}
    )


def make_build(dockerfile: str = DOCKERFILE, **columns: Any) -> ImageBuild:
    """A pending build on this node."""
    delivery = columns.pop("delivery", None) or Delivery.objects.first() or make_delivery()
    tag = columns.pop("tag", "berth-test/built:1")
    return ImageBuild.objects.create(
        **{"delivery": delivery, "node": this_node(), "dockerfile": dockerfile, "tag": tag, "requested_by": "ed"}
        | columns
    )
