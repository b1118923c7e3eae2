"""What a key may do, as the gateway needs it: without the rest of the catalogue, which it never loads."""

from __future__ import annotations

from deployments.models import Config

from .key_rules import KeyScopes
from .models import GatewayKey


def key_scopes(key: GatewayKey) -> KeyScopes:
    """What ``key`` may ask. Who may ask a model may ask each of its configs by name; not the other way round."""
    models = frozenset(name.casefold() for name in key.allowed_models)
    if models:
        configs = Config.objects.filter(model__name__in=key.allowed_models).values_list("name", flat=True)
        models |= {name.casefold() for name in configs}
    return KeyScopes(models=models, endpoints=frozenset(key.allowed_endpoints))
