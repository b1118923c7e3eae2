"""From bytes to a tree, with bounds: no objects, no tags, no bombs, no key twice.

PyYAML's parser turns the text into events; the tree is built here without its constructors, so that nothing of the
file is ever more than text, lists and tables. Aliases share their node: what they would unfold to is only counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.utils.translation import gettext as _

from deployments.exceptions import ComposeError

from .tree import Entry, Items, Node, Scalar, Table

MAX_BYTES = 256 * 1024
#: Lists and tables within each other; Compose's own schema needs nine.
MAX_DEPTH = 24
#: Values of the file once all aliases are unfolded.
MAX_NODES = 20_000
MERGE = "<<"

# The parser in C where it was built, about ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: What YAML 1.2 calls not printable (5.1), which no part of a file may hold.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def refuse(line: int, sentence: str) -> ComposeError:
    """The error for a line of the file."""
    return ComposeError(_("Line %(line)d: %(sentence)s") % {"line": line, "sentence": sentence})


def read_tree(content: bytes | str) -> Table:
    """The one table that a YAML file is. Raises ComposeError naming the line, the cause and the next step."""
    text = _decoded(content)
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        raise _yaml_refusal(text, error) from error
    except yaml.YAMLError as error:
        raise refuse(1, _("this is not valid YAML. Open it in an editor that shows its faults.")) from error


def _decoded(content: bytes | str) -> str:
    size = len(content) if isinstance(content, bytes) else len(content.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        told = {"size": size // 1024, "most": MAX_BYTES // 1024}
        raise ComposeError(
            _("The file has %(size)d KB; a Compose file has at most %(most)d. Keep the services that you need.") % told
        )
    text = (_from_utf8(content) if isinstance(content, bytes) else content).removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        message = _("the character U+%(code)04X cannot be part of a YAML file. Take it away.")
        raise refuse(line, message % {"code": ord(found[0])})
    return text


def _from_utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refuse(line, _("the file is not UTF-8. Save it as UTF-8, then try again.")) from error


def _yaml_refusal(text: str, error: yaml.MarkedYAMLError) -> ComposeError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.split("\n")
    indentation = re.match(r"\s*", lines[line - 1])[0] if line <= len(lines) else ""  # type: ignore[index]
    if "\t" in indentation:
        return refuse(line, _("it is indented with a tab, which YAML forbids. Use spaces."))
    problem = str(error.problem or error.context or "").splitlines()[0]
    message = _("this is not valid YAML (%(problem)s). Look at the indentation, colons and quotes there.")
    return refuse(line, message % {"problem": problem})


@dataclass
class _Open:
    """A list or table whose end has not come yet."""

    is_table: bool
    line: int
    anchor: str | None
    nodes: list[Node] = field(default_factory=list)


class _Builder:
    """Builds nodes from events without recursion."""

    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None
        self.count = 0

    def build(self, text: str) -> Table:
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            self._refuse_tricks(event, line)
            if isinstance(event, yaml.ScalarEvent):
                scalar = Scalar(text=event.value, line=line, plain=bool(event.implicit[0]))
                self._add(scalar, event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                self._add(self._aliased(event.anchor, line), None)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                is_table = isinstance(event, yaml.MappingStartEvent)
                self._begin(_Open(is_table=is_table, line=line, anchor=event.anchor))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._end()
        if not isinstance(self.root, Table):
            raise refuse(1, _("a Compose file is a table that begins with “services:”. Check that this is the file."))
        return self.root

    def _refuse_tricks(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise refuse(line, _("a second document begins here. Keep one of them."))
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise refuse(line, _("the tag %(tag)s is not taken. Write the value without it.") % {"tag": tag[:60]})
        self.count += 1
        if self.count > MAX_NODES:
            raise self._too_much(line)

    def _begin(self, opened: _Open) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise _too_deep(opened.line)
        self.open.append(opened)

    def _end(self) -> None:
        ended = self.open.pop()
        if ended.is_table:
            node: Node = _table(ended.nodes, ended.line)
        else:
            size = 1 + sum(node.size for node in ended.nodes)
            height = 1 + max((node.height for node in ended.nodes), default=0)
            node = Items(nodes=tuple(ended.nodes), line=ended.line, size=size, height=height)
        self._add(node, ended.anchor)

    def _add(self, node: Node, anchor: str | None) -> None:
        if node.size > MAX_NODES:
            raise self._too_much(node.line)
        if len(self.open) + node.height > MAX_DEPTH:
            raise _too_deep(node.line)
        if anchor is not None:
            self.anchors[anchor] = node
        if self.open:
            self.open[-1].nodes.append(node)
        else:
            self.root = node

    def _aliased(self, name: str | None, line: int) -> Node:
        if name is None or name not in self.anchors:
            message = _("*%(name)s stands for nothing yet: no &%(name)s ends before it. Write the value out.")
            raise refuse(line, message % {"name": str(name)[:60]})
        return self.anchors[name]

    def _too_much(self, line: int) -> ComposeError:
        message = _("up to here the file has more than %(most)d values, its aliases unfolded. Make it smaller.")
        return refuse(line, message % {"most": MAX_NODES})


def _too_deep(line: int) -> ComposeError:
    message = _("lists and tables stand more than %(most)d deep within each other. Compose files need nine.")
    return refuse(line, message % {"most": MAX_DEPTH})


def _table(nodes: list[Node], line: int) -> Table:
    """Keys and values in turn. What a merge key brings is overruled by the table's own keys."""
    own: dict[str, Entry] = {}
    merged: dict[str, Entry] = {}
    for key, value in zip(nodes[::2], nodes[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise refuse(key.line, _("a key must be plain text. Write it as “name: value”."))
        if key.text == MERGE and key.plain and MERGE not in own:
            for source in value.nodes if isinstance(value, Items) else (value,):
                if not isinstance(source, Table):
                    raise refuse(key.line, _("“<<” merges tables only. Give it an alias of one."))
                merged = {**source.entries, **merged}
            continue
        if key.text in own:
            told = {"key": key.text[:60], "first": own[key.text].line}
            raise refuse(key.line, _("“%(key)s” stands here twice, first in line %(first)d. Keep one.") % told)
        own[key.text] = Entry(node=value, line=key.line)
    entries = {**{name: entry for name, entry in merged.items() if name not in own}, **own}
    size = 1 + sum(1 + entry.node.size for entry in entries.values())
    height = 1 + max((entry.node.height for entry in entries.values()), default=0)
    return Table(entries=entries, line=line, size=size, height=height)
