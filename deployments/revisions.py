"""What differs between two states of a config, field by field and line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from .config_values import FIELD_NAMES, ConfigValues, field_label
from .images import IMAGE_VARIABLES
from .images.settings import readable
from .secret_references import shown_value
from .spec import ServingSpec


@dataclass(frozen=True, kw_only=True)
class DiffLine:
    """A line of a changed field. ``kind`` is ``same``, ``removed`` or ``added``; ``mark`` is its sign."""

    kind: str
    text: str

    @property
    def mark(self) -> str:
        """The sign before the line, so that colour is not the only signal."""
        return {"same": "", "removed": "−", "added": "+"}[self.kind]  # a minus sign


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field that differs, with its lines in order."""

    field: str
    label: str
    lines: tuple[DiffLine, ...]


def changed_fields(old: ConfigValues, new: ConfigValues) -> list[str]:
    """The names of the fields that differ."""
    before, after = old.to_json(), new.to_json()
    return [name for name in FIELD_NAMES if before[name] != after[name]]


def diff_values(old: ConfigValues | None, new: ConfigValues) -> list[FieldChange]:
    """What ``new`` changes; without ``old``, what it sets."""
    return _diff(old.to_json() if old else {}, new.to_json(), FIELD_NAMES)


def diff_specs(old: ServingSpec, new: ServingSpec) -> list[FieldChange]:
    """What a run of ``new`` would have that a run of ``old`` has not."""
    return _diff(old.to_json(), new.to_json(), (name for name in FIELD_NAMES if name in old.to_json()))


def _diff(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> list[FieldChange]:
    return [
        FieldChange(
            field=name,
            label=field_label(name),
            lines=tuple(_diff_lines(value_lines(name, old.get(name)), value_lines(name, new[name]))),
        )
        for name in names
        if old.get(name) != new[name] and not (name not in old and not new[name])
    ]


def _variable_lines(name: str, value: str) -> list[str]:
    shown = shown_value(name, readable(value) if name in IMAGE_VARIABLES else value)
    return f"{name}={shown}".splitlines()


def value_lines(name: str, value: Any) -> list[str]:
    """A field's value as lines of text, a secret hidden; nothing for an empty value."""
    if name == "environment":
        return [line for key, text in sorted((value or {}).items()) for line in _variable_lines(key, text)]
    if isinstance(value, list | tuple):
        return [shown_value("", item) for item in value]
    if isinstance(value, bool):
        return [_("yes") if value else _("no")]
    if value is None or value == "":
        return []
    if isinstance(value, float):
        return [f"{value:g}"]
    return str(value).splitlines()


def _diff_lines(old: list[str], new: list[str]) -> Iterable[DiffLine]:
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            yield from (DiffLine(kind="same", text=text) for text in old[old_from:old_to])
            continue
        yield from (DiffLine(kind="removed", text=text) for text in old[old_from:old_to])
        yield from (DiffLine(kind="added", text=text) for text in new[new_from:new_to])
