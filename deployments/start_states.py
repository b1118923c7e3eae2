"""How far the newest start of each config is, told through Redis for requests that wait for it."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from .lifecycle.phases import Phase
from .models import Deployment
from .progress import Progress
from .redis import RedisError, client
from .redis_keys import start_state
from .selectors import live_deployments

logger = logging.getLogger(__name__)
#: A state outlives its last telling by so long. Of a failure this is how long requests get its reason instead of
#: another start; what is on its way is told again by every sweep.
LIVES_S: Final = 60


@dataclass(frozen=True, kw_only=True)
class StartState:
    """Where the newest run of a config is, and why; ``fraction`` is of its current step, None when not known."""

    deployment_id: int
    phase: str
    reason: str = ""
    reason_params: dict[str, Any] = field(default_factory=dict)
    fraction: float | None = None
    stopped_by: str = ""

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


def publish_start_state(deployment: Deployment) -> None:
    """Tell where ``deployment`` is. Never raises.

    A replacement that runs beside what it replaces is not told: nobody waits for it.
    """
    if deployment.supersedes_id and not deployment.in_place:
        return
    progress = deployment.progress
    state = StartState(
        deployment_id=deployment.pk,
        phase=deployment.phase,
        reason=deployment.reason,
        reason_params=deployment.reason_params,
        fraction=Progress.from_json(progress).fraction if progress else None,
        stopped_by=deployment.stopped_by,
    )
    try:
        client().set(start_state(deployment.spec["config"]), state.to_json(), ex=LIVES_S)
    except RedisError as error:
        logger.warning("Waiting requests were not told of deployment %s: %s", deployment.pk, error)


def publish_start_states() -> None:
    """Tell of everything that is on its way or in trouble, since what was told lives a minute. Never raises."""
    for deployment in live_deployments().exclude(phase=Phase.READY).order_by("pk"):
        publish_start_state(deployment)
