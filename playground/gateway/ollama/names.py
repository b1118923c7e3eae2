"""Model names as Ollama writes them: ``name:tag``, the tag ``latest`` when nobody says another."""

from __future__ import annotations

from typing import Final

from playground.exceptions import ModelNotFoundError
from playground.gateway.routing import RoutingTable

_LATEST: Final = ":latest"


def tagged(name: str) -> str:
    """``name`` with a tag. A colon before the last slash is a registry's port."""
    return name if ":" in name.rpartition("/")[2] else name + _LATEST


def known_name(table: RoutingTable, name: str) -> str:
    """The name that ``table`` knows for what a client sent, so that scopes and limits are those of that name.

    A name that the table does not know comes back as it is: the table's own refusal names what is ready.
    """
    for known in (name, name.removesuffix(_LATEST)):
        try:
            return table.find(known).name
        except ModelNotFoundError:
            continue
    return name
