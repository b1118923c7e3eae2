"""A worker that tests play by hand: what requests asked it for, and what it tells of a start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deployments.redis_keys import DEMAND, start_state
from deployments.start_states import StartState
from playground.gateway.starting import Patience
from tests.fakes.gateway import RunningGateway, until

#: Everything at once, but for what a test is about.
QUICK = Patience(margin_s=0.0, keep_alive_s=3600.0, look_s=0.01, ask_again_s=3600.0, unheard_s=3600.0)
SPEAKS = Patience(margin_s=0.0, keep_alive_s=0.02, look_s=0.01, ask_again_s=3600.0, unheard_s=3600.0)


def startable(config: str = "tiny", **changes: Any) -> dict[str, Any]:
    """An entry of the routing table as the lifecycle writes it."""
    entry: dict[str, Any] = {
        "config": config,
        "model": "Tiny-1B",
        "protocol": "openai-text",
        "engine": "llama.cpp",
        "may_start": True,
        "load_timeout_s": 60,
        "added_by_a_newer_version": True,
    }
    return {**entry, **changes}


@dataclass
class Worker:
    """Stands in for the worker of ``gateway``. ``hints`` counts how often it was woken."""

    gateway: RunningGateway
    patience: Patience = QUICK
    hints: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line.patience = self.patience
        self.line.hint = lambda: self.hints.append(True)

    @property
    def line(self) -> Any:
        return self.gateway.application.line

    @property
    def demands(self) -> list[str]:
        """The configs that were asked for, in order."""
        entries: Any = self.gateway.redis.xrange(DEMAND)
        return [fields[b"config"].decode() for _name, fields in entries]

    def tell(self, phase: str, config: str = "tiny", deployment_id: int = 5, **more: Any) -> None:
        """Say where the run of ``config`` is."""
        state = StartState(deployment_id=deployment_id, phase=phase, **more)
        self.gateway.redis.set(start_state(config), state.to_json(), ex=60)

    async def is_asked(self, times: int = 1) -> None:
        """Wait until a start was asked for."""
        await until(lambda: len(self.demands) == times and bool(self.hints))
