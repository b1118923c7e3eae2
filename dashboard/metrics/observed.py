"""What Redis knows for one scrape: a scan and one pipeline, within seconds even if Redis hangs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from deployments.gpu_readings import NodeReading
from deployments.redis import quick_client
from deployments.redis_keys import GATEWAY_STATES, SWEEP_HEARTBEAT, USAGE, agent_heartbeat, gpu_reading

Read = TypeVar("Read")
logger = logging.getLogger(__name__)
#: Keys looked at in one step of the scan.
SCANNED_AT_ONCE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was read; ``failed`` tells that a part of it could not be. ``in_flight`` has one mapping a process."""

    readings: Mapping[str, NodeReading]
    agents: Mapping[str, float]
    sweep_at: float | None
    in_flight: Sequence[Mapping[int, int]]
    queues: Mapping[str, int]
    usage_entries: int | None
    failed: bool


def observe(nodes: Sequence[str]) -> Observed:
    """Read it now. Raises RedisError; what is malformed is left out and logged."""
    redis = quick_client()
    gateways = list(redis.scan_iter(match=GATEWAY_STATES, count=SCANNED_AT_ONCE))
    queues = ["control", *(f"{kind}.{node}" for node in nodes for kind in ("node", "work"))]
    asked = redis.pipeline(transaction=False)
    for name in (SWEEP_HEARTBEAT, *map(agent_heartbeat, nodes), *map(gpu_reading, nodes), *gateways):
        asked.get(name)
    for queue in queues:
        asked.llen(queue)
    asked.xlen(USAGE)
    # One key of another type must not hide the rest.
    answers = _Answers(iter(asked.execute(raise_on_error=False)))
    sweep_at = answers.read("the sweep's heartbeat", _at)
    agents = answers.read_all(nodes, _at)
    readings = answers.read_all(nodes, NodeReading.from_json)
    told = answers.read_all(gateways, _in_flight)
    lengths = answers.read_all(queues, int)
    usage_entries = answers.read("the waiting usage", int)
    return Observed(
        readings=readings,
        agents=agents,
        sweep_at=sweep_at,
        in_flight=list(told.values()),
        queues=lengths,
        usage_entries=usage_entries,
        failed=answers.failed,
    )


class _Answers:
    """Reads the pipeline's answers in order; ``failed`` once one could not be read."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self._answers = answers
        self.failed = False

    def read(self, what: str, make: Callable[[Any], Read]) -> Read | None:
        """The next answer; None where there is none, or nothing that can be read."""
        answer = next(self._answers)
        if answer is None:
            return None
        try:
            if not isinstance(answer, Exception):
                return make(answer)
            problem = answer
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = error
        logger.warning("The metrics leave out what is told of %s: %s: %s", what, type(problem).__name__, problem)
        self.failed = True
        return None

    def read_all(self, names: Sequence[str], make: Callable[[Any], Read]) -> dict[str, Read]:
        """The next answers by name, without those that are missing."""
        found = {name: self.read(name, make) for name in names}
        return {name: value for name, value in found.items() if value is not None}


def _at(text: str) -> float:
    return float(json.loads(text)["at"])


def _in_flight(text: str) -> Mapping[int, int]:
    return {int(deployment): int(count) for deployment, count in json.loads(text)["in_flight"].items()}
