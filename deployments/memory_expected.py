"""How much GPU memory a run of a config will hold: what an earlier one held, else the estimate, else what it states."""

from __future__ import annotations

from .memory_estimate import estimate_memory
from .memory_observed import GIB, observed_runs
from .models import Config


def expected_bytes(config_id: int) -> int | None:
    """Over all its GPUs, in bytes; None when nothing is known. Two queries."""
    config = Config.objects.select_related("model").filter(pk=config_id).first()
    if config is None:
        return None
    peaks = [run.peak_gib for run in observed_runs(config) if run.peak_gib]
    if peaks:
        return round(peaks[0] * GIB)
    estimate = estimate_memory(config)
    if estimate is None:
        return None
    return round((estimate.total_gib if estimate.complete else config.memory_gib) * GIB) or None
