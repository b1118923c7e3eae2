"""From the lines that a push prints for each layer to one progress, and to what a page shows of each layer. Pure.

Source: the engine's API, "Push an image": ``{"status": …, "id": layer, "progressDetail": {"current", "total"}}``, then
``{"aux": {"Tag", "Digest", "Size"}}``. ``current`` may pass ``total``: it counts the layer's tar with its headers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.progress import Progress
from deployments.transfers.layers import LayerProgress, LayerState

#: The rate is a mean over this many seconds: layers end in bursts.
WINDOW_S = 5.0
HERE = "Layer already exists"
MOUNTED = "Mounted from"
RETRYING = "Retrying in"
STATES = {
    "Preparing": LayerState.WAITING,
    "Waiting": LayerState.WAITING,
    "Pushing": LayerState.PUSHING,
    "Pushed": LayerState.PUSHED,
}


@dataclass
class _Layer:
    state: LayerState = LayerState.WAITING
    done: int = 0
    total: int = 0


@dataclass
class PushProgress:
    """Bytes sent of all layers that the registry does not have. ``digest`` is the manifest's, once it is there."""

    digest: str = ""
    layers: dict[str, _Layer] = field(default_factory=dict)
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, line: Mapping[str, Any], *, now: float) -> None:
        """Take one line in; ``now`` is a monotonic time in seconds."""
        self.digest = str((line.get("aux") or {}).get("Digest", "")) or self.digest
        status, layer_id = str(line.get("status", "")), str(line.get("id", ""))
        if not layer_id:
            return
        layer = self.layers.setdefault(layer_id, _Layer())
        detail = line.get("progressDetail") or {}
        layer.state = _state(status, layer.state)
        if status == "Pushing":
            layer.total = max(layer.total, int(detail.get("total", 0)), int(detail.get("current", 0)))
            layer.done = int(detail.get("current", 0))
        elif layer.state is LayerState.PUSHED:
            layer.done = layer.total
        elif layer.state is LayerState.RETRYING:
            layer.done = 0
        self._seen.append((now, self._done()))
        while len(self._seen) > 1 and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def progress(self) -> Progress:
        """What it comes to now."""
        wanted = [layer for layer in self.layers.values() if layer.state is not LayerState.HERE]
        known = bool(self.layers) and all(layer.total or layer.state is LayerState.PUSHED for layer in wanted)
        done, total = self._done(), sum(layer.total for layer in wanted)
        rate = self._rate()
        finished = sum(layer.state in (LayerState.HERE, LayerState.PUSHED) for layer in self.layers.values())
        return Progress(
            done=done,
            total=total if known else None,
            rate=rate,
            eta_s=(total - done) / rate if known and rate else None,
            layers_done=finished if self.layers else None,
            layers=len(self.layers) or None,
        )

    def shown(self) -> list[LayerProgress]:
        """Each layer in the order in which the engine named it."""
        return [
            LayerProgress(id=layer_id, state=layer.state, done_bytes=layer.done, total_bytes=layer.total)
            for layer_id, layer in self.layers.items()
        ]

    def _done(self) -> int:
        return sum(layer.done for layer in self.layers.values())

    def _rate(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (then, before), (now, after) = self._seen[0], self._seen[-1]
        return max(0, after - before) / (now - then) if now > then else None


def _state(status: str, before: LayerState) -> LayerState:
    if status == HERE or status.startswith(MOUNTED):
        return LayerState.HERE
    if status.startswith(RETRYING):
        return LayerState.RETRYING
    return STATES.get(status, before)
