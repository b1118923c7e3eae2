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
from .redis_keys import gpu_live, gpu_reading

logger = logging.getLogger(__name__)
KEPT_S = 60
#: So many seconds a web process may lag behind and miss nothing.
LIVE_READINGS = 30
#: Older than this, a reading says nothing about now.
FRESH_S = 10.0
#: How the source of a recording begins.
REPLAY = "replay:"
#: ``stale``: the driver has not answered; ``lost``: it fell off the bus; ``degraded``: it works and needs attention.
STATES = ("ok", "degraded", "lost", "stale", "no_permission")
#: What can slow a GPU's clocks. ``idle`` is no trouble.
LIMITERS = (
    "idle",
    "applications",
    "power_cap",
    "power_brake",
    "thermal_software",
    "thermal_hardware",
    "hardware",
    "sync",
)


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process on a GPU. ``memory_bytes`` is None when the driver does not say.

    ``run_name`` is the run of ours that it belongs to, empty for a foreign one. While ``attributed`` is False
    nobody can tell, because the runtime does not answer: it may be ours. ``utilization_percent`` is its share of
    the SMs as the driver samples it, None where it was not sampled.
    """

    pid: int
    memory_bytes: int | None = None
    user: str = ""
    command: str = ""
    run_name: str = ""
    attributed: bool = True
    utilization_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """One GPU now. 0 only where the driver said 0; None where it said nothing, and ``missing`` has the reason.

    Memory is counted as nvidia-smi counts: reserved memory apart. ``state`` is one of :data:`STATES`; ``error`` says
    why the GPU cannot be used or measured. ``processes`` None means that they could not be listed, and
    ``processes_error`` why. ``limiters`` are names of :data:`LIMITERS` that slow the clocks now,
    ``limited_s`` for how many of the last 60 seconds each did. ``missing`` has for a field the reason of its None:
    not_supported, no_permission, timeout, error. A MIG instance is a row of its own with ``parent_uuid``.
    """

    uuid: str
    index: int
    state: str = "ok"
    name: str = ""
    parent_uuid: str = ""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    utilization_gpu_percent: float | None = None
    utilization_memory_percent: float | None = None
    sm_active_percent: float | None = None
    tensor_active_percent: float | None = None
    dram_active_percent: float | None = None
    temperature_gpu_celsius: float | None = None
    temperature_memory_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    clock_sm_mhz: int | None = None
    clock_sm_max_mhz: int | None = None
    clock_memory_mhz: int | None = None
    performance_state: int | None = None
    fan_percent: float | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    remapped_rows: int | None = None
    recovery_action: str = ""
    xid: int | None = None
    xid_at: float | None = None
    limiters: tuple[str, ...] = ()
    limited_s: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[GpuProcess, ...] | None = None
    error: str = ""
    processes_error: str = ""


@dataclass(frozen=True, kw_only=True)
class RunReading:
    """What one deployment was given and what it was seen to use on this node's GPUs.

    ``assigned`` are the UUIDs of its leases, ``observed`` those on which a process of it was seen.
    ``memory_bytes`` and ``utilization_percent`` are sums over what was seen, None while a part is not known.
    ``expected_bytes`` is the estimate, or what an earlier run held. ``flags``: ``elsewhere`` (on a GPU it was not
    given), ``orphaned`` (ended, and its processes still hold memory).
    """

    run_name: str
    deployment_id: int
    config: str
    phase: str = ""
    assigned: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    memory_bytes: int | None = None
    utilization_percent: float | None = None
    expected_bytes: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostReading:
    """The host beside its GPUs; rates are a second's, None on the first reading."""

    cpu_percent: float | None = None
    cpu_count: int | None = None
    load_1m: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_read_bytes_s: float | None = None
    disk_write_bytes_s: float | None = None
    network_received_bytes_s: float | None = None
    network_sent_bytes_s: float | None = None


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
    runs: tuple[RunReading, ...] = field(default=())
    host: HostReading | None = None

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` is its inverse."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> NodeReading:
        """Rebuild from :meth:`to_json`. Raises ValueError, KeyError, TypeError."""
        data = json.loads(text)
        return cls(
            **{
                **data,
                "gpus": tuple(_gpu(item) for item in data["gpus"]),
                "runs": tuple(_run(item) for item in data.get("runs", ())),
                "host": HostReading(**data["host"]) if data.get("host") else None,
            }
        )

    @property
    def is_replay(self) -> bool:
        """Whether it is of a recording: nothing of it is now, and its pids are not of that host."""
        return self.source.startswith(REPLAY)

    def is_fresh(self, now: float) -> bool:
        """Whether it still tells about ``now`` (epoch seconds)."""
        return now - self.at <= FRESH_S


def publish_reading(reading: NodeReading) -> None:
    """Let everybody see it: by its key, and by the stream that web processes follow. Raises RedisError."""
    text, stream = reading.to_json(), gpu_live(reading.node)
    both = client().pipeline(transaction=False)
    both.set(gpu_reading(reading.node), text, ex=KEPT_S)
    both.xadd(stream, {"reading": text}, maxlen=LIVE_READINGS, approximate=False)
    both.expire(stream, KEPT_S)
    both.execute()


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
    return GpuReading(**{**data, "processes": known, "limiters": tuple(data.get("limiters", ()))})


def _run(data: dict[str, Any]) -> RunReading:
    return RunReading(**{**data, **{name: tuple(data.get(name, ())) for name in ("assigned", "observed", "flags")}})
