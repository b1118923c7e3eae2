"""What earlier runs of a config took: the check of its memory estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import ngettext

from .memory_estimate import MemoryEstimate
from .models import Attempt, Config

GIB = 1024**3
#: The newest runs tell most about the engine's present version.
RUNS_COUNTED = 10


@dataclass(frozen=True, kw_only=True)
class ObservedRun:
    """What an earlier attempt took. ``load_s`` is from its start to its first answer."""

    deployment: int
    load_s: float | None
    peak_gib: float | None


def observed_runs(config: Config) -> Sequence[ObservedRun]:
    """The newest attempts of the config's present revision that became ready, newest first: one query."""
    ready = Attempt.objects.filter(
        deployment__config=config, deployment__revision=config.revision, ready_at__isnull=False
    ).order_by("-pk")
    rows = ready.values_list("deployment_id", "started_at", "ready_at", "peak_memory_bytes")[:RUNS_COUNTED]
    return [
        ObservedRun(
            deployment=deployment,
            load_s=(ready_at - started_at).total_seconds() if ready_at else None,
            peak_gib=None if peak is None else peak / GIB,
        )
        for deployment, started_at, ready_at, peak in rows
    ]


def observed_sentence(runs: Sequence[ObservedRun], estimate: MemoryEstimate | None) -> str:
    """“Observed 61.2 GiB in 3 runs; the estimate says 58.0 GiB.”; empty without a run that was measured."""
    peaks = [run.peak_gib for run in runs if run.peak_gib is not None]
    if not peaks or estimate is None:
        return ""
    told = {"count": len(peaks), "low": min(peaks), "high": max(peaks), "total": estimate.total_gib}
    if max(peaks) - min(peaks) < 0.05:
        sentence = ngettext(
            "Observed %(high).1f GiB in %(count)d run; the estimate says %(total).1f GiB.",
            "Observed %(high).1f GiB in %(count)d runs; the estimate says %(total).1f GiB.",
            len(peaks),
        )
    else:
        sentence = ngettext(
            "Observed %(low).1f to %(high).1f GiB in %(count)d run; the estimate says %(total).1f GiB.",
            "Observed %(low).1f to %(high).1f GiB in %(count)d runs; the estimate says %(total).1f GiB.",
            len(peaks),
        )
    return sentence % told
