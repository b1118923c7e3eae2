"""Catalogue files as plain values, each with the line that it stands on. Touches no database.

A file is a mapping of ``models`` (a list), ``configs`` (a list) and ``defaults`` (what every config of the file
shares unless it says otherwise). The keys of a config are the columns of :class:`deployments.models.Config`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: The files that come with Berth; problems name them without their folder.
BUILT_IN = Path(__file__).resolve().parent

# The parser in C where it was built, about ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model or config as a file has it. ``lines`` maps a key to its line; "" is the entry's own."""

    file: str
    folder: Path
    name: str
    values: dict[str, Any]
    lines: dict[str, int]
    items: dict[tuple[str, int | str], int] = field(default_factory=dict)

    def line(self, key: str, item: int | str | None = None) -> int:
        """The line of an item of ``key``, else of ``key``, else of the entry."""
        fallback = self.lines.get(key, self.lines[""])
        return self.items.get((key, item), fallback) if item is not None else fallback


@dataclass(kw_only=True)
class CatalogueFiles:
    """What all files say. ``problems`` are sentences that begin with ``file:line``."""

    models: list[Entry] = field(default_factory=list)
    configs: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_catalogue(folders: list[Path]) -> CatalogueFiles:
    """Read every ``*.yaml`` of ``folders``, in the order of folders and names.

    Collects every problem instead of stopping at the first. A folder that does not exist is empty.
    """
    found = CatalogueFiles()
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            _read_file(path, found)
    return found


def _read_file(path: Path, found: CatalogueFiles) -> None:
    file = str(path) if path.parent != BUILT_IN else path.name
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            document = _Document(file, path.parent, loader, found.problems)
            document.read(loader.get_single_node(), found)
        finally:
            loader.dispose()
    except (OSError, UnicodeDecodeError) as error:
        found.problems.append(f"{file}:1: the file cannot be read: {error}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        found.problems.append(f"{file}:{line}: not valid YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        found.problems.append(f"{file}:1: not valid YAML: {error}")


class _Document:
    """One file on its way from YAML nodes, which know their lines, to entries."""

    def __init__(self, file: str, folder: Path, loader: Any, problems: list[str]) -> None:
        self.file = file
        self.folder = folder
        self.loader = loader
        self.problems = problems

    def read(self, root: yaml.Node | None, found: CatalogueFiles) -> None:
        if root is None:
            return
        sections = dict(self._pairs(root, "the file"))
        for key, node in sections.items():
            if key not in {"models", "configs", "defaults"}:
                self._problem(node, f"unknown section “{key}”; known are models, defaults and configs")
        shared = sections.get("defaults")
        defaults = dict(self._pairs(shared, "defaults")) if shared is not None else {}
        found.models.extend(self._entries(sections.get("models"), "model", {}))
        found.configs.extend(self._entries(sections.get("configs"), "config", defaults))

    def _entries(self, node: yaml.Node | None, kind: str, defaults: dict[str, yaml.Node]) -> Iterator[Entry]:
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self._problem(node, f"{kind}s must be a list; begin each entry with “- name:”")
            return
        for child in node.value:
            pairs = {**defaults, **dict(self._pairs(child, f"a {kind}"))}
            name = self.loader.construct_object(pairs.pop("name"), deep=True) if "name" in pairs else None
            if isinstance(name, str) and name.strip():
                yield self._entry(child, name.strip(), pairs)
            elif isinstance(child, yaml.MappingNode):
                self._problem(child, f"this {kind} has no name")

    def _entry(self, node: yaml.Node, name: str, pairs: dict[str, yaml.Node]) -> Entry:
        lines = {"": _line(node)}
        items: dict[tuple[str, int | str], int] = {}
        values: dict[str, Any] = {}
        for key, child in pairs.items():
            lines[key] = _line(child)
            if isinstance(child, yaml.SequenceNode):
                items.update({(key, number): _line(item) for number, item in enumerate(child.value, start=1)})
            elif isinstance(child, yaml.MappingNode):
                items.update({(key, variable): _line(item) for variable, item in self._pairs(child, key)})
            try:
                values[key] = self.loader.construct_object(child, deep=True)
            except yaml.MarkedYAMLError as error:
                self._problem(child, f"{key}: {error.problem}")
        return Entry(file=self.file, folder=self.folder, name=name, values=values, lines=lines, items=items)

    def _pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node]]:
        """Keys and nodes of a mapping. A key that stands twice is a problem, which PyYAML would let pass."""
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, f"{what} must be written as “key: value” lines")
            return
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in seen:
                self._problem(key_node, f"“{key}” stands here twice")
            seen.add(key)
            yield key, value_node

    def _problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(f"{self.file}:{_line(node)}: {message}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
