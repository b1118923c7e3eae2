"""The deltas of one answer as a reader takes them: by their numbers, each once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

#: One of a stream of Redis: its id and its fields.
Entry = tuple[str, dict[str, str]]
#: A delta with its number.
Part = tuple[int, dict[str, Any]]
#: Deltas that wait in this process for a reader whose socket is slow; after that it reads them from Redis.
MOST_HEARD: Final = 500


@dataclass(kw_only=True)
class Followed:
    """``sequence`` is the number of the last delta that this reader has; ``has_gap``: the next one is lost.

    One that ``is_told`` needs no Redis: what this process makes of it comes by :meth:`hear`. ``is_silent``: nothing has
    come that way since somebody looked.
    """

    sequence: int = 0
    needs_row: bool = True
    has_gap: bool = False
    is_told: bool = False
    is_silent: bool = True
    heard: list[Part] = field(default_factory=list)

    def hear(self, number: int, delta: dict[str, Any]) -> None:
        """Keep the next delta until it is taken."""
        self.is_silent = False
        self.heard.append((number, delta))
        if len(self.heard) > MOST_HEARD:
            self.is_told = False
            self.heard.clear()

    def take_heard(self) -> dict[str, Any]:
        """What was heard since it was last taken, see :meth:`take`."""
        heard, self.heard = self.heard, []
        return self.take(heard)

    def take_read(self, entries: list[Entry]) -> dict[str, Any]:
        """What a read gave, see :meth:`take`."""
        return self.take(
            [(int(entry_id.partition("-")[0]), json.loads(fields["delta"])) for entry_id, fields in entries]
        )

    def take(self, parts: list[Part]) -> dict[str, Any]:
        """All deltas that wait as one, since a browser that is slow gets fewer and larger ones; empty for none.

        It has the numbers ``after`` which it comes, and its own as ``sequence``.
        """
        delta: dict[str, Any] = {"text": "", "reasoning": ""}
        after = self.sequence
        for number, part in parts:
            if number <= self.sequence:
                # The row, which was looked at meanwhile, had it.
                continue
            if number != self.sequence + 1:
                # Some were trimmed, or Redis lost them: the row has them within two seconds.
                self.needs_row = self.has_gap = True
                break
            self.sequence = number
            if part.get("over"):
                self.needs_row = True
                break
            delta["text"] += part.get("text", "")
            delta["reasoning"] += part.get("reasoning", "")
            delta |= {name: part[name] for name in ("calls", "facts", "pieces") if name in part}
        delta = {name: value for name, value in delta.items() if value}
        return {**delta, "after": after, "sequence": self.sequence} if delta else {}
