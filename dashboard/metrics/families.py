"""Makes metric families: a value that nobody knows has no sample, and whatever a label holds can be sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric

Plain = TypeVar("Plain", GaugeMetricFamily, CounterMetricFamily)


def gauge(name: str, help_text: str, labels: Sequence[str] = (), *, unit: str = "") -> GaugeMetricFamily:
    """An empty gauge; ``unit`` is the end of its name: ``gauge("berth_gpu_power", …, unit="watts")``."""
    return GaugeMetricFamily(name, help_text, labels=labels, unit=unit)


def counter(name: str, help_text: str, labels: Sequence[str] = (), *, unit: str = "") -> CounterMetricFamily:
    """An empty counter; ``_total`` is added to its name."""
    return CounterMetricFamily(name, help_text, labels=labels, unit=unit)


def summary(name: str, help_text: str, labels: Sequence[str] = (), *, unit: str = "") -> SummaryMetricFamily:
    """An empty pair of count and sum."""
    return SummaryMetricFamily(name, help_text, labels=labels, unit=unit)


def put(family: Plain, labels: Iterable[object], value: float | None, *, times: float = 1.0) -> None:
    """Add ``value * times`` unless it is None. Raises TypeError, ValueError for what is no number."""
    if value is not None:
        family.add_metric(texts(labels), float(value) * times)


def put_one_hot(
    family: GaugeMetricFamily, labels: Sequence[object], active: Iterable[str], every: Iterable[str]
) -> None:
    """Add a sample for each of ``every`` as the last label: 1 for the active ones, else 0."""
    on = set(active)
    for name in (*every, *sorted(on.difference(every))):
        put(family, (*labels, name), name in on)


def texts(labels: Iterable[object]) -> list[str]:
    """Labels as text that UTF-8 can carry: a lone surrogate from JSON must not break the whole answer."""
    return ["" if label is None else str(label).encode(errors="replace").decode() for label in labels]


def with_samples(families: Iterable[Metric]) -> list[Metric]:
    """Those of ``families`` that have any sample."""
    return [family for family in families if family.samples]
