"""The credentials that people entered, for whoever pulls or pushes."""

from __future__ import annotations

from deployments.encryption.sealing import unseal
from deployments.models import Registry

from .addresses import canonical, registry_named_by
from .credentials import Credentials


def credentials_for(image: str) -> Credentials:
    """Name and password for the registry that ``image`` names; none where nobody entered one.

    Raises SecretUnreadableError.
    """
    named = registry_named_by(image)
    # They are few, and an older row may have another spelling of its address.
    for registry in Registry.objects.exclude(secret="").order_by("pk"):
        if canonical(registry.address) == named:
            return Credentials(username=registry.username, password=unseal(registry.secret))
    return Credentials()
