"""Compose's variables: ``$NAME``, ``${NAME:-default}`` and its relatives, ``$$`` for a dollar sign.

The grammar is that of the Compose specification (12-interpolation). Values come from the person who imports and from
nowhere else: the environment of Berth is never asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from deployments.exceptions import ComposeError

from .reading import refuse
from .tree import Scalar

MAX_LENGTH = 64 * 1024
_MAX_NESTING = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Literal text, or the name of a variable that has no value here."""

    text: str
    is_reference: bool = False

    def __str__(self) -> str:
        return f"${{{self.text}}}" if self.is_reference else self.text


@dataclass(frozen=True, kw_only=True)
class Variables:
    """``values`` are those that the person gave. ``missing`` collects names without a value, with their lines."""

    values: Mapping[str, str] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)

    def pieces(self, scalar: Scalar) -> list[Piece]:
        """The text with all variables filled in that have a value. Raises ComposeError for what is no variable."""
        pieces = list(_Parser(scalar, self.values).until_end())
        if sum(len(piece.text) for piece in pieces) > MAX_LENGTH:
            raise refuse(scalar.line, _("with its variables filled in, this is too long. Give a shorter value."))
        return pieces

    def text(self, scalar: Scalar, *, note_missing: bool = True) -> str:
        """The text; what has no value stays as ``${NAME}``, and is noted in ``missing`` unless told otherwise."""
        pieces = self.pieces(scalar)
        if note_missing:
            self.note_missing(pieces, scalar.line)
        return "".join(map(str, pieces))

    def note_missing(self, pieces: list[Piece], line: int) -> None:
        """Remember the names among ``pieces`` that have no value."""
        for piece in pieces:
            if piece.is_reference:
                self.missing.setdefault(piece.text, line)


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, scalar: Scalar, values: Mapping[str, str]) -> None:
        self.text, self.line = scalar.text, scalar.line
        self.values = values
        self.at = 0

    def until_end(self) -> list[Piece]:
        return self._pieces(closing="", depth=0)

    def _pieces(self, *, closing: str, depth: int) -> list[Piece]:
        """Pieces up to ``closing``, which is passed over; up to the end when it is empty."""
        if depth > _MAX_NESTING:
            raise refuse(self.line, _("variables stand too deep within each other. Write the value out."))
        found: list[Piece] = []
        begin = self.at
        while self.at < len(self.text):
            character = self.text[self.at]
            if closing and character == closing:
                found += self._literal(begin)
                self.at += 1
                return found
            if character != "$":
                self.at += 1
                continue
            found += self._literal(begin)
            found += self._variable(depth)
            begin = self.at
        if closing:
            raise refuse(self.line, _("“${” has no “}”. Close it, or write $$ for a dollar sign."))
        return found + list(self._literal(begin))

    def _literal(self, begin: int) -> Iterator[Piece]:
        if self.at > begin:
            yield Piece(text=self.text[begin : self.at])

    def _variable(self, depth: int) -> list[Piece]:
        self.at += 1
        if self.text.startswith("$", self.at):
            self.at += 1
            return [Piece(text="$")]
        braced = self.text.startswith("{", self.at)
        self.at += braced
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise refuse(self.line, _("“$” begins no variable here. Write $$ for a dollar sign."))
        self.at = name.end()
        return self._braced(name[0], depth) if braced else self._value(name[0])

    def _braced(self, name: str, depth: int) -> list[Piece]:
        operator = _OPERATOR.match(self.text, self.at)
        if operator is None:
            if not self.text.startswith("}", self.at):
                message = _("“${%(name)s” is not closed by “}”. Close it, or write $$ for a dollar sign.")
                raise refuse(self.line, message % {"name": name})
            self.at += 1
            return self._value(name)
        self.at = operator.end()
        operand = self._pieces(closing="}", depth=depth + 1)
        value = self.values.get(name)
        is_set = value is not None and (value != "" or ":" not in operator[0])
        match operator[0][-1]:
            case "-":
                return self._value(name) if is_set else operand
            case "+":
                return operand if is_set else []
            case _:
                return self._value(name) if is_set else [Piece(text=name, is_reference=True)]

    def _value(self, name: str) -> list[Piece]:
        value = self.values.get(name)
        return [Piece(text=name, is_reference=True)] if value is None else [Piece(text=value)]


def read_variables(text: str) -> dict[str, str]:
    """The lines of an ``.env`` file: ``NAME=value``, comments and quotes allowed. Raises ComposeError by line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        stripped = line.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise ComposeError(_("Variables, line %(line)d: write NAME=value.") % {"line": number})
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = value
    return found
