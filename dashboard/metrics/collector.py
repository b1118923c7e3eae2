"""Everything that one scrape tells. What does not answer is left out, and ``berth_scrape_error`` is 1."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator

from django.conf import settings
from django.db import DatabaseError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deployments.redis import RedisError

from .build import build_family
from .deployments import deployment_families, observed_families, waiting_families
from .families import gauge, put, with_samples
from .gateway import served_families, under_way_families
from .gpus import gpu_families, quarantine_family
from .nodes import host_families, node_families
from .observed import Observed, observe
from .queues import heartbeat_families, queue_families
from .stored import Stored, read_stored

logger = logging.getLogger(__name__)
Families = Callable[[], Iterable[Metric]]


class BerthCollector(Collector):
    """Reads database and Redis at each :meth:`collect`, and never raises."""

    def collect(self) -> Iterator[Metric]:
        """All families that have a sample."""
        began, now = time.perf_counter(), time.time()
        stored = _stored()
        # Without the database, this host's own node is what is known by name.
        nodes = [settings.BERTH_NODE_NAME] if stored is None else [node.name for node in stored.nodes]
        observed = _observed(nodes)
        failed = stored is None or observed is None or observed.failed
        for families in _families(stored, observed, now=now):
            try:
                made = with_samples(families())
            except Exception:
                # One family must not take the others with it.
                logger.exception("A family of metrics is left out")
                failed = True
            else:
                yield from made
        yield from _about_itself(stored, observed, failed=failed, began=began)


def _families(stored: Stored | None, observed: Observed | None, *, now: float) -> list[Families]:
    rows = [] if stored is None else list(stored.deployments)
    families: list[Families] = [lambda: [build_family()]]
    if stored is not None:
        families += [
            lambda: [quarantine_family(stored.gpus)],
            lambda: node_families(stored.nodes, now=now),
            lambda: deployment_families(rows, now=now),
            lambda: waiting_families(rows),
            lambda: served_families(stored.gateway),
        ]
    if observed is not None:
        readings = list(observed.readings.values())
        families += [
            lambda: gpu_families(readings, now=now),
            lambda: host_families(readings, now=now),
            lambda: observed_families(rows, readings, now=now),
            lambda: under_way_families(observed.in_flight, rows),
            lambda: queue_families(observed.queues, observed.usage_entries),
            lambda: heartbeat_families(observed.sweep_at, observed.agents, now=now),
        ]
    return families


def _about_itself(
    stored: Stored | None, observed: Observed | None, *, failed: bool, began: float
) -> list[GaugeMetricFamily]:
    error = gauge("berth_scrape_error", "1 if a part of this answer is missing; Berth's log says why.")
    put(error, (), failed)
    sources = gauge("berth_scrape_source_up", "1 if what the metrics are read from answered.", ("source",))
    put(sources, ("database",), stored is not None)
    put(sources, ("redis",), observed is not None)
    duration = gauge("berth_scrape_duration", "Time that this answer took.", unit="seconds")
    put(duration, (), time.perf_counter() - began)
    return [error, sources, duration]


def _stored() -> Stored | None:
    try:
        return read_stored()
    except DatabaseError as error:
        logger.warning("The metrics lack what the database knows: %s", error)
        return None


def _observed(nodes: list[str]) -> Observed | None:
    try:
        return observe(nodes)
    except (RedisError, OSError) as error:
        logger.warning("The metrics lack what Redis knows: %s", error)
        return None
