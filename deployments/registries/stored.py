"""The credentials that people entered, for whoever pulls or pushes."""

from __future__ import annotations

from deployments.encryption.sealing import unseal
from deployments.models import Registry

from .credentials import Credentials


def credentials_for(image: str) -> Credentials:
    """Name and password for the registry that ``image`` names; none where nobody entered one.

    Raises SecretUnreadableError.
    """
    address, slash, _path = image.partition("/")
    found = Registry.objects.filter(address=address).exclude(secret="").order_by("pk").first() if slash else None
    if found is None:
        return Credentials()
    return Credentials(username=found.username, password=unseal(found.secret))
