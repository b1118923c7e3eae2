"""What waits in Redis for a worker, and when worker and agents were last heard."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.metrics_core import Metric

from .families import gauge, put


def queue_families(lengths: Mapping[str, int], usage_entries: int | None) -> list[Metric]:
    """Celery's queues, and batches of usage that are not yet in the roll-ups."""
    length = gauge("berth_queue_length", "Messages that no worker has taken.", ("queue",))
    for queue, messages in lengths.items():
        put(length, (queue,), messages)
    usage = gauge("berth_usage_batches_waiting", "Batches of usage that are not in the roll-ups yet.")
    put(usage, (), usage_entries)
    return [length, usage]


def heartbeat_families(sweep_at: float | None, agents: Mapping[str, float], *, now: float) -> list[Metric]:
    """How old the heartbeats in Redis are; a heartbeat is kept 30 s, after which it has no sample."""
    sweep = gauge("berth_sweep_heartbeat_age", "Time since a worker swept; absent after 30 s.", unit="seconds")
    put(sweep, (), None if sweep_at is None else max(0.0, now - sweep_at))
    agent = gauge(
        "berth_agent_heartbeat_age",
        "Time since the node's agent told Redis that it lives; absent after 30 s.",
        ("node",),
        unit="seconds",
    )
    for node, at in agents.items():
        put(agent, (node,), max(0.0, now - at))
    return [sweep, agent]
