"""What each node's host does, and when its agent was last heard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.metrics_core import Metric

from deployments.gpu_readings import NodeReading

from .families import gauge, put
from .gpus import PERCENT, Field
from .stored import StoredNode

FIELDS: Final = (
    Field("cpu_percent", "cpu_utilization", "ratio", PERCENT, "Share of the processors' time in use."),
    Field("cpu_count", "cpus", "", 1, "Logical processors."),
    Field("load_1m", "load1", "", 1, "Load average of one minute."),
    Field("memory_used_bytes", "memory_used", "bytes", 1, "Host memory that cannot be had without swapping."),
    Field("memory_total_bytes", "memory_total", "bytes", 1, "Host memory in all."),
    Field("disk_free_bytes", "disk_free", "bytes", 1, "Free space on the disk of Berth's data."),
    Field("disk_total_bytes", "disk_total", "bytes", 1, "Space on the disk of Berth's data."),
    Field("disk_read_bytes_s", "disk_read", "bytes_per_second", 1, "What the disks read."),
    Field("disk_write_bytes_s", "disk_write", "bytes_per_second", 1, "What the disks write."),
    Field("network_received_bytes_s", "network_received", "bytes_per_second", 1, "What the network brings."),
    Field("network_sent_bytes_s", "network_sent", "bytes_per_second", 1, "What goes to the network."),
)


def node_families(nodes: Iterable[StoredNode], *, now: float) -> list[Metric]:
    """Heartbeats and maintenance, from the database."""
    age = gauge(
        "berth_node_heartbeat_age", "Time since the node's agent wrote into the database.", ("node",), unit="seconds"
    )
    maintenance = gauge("berth_node_maintenance", "1 while the node takes nothing new.", ("node",))
    for node in nodes:
        put(age, (node.name,), None if node.heartbeat_at is None else max(0.0, now - node.heartbeat_at))
        put(maintenance, (node.name,), node.in_maintenance)
    return [age, maintenance]


def host_families(readings: Iterable[NodeReading], *, now: float) -> list[Metric]:
    """The hosts' load, of readings that still tell about ``now``."""
    hosts = [(one.node, one.host) for one in readings if one.host is not None and one.is_fresh(now)]
    families: list[Metric] = []
    for field in FIELDS:
        family = gauge(f"berth_node_{field.metric}", field.help, ("node",), unit=field.unit)
        for node, host in hosts:
            put(family, (node,), getattr(host, field.field), times=field.times)
        families.append(family)
    return families
