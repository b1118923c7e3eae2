"""A YAML document as plain values that know their lines. Scalars stay as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """Text as written. ``plain`` tells that it stood without quotes, so that ``null`` and ``true`` mean themselves.

    It is never made a number: YAML 1.1 reads the port mapping ``22:22`` as 1342.
    """

    text: str
    line: int
    plain: bool = True
    size: int = 1
    height: int = 0

    @property
    def is_null(self) -> bool:
        """Whether it stands for nothing."""
        return self.plain and self.text in _NULLS

    @property
    def is_true(self) -> bool:
        """Whether Compose takes it for true, quoted or not."""
        return self.text in _TRUE


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list."""

    nodes: tuple[Node, ...]
    line: int
    size: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A value of a table and the line of its key."""

    node: Node
    line: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """Keys and values, merge keys resolved. ``size`` and ``height`` count what aliases unfold to."""

    entries: dict[str, Entry] = field(default_factory=dict)
    line: int = 1
    size: int = 1
    height: int = 0

    def get(self, key: str) -> Node | None:
        """The value of ``key``; None when it is missing or null."""
        entry = self.entries.get(key)
        if entry is None or (isinstance(entry.node, Scalar) and entry.node.is_null):
            return None
        return entry.node

    def at(self, *keys: str) -> Node | None:
        """The value at a path of keys; None when a step of it is missing or no table."""
        node: Node | None = self
        for key in keys:
            node = node.get(key) if isinstance(node, Table) else None
        return node

    def line_of(self, key: str) -> int:
        """The line of a key that is there."""
        return self.entries[key].line

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)


Node = Scalar | Items | Table


def texts(node: Node | None) -> list[Scalar]:
    """The scalars of a list, or a scalar as a list of one."""
    if isinstance(node, Scalar):
        return [node]
    return [item for item in node.nodes if isinstance(item, Scalar)] if isinstance(node, Items) else []
