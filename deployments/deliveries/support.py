"""The table of what each engine supports: ``support.yaml``, read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("support.yaml")


class About(StrEnum):
    """What a row of the table is about."""

    TASK = "task"
    PROTOCOL = "protocol"
    ARCHITECTURE = "architecture"
    QUANTISATION = "quantisation"
    PROCESSOR = "processor"
    LICENCE = "licence"


@dataclass(frozen=True, kw_only=True)
class SupportSource:
    """The document that a row was read from, the version that it describes, and the day it was read."""

    title: str
    url: str
    version: str
    read: date


@dataclass(frozen=True, kw_only=True)
class SupportRow:
    """What one source says about one thing. ``others_no``: all that no row names is not supported.

    ``note`` is a key of :mod:`deployments.deliveries.support_words`.
    """

    about: About
    yes: Sequence[str]
    no: Sequence[str]
    others_no: bool
    note: str
    source: SupportSource


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the table says of a value; ``supported`` is None where it says nothing."""

    supported: bool | None
    row: SupportRow | None = None


@dataclass(frozen=True, kw_only=True)
class EngineSupport:
    """The rows of one engine."""

    name: str
    rows: Sequence[SupportRow]

    def about(self, thing: About) -> Iterator[SupportRow]:
        """The rows about ``thing``."""
        return (row for row in self.rows if row.about == thing)

    def answer(self, thing: About, value: str) -> Answer:
        """Whether it supports ``value``, ignoring case, and the row that says so."""
        rows, wanted = list(self.about(thing)), value.lower()
        for row in rows:
            if wanted in (each.lower() for each in row.no):
                return Answer(supported=False, row=row)
            if wanted in (each.lower() for each in row.yes):
                return Answer(supported=True, row=row)
        closed = next((row for row in rows if row.others_no), None)
        return Answer(supported=False, row=closed) if closed else Answer(supported=None)


@cache
def support_table() -> tuple[EngineSupport, ...]:
    """Every engine in the table's order. Raises KeyError or ValueError when the file is malformed."""
    data = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    sources = {key: SupportSource(**values) for key, values in data["sources"].items()}
    return tuple(
        EngineSupport(name=engine["name"], rows=tuple(_row(row, sources) for row in engine["rows"]))
        for engine in data["engines"]
    )


def _row(row: Mapping[str, Any], sources: Mapping[str, SupportSource]) -> SupportRow:
    return SupportRow(
        about=About(row["about"]),
        yes=tuple(row.get("yes", ())),
        no=tuple(row.get("no", ())),
        others_no=row.get("others") == "no",
        note=row.get("note", ""),
        source=sources[row["source"]],
    )
