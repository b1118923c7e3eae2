"""What an import proposes: values for the form, what was guessed, and what cannot be carried over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from deployments.config_checks import Checked, check_values
from deployments.engines import engine_named
from deployments.engines.base import Engine

from .interpolation import Variables
from .tree import Node, Scalar, Table

#: Where a config of Berth keeps, in a Compose file, what Compose has no words for.
EXTENSION = "x-berth"


class Weight(IntEnum):
    """How much is lost with what is not carried over."""

    DANGEROUS = 0
    LOSS = 1
    HARMLESS = 2


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A key of the service that became a field. ``note`` says what is different, if anything is."""

    key: str
    line: int
    field: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A field that the file does not say plainly. ``why`` is where the value comes from."""

    field: str
    value: Any
    why: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What cannot be carried over: why, and what to do instead."""

    key: str
    line: int
    why: str
    instead: str
    weight: Weight = Weight.LOSS


@dataclass(frozen=True, kw_only=True)
class KnownModels:
    """The catalogue's models by name, and which of them each weights repository belongs to."""

    names: Collection[str] = ()
    by_repository: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """For one service. ``values`` are fields of a config by name, typed; those nobody could tell are missing.

    ``variables`` are the names without a value that the carried values still hold as ``${NAME}``, with their lines.
    """

    service: str
    name: str
    values: dict[str, Any]
    carried: tuple[Carried, ...]
    guesses: tuple[Guess, ...]
    left_out: tuple[LeftOut, ...]
    variables: dict[str, int]

    def checked(self, *, models: Collection[str]) -> Checked:
        """The values, checked as any config's are."""
        return check_values(self.values, models=models)

    def guessed(self, name: str) -> bool:
        """Whether a field was guessed."""
        return any(guess.field == name for guess in self.guesses)


@dataclass(kw_only=True)
class Draft:
    """A proposal in the making. Each part of the reading takes its keys of ``service`` and says what became of them."""

    service: Table
    document: Table
    variables: Variables
    known_secrets: Collection[str]
    models: KnownModels
    #: Whether Berth wrote the service, so that ``${NAME}`` is a reference of Berth's.
    is_own: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    carried: list[Carried] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        """The engine that was recognised."""
        return engine_named(self.values["engine"])

    @property
    def arguments(self) -> tuple[str, ...]:
        """The whole argv that the file tells: entry point and arguments."""
        return (*self.values.get("entrypoint", ()), *self.values.get("arguments", ()))

    def text(self, node: Node | None, *, note_missing: bool = True) -> str:
        """A scalar with its variables filled in; empty for anything else."""
        return self.variables.text(node, note_missing=note_missing) if isinstance(node, Scalar) else ""

    def carry(self, key: str, name: str, value: Any, *, note: str = "") -> None:
        """A key became the field ``name``."""
        self.values[name] = value
        self.note(key, name, note)

    def note(self, key: str, name: str, note: str = "") -> None:
        """A key went into the field ``name``, which is set already or set by Berth itself."""
        self.carried.append(Carried(key=key, line=self.line_of(key), field=name, note=note))

    def guess(self, name: str, value: Any, why: str) -> None:
        """Set a field that the file does not say plainly."""
        self.values[name] = value
        self.guesses.append(Guess(field=name, value=value, why=why))

    def leave(self, key: str, why: str, instead: str, *, weight: Weight = Weight.LOSS, line: int | None = None) -> None:
        """Something is not carried over."""
        at = self.line_of(key) if line is None else line
        self.left_out.append(LeftOut(key=key, line=at, why=why, instead=instead, weight=weight))

    def line_of(self, key: str) -> int:
        """The line of the key, or of the first step of a path that is there."""
        first = key.partition(":")[0].partition(".")[0]
        return self.service.line_of(first) if first in self.service.entries else self.service.line
