"""One request to the gateway, whatever it asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playground.protocols.streaming import LARGEST_WHOLE, Files
from playground.protocols.streams.base import EventReader


@dataclass(frozen=True, kw_only=True)
class Plan:
    """In the name of ``user_id``. With ``files`` it is sent as a form; ``largest_whole`` is in bytes."""

    answer_id: int
    user_id: int
    path: str
    body: dict[str, Any]
    reader: EventReader
    files: Files = field(default_factory=dict)
    largest_whole: int = LARGEST_WHOLE
