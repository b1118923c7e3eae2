"""What a page makes of the frames of the GPU hub, as static/js/gpus/merge.js does; and readings to publish."""

from __future__ import annotations

import json
import time
from typing import Any, Self

from deployments.gpu_readings import GpuReading, NodeReading


class Mirror:
    """A page's memory. ``take`` fails for a frame that does not follow the one before."""

    def __init__(self) -> None:
        self.seq = -1
        self.nodes: dict[str, dict[str, Any]] = {}
        self.stale: dict[str, float] = {}
        self.away: float | None = None

    def take(self, text: str) -> Self:
        """Apply one frame."""
        message = json.loads(text)
        assert message["type"] == "snapshot" or message["seq"] == self.seq + 1
        self.seq = message["seq"]
        getattr(self, f"_{message['type']}")(message)
        return self

    def _snapshot(self, message: dict[str, Any]) -> None:
        self.nodes = {node["node"]: node for node in message["nodes"]}
        self.stale, self.away = dict(message["stale"]), message["away"]

    def _delta(self, message: dict[str, Any]) -> None:
        for delta in message["nodes"]:
            held = self.nodes.get(delta["node"], {"gpus": [], "host": None})
            known = {gpu["uuid"]: gpu for gpu in held["gpus"]}
            for uuid, fields in delta.pop("gpus").items():
                known[uuid] = {**known.get(uuid, {}), **fields}
            order = delta.pop("order", [gpu["uuid"] for gpu in held["gpus"]])
            host = delta.pop("host", held["host"])
            host = host and {**(held["host"] or {}), **host}
            self.nodes[delta["node"]] = {**held, **delta, "gpus": [known[uuid] for uuid in order], "host": host}
            self.stale.pop(delta["node"], None)

    def _stale(self, message: dict[str, Any]) -> None:
        self.stale[message["node"]] = message["since"]

    def _away(self, message: dict[str, Any]) -> None:
        self.away = message["since"]

    def _beat(self, message: dict[str, Any]) -> None:
        """Nothing changed."""


def measured(node: str, used: int) -> NodeReading:
    """One GPU now, with so many bytes in use."""
    gpu = GpuReading(uuid=f"GPU-{node}", index=0, name="H200", memory_used_bytes=used, memory_total_bytes=1000)
    return NodeReading(node=node, at=time.time(), source="nvml", gpus=(gpu,))
