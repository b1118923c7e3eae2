"""What measuring costs: each question to the driver, and the agent's share of a processor."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from dashboard.telemetry.lanes import Lanes
from dashboard.telemetry.nvml import Nvml
from dashboard.telemetry.questions import QUESTIONS, Question
from dashboard.telemetry.source import DriverSource


@dataclass
class Costs:
    """Milliseconds: of each question by name, and of a whole sweep over all GPUs."""

    questions: dict[str, list[float]] = field(default_factory=dict)
    sweeps: list[float] = field(default_factory=list)
    opening_ms: float = 0

    def to_json(self) -> dict[str, Any]:
        """Medians and the 95th percentile of the sweeps."""
        ordered = sorted(self.sweeps)
        return {
            "opening_ms": round(self.opening_ms, 1),
            "sweep_median_ms": round(statistics.median(ordered), 3) if ordered else None,
            "sweep_p95_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 3) if ordered else None,
            "question_median_ms": {
                name: round(statistics.median(costs), 3) for name, costs in sorted(self.questions.items())
            },
            "question_most_ms": {name: round(max(costs), 3) for name, costs in sorted(self.questions.items())},
        }


def measure(seconds: int) -> Costs:
    """Open the driver as the agent does and measure at 1 Hz."""
    costs = Costs()
    source = DriverSource(library=Nvml())
    began = time.perf_counter()
    source.measure()
    costs.opening_ms = (time.perf_counter() - began) * 1000
    lanes = source.library.lanes
    if lanes is not None:
        lanes.asked = tuple(_timed(question, costs) for question in lanes.asked)
        _spread(lanes)
    for _ in range(seconds):
        time.sleep(1)
        began = time.perf_counter()
        source.measure()
        costs.sweeps.append((time.perf_counter() - began) * 1000)
    source.library.close()
    return costs


def _timed(question: Question, costs: Costs) -> Question:
    def ask(questions: Any, target: Any) -> Any:
        began = time.perf_counter()
        try:
            return question.ask(questions, target)
        finally:
            costs.questions.setdefault(question.name, []).append((time.perf_counter() - began) * 1000)

    return Question(
        name=question.name,
        every_s=question.every_s,
        fields=question.fields,
        ask=ask,
        instances=question.instances,
        pinned=question.pinned,
    )


def _spread(lanes: Lanes) -> None:
    """Let what is asked once a minute be asked within a short look, once."""
    assert len(lanes.asked) == len(QUESTIONS)
    lanes.ask_all_again()


def processor_percent(process: Any, seconds: float) -> float:
    """The share of one processor that a process and its threads take."""
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after = process.cpu_times()
    used = float(after.user + after.system - before.user - before.system)
    return round(100 * used / (time.monotonic() - began), 2)
