"""From the lines that a pull prints for each layer to one progress. Pure.

Source: the engine's API, "Create an image": ``{"status": …, "id": layer, "progressDetail": {"current", "total"}}``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.progress import EXTRACT, LAYERS, Progress

#: The rate is a mean over this many seconds: layers come in bursts.
WINDOW_S = 5.0
HAVE = frozenset({"Download complete", "Verifying Checksum", "Extracting", "Pull complete"})
HERE = "Already exists"
WAITING = frozenset({"Pulling fs layer", "Waiting", HERE})


@dataclass
class _Layer:
    status: str = ""
    done: int = 0
    total: int = 0


@dataclass
class PullProgress:
    """Bytes fetched of all layers. The total is known once each layer that is not here has told its own."""

    layers: dict[str, _Layer] = field(default_factory=dict)
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, line: Mapping[str, Any], *, now: float) -> None:
        """Take one line in; ``now`` is a monotonic time in seconds."""
        status, layer_id = str(line.get("status", "")), str(line.get("id", ""))
        if not layer_id or status.startswith("Pulling from"):
            return
        layer = self.layers.setdefault(layer_id, _Layer())
        layer.status = status
        detail = line.get("progressDetail") or {}
        if status == "Downloading":
            layer.done, layer.total = int(detail.get("current", 0)), int(detail.get("total", 0))
        elif status in HAVE:
            layer.done = layer.total
        self._seen.append((now, self._done()))
        while len(self._seen) > 1 and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def progress(self) -> Progress:
        """What it comes to now."""
        wanted = [layer for layer in self.layers.values() if layer.status != HERE]
        finished = sum(layer.status == "Pull complete" for layer in wanted)
        known = bool(wanted) and all(layer.total or layer.status in HAVE for layer in wanted)
        done, total = self._done(), sum(layer.total for layer in wanted)
        if wanted and all(layer.status in HAVE for layer in wanted):
            return Progress(step=EXTRACT, done=finished, total=len(wanted), unit=LAYERS)
        rate = self._rate()
        left = total - done
        return Progress(
            done=done,
            total=total if known else None,
            rate=rate,
            eta_s=left / rate if known and rate else None,
            layers_done=sum(layer.status in HAVE for layer in wanted) if wanted else None,
            layers=len(wanted) or None,
        )

    def _done(self) -> int:
        return sum(layer.done for layer in self.layers.values())

    def _rate(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (then, before), (now, after) = self._seen[0], self._seen[-1]
        return (after - before) / (now - then) if now > then else None
