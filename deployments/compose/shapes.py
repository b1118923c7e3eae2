"""Whether what becomes a field has the shape that Compose asks for: text, a list or a table."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .reading import refuse
from .tree import Items, Node, Scalar, Table

_TEXT, _LIST, _TABLE = (Scalar,), (Items,), (Table,)
_WORDS: dict[type, str | Promise] = {
    Scalar: gettext_lazy("text"),
    Items: gettext_lazy("a list"),
    Table: gettext_lazy("a table"),
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The kinds that a value may be, and those of what stands in it."""

    kinds: tuple[type, ...]
    within: tuple[type, ...] = (Scalar, Items, Table)


_WORD = Shape(kinds=_TEXT)
_ARGV = Shape(kinds=(Scalar, Items), within=_TEXT)
_ENTRIES = Shape(kinds=_LIST, within=(Scalar, Table))
_SHAPES = {
    "image": _WORD,
    "entrypoint": _ARGV,
    "command": _ARGV,
    "environment": Shape(kinds=(Items, Table), within=_TEXT),
    "volumes": _ENTRIES,
    "ports": _ENTRIES,
    "expose": Shape(kinds=_LIST, within=_TEXT),
    "gpus": Shape(kinds=(Scalar, Items), within=_TABLE),
    "runtime": _WORD,
    "shm_size": _WORD,
    "healthcheck": Shape(kinds=_TABLE),
    "healthcheck.test": _ARGV,
    "restart": _WORD,
    "stop_grace_period": _WORD,
    "deploy": Shape(kinds=_TABLE),
    "deploy.resources": Shape(kinds=_TABLE),
    "deploy.resources.reservations": Shape(kinds=_TABLE),
    "deploy.resources.reservations.devices": Shape(kinds=_LIST, within=_TABLE),
    "deploy.restart_policy": Shape(kinds=_TABLE),
}


def check_shapes(service: Table) -> None:
    """Raises ComposeError for the first value that Compose itself would refuse, since part of it would be lost."""
    for path, shape in _SHAPES.items():
        node = service.at(*path.split("."))
        if node is None:
            continue
        _check(path, node, shape.kinds)
        for inner in _inner(node):
            _check(path, inner, shape.within, is_within=True)


def _inner(node: Node) -> list[Node]:
    if isinstance(node, Items):
        return list(node.nodes)
    return [entry.node for entry in node.entries.values()] if isinstance(node, Table) else []


def _check(path: str, node: Node, kinds: tuple[type, ...], *, is_within: bool = False) -> None:
    if isinstance(node, kinds):
        return
    told = {
        "key": path,
        "found": str(_WORDS[type(node)]),
        "wanted": _(" or ").join(str(_WORDS[kind]) for kind in kinds),
    }
    if is_within:
        message = _("“%(key)s” holds %(found)s here, and Compose takes %(wanted)s there. Look at dashes and colons.")
    else:
        message = _("“%(key)s” is %(found)s, and Compose takes %(wanted)s. Look at dashes and colons.")
    raise refuse(node.line, message % told)
