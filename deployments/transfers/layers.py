"""What is known of a push while it goes on and at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deployments.progress import Progress


class LayerState(StrEnum):
    """Where one layer of a push is. ``HERE``: the registry had it already."""

    WAITING = "waiting"
    PUSHING = "pushing"
    RETRYING = "retrying"
    PUSHED = "pushed"
    HERE = "here"


@dataclass(frozen=True, kw_only=True)
class LayerProgress:
    """One layer, by the short id that the engine gives it; bytes are of the layer unpacked."""

    id: str
    state: LayerState
    done_bytes: int = 0
    total_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"id": self.id, "state": str(self.state), "done": self.done_bytes, "total": self.total_bytes}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LayerProgress:
        """Rebuild from :meth:`to_json`."""
        return cls(id=data["id"], state=LayerState(data["state"]), done_bytes=data["done"], total_bytes=data["total"])


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push came to: the manifest's digest (``sha256:…``), and the image's id and size on the node."""

    digest: str
    image_id: str
    size_bytes: int


#: Told of a push at each line of the engine's.
ReportPush = Callable[[Progress, Sequence[LayerProgress]], None]
