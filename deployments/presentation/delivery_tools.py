"""Ranked tools as the step's page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.deliveries.tools import Candidate
from deployments.engines import engine_named
from deployments.memory_estimate import MemoryEstimate


@dataclass(frozen=True, kw_only=True)
class ShownTool:
    """An engine with its findings; ``rank`` counts from 1. ``image`` is empty where there is no official one."""

    rank: int
    title: str
    image: str
    candidate: Candidate

    @property
    def estimate(self) -> MemoryEstimate | None:
        """The memory with its arithmetic, as ``config_memory.html`` takes it."""
        return self.candidate.estimate


def shown_tools(ranked: Sequence[Candidate]) -> list[ShownTool]:
    """The tools of ``ranked`` in its order."""
    shown = []
    for rank, candidate in enumerate(ranked, start=1):
        engine = engine_named(candidate.engine)
        shown.append(ShownTool(rank=rank, title=engine.title, image=engine.default_image, candidate=candidate))
    return shown
