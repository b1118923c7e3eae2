"""Who we are for a registry, as the engine is told with each pull and push."""

from __future__ import annotations

from typing import Any

from docker import auth

from deployments.registries.credentials import Credentials


def registry_header(repository: str, credentials: Credentials) -> Any:
    """The value of ``X-Registry-Auth``, which pushes need even without a password. The engine keeps it nowhere."""
    registry, _path = auth.resolve_repository_name(repository)
    if registry == auth.INDEX_NAME:
        registry = auth.INDEX_URL
    named = {"username": credentials.username, "password": credentials.password, "serveraddress": registry}
    return auth.encode_header(named if credentials else {})
