"""What Ollama's clients ask about models: tags, ps, version, and show where no Ollama can be asked.

Only what the routing table knows is said: empty details mean that nobody knows, as in Ollama itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from playground.exceptions import EndpointMismatchError
from playground.gateway.auth import Caller
from playground.gateway.endpoints import BY_PATH
from playground.gateway.routing import Route, RoutingTable
from playground.gateway.startable import ListedModel

from .answers import encoded, timestamp
from .names import tagged

#: The version of the API that is spoken here; clients refuse old ones.
VERSION: Final = "0.32.15"
#: A deployment's model stays until somebody stops it.
_FOREVER: Final = "9999-12-31T23:59:59Z"
_CHAT: Final = "/api/chat"
_DETAILS: Final[dict[str, Any]] = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": [],
    "parameter_size": "",
    "quantization_level": "",
}


def tags(table: RoutingTable, caller: Caller) -> bytes:
    """The answer of /api/tags: every name that ``caller`` may ask here."""
    chat = BY_PATH[_CHAT]
    ready = [_entry(model, routes) for model, routes in _served(table, caller)]
    # Not of the protocol: a request starts what is not ready, and waits for it.
    startable = [
        _entry(model, []) | {"ready": False}
        for model in table.listed_startable()
        if caller.may_ask(model.name) and any(each.serves(chat) for each in table.startable.named(model.name))
    ]
    return encoded({"models": [*ready, *startable]})


def loaded_models(table: RoutingTable, caller: Caller) -> bytes:
    """The answer of /api/ps: what is ready is loaded."""
    loaded = []
    for model, routes in _served(table, caller):
        entry = _entry(model, routes) | {"expires_at": _FOREVER, "size_vram": 0}
        del entry["modified_at"]
        loaded.append(entry)
    return encoded({"models": loaded})


def shown(model: ListedModel) -> bytes:
    """The answer of /api/show for a deployment that is no Ollama. That it completes is its protocol's promise."""
    content = {"modelfile": "", "parameters": "", "template": "", "details": _DETAILS, "model_info": {}}
    return encoded({**content, "capabilities": ["completion"], "modified_at": timestamp(model.since)})


def version(_table: RoutingTable, _caller: Caller) -> bytes:
    """The answer of /api/version."""
    return encoded({"version": VERSION})


def _served(table: RoutingTable, caller: Caller) -> list[tuple[ListedModel, list[Route]]]:
    found = []
    for model in table.listed():
        if not caller.may_ask(model.name):
            continue
        try:
            found.append((model, table.candidates(model.name, BY_PATH[_CHAT])))
        except EndpointMismatchError:
            # Images and the like are no models of Ollama's API.
            continue
    return found


def _entry(model: ListedModel, routes: list[Route]) -> dict[str, Any]:
    name = tagged(model.name)
    return {
        "name": name,
        "model": name,
        "modified_at": timestamp(model.since),
        "size": 0,
        "digest": _digest(routes, model.configs),
        "details": _DETAILS,
    }


def _digest(routes: list[Route], configs: Sequence[str]) -> str:
    """SHA-256 of the specification that is served under a name; of all of them where a name means several configs.

    What is not ready has the digest of its names: the specification is made when it starts.
    """
    # A worker of an older version wrote no digest.
    told = {route.digest or _digest_of(route.config) for route in routes} or {_digest_of(name) for name in configs}
    digests = sorted(told)
    return digests[0] if len(digests) == 1 else _digest_of("\n".join(digests))


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
