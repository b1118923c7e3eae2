"""What the GPUs of each node hold now, as its agent measured it: through Redis, a few seconds old at most.

The agent's poller writes (:func:`publish_reading`), placement and pages read (:func:`latest_readings`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .redis import RedisError, client
from .redis_keys import gpu_reading

logger = logging.getLogger(__name__)
KEPT_S = 60
#: Older than this, a reading says nothing about now.
FRESH_S = 10.0


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process on a GPU. ``memory_bytes`` is None when the driver does not say.

    ``run_name`` is the run of ours that it belongs to, empty for a foreign one. While ``attributed`` is False
    nobody can tell, because the runtime does not answer: it may be ours.
    """

    pid: int
    memory_bytes: int | None = None
    user: str = ""
    command: str = ""
    run_name: str = ""
    attributed: bool = True


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """One GPU now; memory in bytes as nvidia-smi counts (reserved memory apart). None where the driver failed.

    ``error`` says why the GPU cannot be used or measured. ``processes`` None means that they could not be listed,
    and ``processes_error`` why.
    """

    uuid: str
    index: int
    memory_total: int | None = None
    memory_used: int | None = None
    memory_free: int | None = None
    processes: tuple[GpuProcess, ...] | None = None
    error: str = ""
    processes_error: str = ""


@dataclass(frozen=True, kw_only=True)
class NodeReading:
    """All GPUs of a node at ``at`` (epoch seconds). ``source`` is "nvml", "replay:FILE" or "" without a driver.

    ``reason`` says why there are no GPUs.
    """

    node: str
    at: float
    source: str = ""
    driver: str = ""
    reason: str = ""
    gpus: tuple[GpuReading, ...] = field(default=())

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` is its inverse."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> NodeReading:
        """Rebuild from :meth:`to_json`. Raises ValueError, KeyError, TypeError."""
        data = json.loads(text)
        return cls(**{**data, "gpus": tuple(_gpu(item) for item in data["gpus"])})

    def is_fresh(self, now: float) -> bool:
        """Whether it still tells about ``now`` (epoch seconds)."""
        return now - self.at <= FRESH_S


def publish_reading(reading: NodeReading) -> None:
    """Let everybody see it. Raises RedisError."""
    client().set(gpu_reading(reading.node), reading.to_json(), ex=KEPT_S)


def latest_readings(nodes: Iterable[str]) -> Mapping[str, NodeReading]:
    """The fresh readings of ``nodes`` by name; a node without one is left out. Never raises."""
    found: dict[str, NodeReading] = {}
    now = time.time()
    for node in nodes:
        try:
            text = client().get(gpu_reading(node))
            if text and (reading := NodeReading.from_json(text)).is_fresh(now):
                found[node] = reading
        except RedisError as error:
            logger.warning("The GPUs of %s are not known: %s", node, error)
            break
        except (ValueError, KeyError, TypeError):
            logger.warning("The GPU reading of %s is malformed", node)
    return found


def _gpu(data: dict[str, Any]) -> GpuReading:
    processes = data.get("processes")
    known = None if processes is None else tuple(GpuProcess(**process) for process in processes)
    return GpuReading(**{**data, "processes": known})
