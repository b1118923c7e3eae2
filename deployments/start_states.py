"""How far the newest start of a config is, as it is told through Redis. Gateways load this, and little else."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Final

from .actors import IDLE
from .lifecycle.phases import Phase

#: A state outlives its last telling by so long. Of a failure this is how long requests get its reason instead of
#: another start; what is on its way is told again by every sweep.
LIVES_S: Final = 60
#: What somebody stopped is not started again by requests for so long, in seconds: clients that try again by themselves
#: would undo the stop within the minute.
KEPT_OFF_S: Final = 600


@dataclass(frozen=True, kw_only=True)
class StartState:
    """Where the newest run of a config is, and why; ``fraction`` is of its current step, None when not known."""

    deployment_id: int
    phase: str
    reason: str = ""
    reason_params: dict[str, Any] = field(default_factory=dict)
    fraction: float | None = None
    stopped_by: str = ""

    @property
    def is_kept_off(self) -> bool:
        """Whether a person stopped it: only idle runs are stopped by Berth itself."""
        return self.phase == Phase.STOPPED and self.stopped_by not in ("", IDLE)

    def to_json(self) -> str:
        """As it is kept in Redis; :meth:`from_json` is its inverse."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StartState:
        """Rebuild from :meth:`to_json`; members of newer versions are ignored. Raises ValueError."""
        known = [each.name for each in dataclasses.fields(cls)]
        try:
            held = json.loads(text)
            state = cls(**{name: held[name] for name in known if name in held})
            Phase(state.phase)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not the state of a start: {error!r}") from error
        return state
