"""One vocabulary for what engines tell about their load, whatever each calls it.

Names and meanings are from each engine's own list of metrics; the sources stand with the tests' fixtures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from .http import HttpError, ModelServer, ServerRefusedError


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Observations since the server started: cumulative ``buckets`` of (upper bound, count), ``total`` their sum."""

    buckets: tuple[tuple[float, float], ...]
    count: float
    total: float


@dataclass(frozen=True, kw_only=True)
class EngineMetrics:
    """None for what an engine does not tell. ``kv_cache_usage`` is between 0 and 1; counters only grow.

    ``model_memory_bytes`` is what Ollama says that its loaded models hold on GPUs.
    """

    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None
    ttft_seconds: Histogram | None = None
    prompt_tokens_total: float | None = None
    generation_tokens_total: float | None = None
    model_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricNames:
    """Where each figure stands in an engine's Prometheus text: the first of the names that is there; none: not told."""

    path: str = "/metrics"
    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    kv_cache_usage: tuple[str, ...] = ()
    ttft_seconds: tuple[str, ...] = ()
    prompt_tokens_total: tuple[str, ...] = ()
    generation_tokens_total: tuple[str, ...] = ()

    def __call__(self, server: ModelServer) -> EngineMetrics:
        """What the server tells now. Raises ServerRefusedError or one of HttpError."""
        return parse(server.text(self.path), self)


#: Reads metrics from a server that has them in a form of its own.
Reading = Callable[[ModelServer], EngineMetrics]


def read_metrics(server: ModelServer, reading: Reading | None) -> EngineMetrics | None:
    """What the server tells about its load, None when it does not answer or has nothing to tell. Never raises."""
    if reading is None:
        return None
    try:
        return reading(server)
    except (ServerRefusedError, *HttpError, ValueError):
        return None


def parse(text: str, names: MetricNames) -> EngineMetrics:
    """Figures from a Prometheus text, summed over labels (a share: averaged). Raises ValueError for another text."""
    families = {family.name: family for family in text_string_to_metric_families(text)}

    def first(candidates: Iterable[str]) -> Metric | None:
        # The parser takes _total off a counter's family, and leaves it where the type is not told.
        known = (families.get(name) or families.get(name.removesuffix("_total")) for name in candidates)
        return next((family for family in known if family is not None), None)

    def total(candidates: tuple[str, ...]) -> float | None:
        return _finite(sum(values)) if (values := _values(first(candidates), candidates)) else None

    def mean(candidates: tuple[str, ...]) -> float | None:
        return _finite(sum(values) / len(values)) if (values := _values(first(candidates), candidates)) else None

    return EngineMetrics(
        running=_whole(total(names.running)),
        waiting=_whole(total(names.waiting)),
        kv_cache_usage=mean(names.kv_cache_usage),
        ttft_seconds=_histogram(first(names.ttft_seconds)),
        prompt_tokens_total=total(names.prompt_tokens_total),
        generation_tokens_total=total(names.generation_tokens_total),
    )


def _values(family: Metric | None, candidates: tuple[str, ...]) -> list[float]:
    if family is None:
        return []
    # TGI counts tokens in a histogram: its sum is the counter.
    wanted = {f"{family.name}_sum"} if family.type == "histogram" else {family.name, *candidates}
    return [sample.value for sample in family.samples if sample.name in wanted]


def _histogram(family: Metric | None) -> Histogram | None:
    if family is None or family.type != "histogram":
        return None
    buckets: dict[float, float] = {}
    count = total = 0.0
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + sample.value
        elif sample.name.endswith("_count"):
            count += sample.value
        elif sample.name.endswith("_sum"):
            total += sample.value
    return Histogram(buckets=tuple(sorted(buckets.items())), count=count, total=total)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def ollama_resident(server: ModelServer) -> EngineMetrics:
    """Ollama counts no requests; ``GET /api/ps`` tells the memory of the loaded models."""
    told = server.get("/api/ps")
    loaded = (told.get("models") if isinstance(told, dict) else None) or []
    sizes = [model.get("size_vram") for model in loaded if isinstance(model, dict)]
    return EngineMetrics(model_memory_bytes=sum(size for size in sizes if isinstance(size, int)))


def comfyui_queue(server: ModelServer) -> EngineMetrics:
    """ComfyUI: workflows at work and waiting, from ``GET /queue``."""
    queue = server.get("/queue")
    return EngineMetrics(running=_length(queue, "queue_running"), waiting=_length(queue, "queue_pending"))


def webui_progress(server: ModelServer) -> EngineMetrics:
    """Stable Diffusion web UI: one job at a time, from ``GET /sdapi/v1/progress``; its queue is not told."""
    told = server.get("/sdapi/v1/progress?skip_current_image=true")
    state = told.get("state") if isinstance(told, dict) else None
    count = state.get("job_count") if isinstance(state, dict) else None
    return EngineMetrics(running=None if not isinstance(count, int) else int(count > 0))


def _length(value: Any, name: str) -> int | None:
    items = value.get(name) if isinstance(value, dict) else None
    return len(items) if isinstance(items, list) else None
