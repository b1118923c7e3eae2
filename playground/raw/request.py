"""A request as it was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .addresses import Kind


@dataclass(frozen=True, kw_only=True)
class Asked:
    """``body`` is what it says, the fields of a form among it; ``files`` are names by field."""

    kind: Kind
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Of HTTP."""
        return "GET" if self.kind == "get" else "POST"

    @property
    def form(self) -> dict[str, list[str]]:
        """The fields that are no files. A list is the same field again and again; what is no text is JSON."""
        return {name: [_text(each) for each in _listed(value)] for name, value in self.body.items()}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
