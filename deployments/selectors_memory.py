"""Reads for the memory estimate on a config's page. Query counts are constant."""

from __future__ import annotations

from dataclasses import dataclass

from .memory_estimate import MemoryEstimate, estimate_memory
from .memory_observed import observed_runs, observed_sentence
from .models import Config, Gpu


@dataclass(frozen=True, kw_only=True)
class ConfigMemory:
    """What is thought to be needed, and in words what was seen; both empty for a config without GPUs."""

    estimate: MemoryEstimate | None
    observed: str = ""


def config_memory(config: Config) -> ConfigMemory:
    """The estimate of ``config``, whose model is at hand, checked by earlier runs: two queries, none without GPUs."""
    if config.gpus == 0:
        return ConfigMemory(estimate=None)
    sizes = Gpu.objects.filter(replay=False).order_by().values_list("memory_bytes", flat=True).distinct()
    estimate = estimate_memory(config, gpu_memory_bytes=sizes)
    return ConfigMemory(estimate=estimate, observed=observed_sentence(observed_runs(config), estimate))
