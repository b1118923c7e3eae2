"""What the tests of registries and transfers share."""

from __future__ import annotations

from django.db.models.functions import Now

from deployments.actors import Actor
from deployments.models import Delivery, Node, Registry
from deployments.services.registries import RegistryValues, create_registry

HOST = Actor(name="root", via="cli")
SECRET = "hunter2-of-the-registry"


def make_registry(name: str = "house", *, address: str = "127.0.0.1:5000", **values: object) -> Registry:
    """A registry on loopback; with a user and SECRET unless told otherwise."""
    asked = {"username": "pusher", "password": SECRET, "insecure": True, **values}
    return create_registry(name, RegistryValues(address=address, **asked), actor=HOST)  # type: ignore[arg-type]


def make_delivery(name: str = "wanted") -> Delivery:
    return Delivery.objects.create(name=name, created_by="ann")


def make_node(name: str = "gpu-01") -> Node:
    return Node.objects.create(name=name, runtimes=["docker"], heartbeat_at=Now())
