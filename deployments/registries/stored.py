"""The credentials that people entered, for whoever pulls or pushes."""

from __future__ import annotations

from deployments.encryption.sealing import unseal
from deployments.models import Registry

from .addresses import registry_named_by
from .credentials import Credentials


def credentials_for(image: str) -> Credentials:
    """Name and password for the registry that ``image`` names; none where nobody entered one.

    Raises SecretUnreadableError.
    """
    found = Registry.objects.filter(address=registry_named_by(image)).exclude(secret="").order_by("pk").first()
    if found is None:
        return Credentials()
    return Credentials(username=found.username, password=unseal(found.secret))
