"""How far the newest start of each config is, told through Redis for requests that wait for it."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from .actors import IDLE
from .lifecycle.phases import ENDED, Desired, Phase
from .models import Deployment
from .progress import Progress
from .redis import RedisError, client
from .redis_keys import start_state
from .selectors import live_deployments

logger = logging.getLogger(__name__)
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


def publish_start_state(deployment: Deployment) -> None:
    """Tell where ``deployment`` is. Never raises.

    A replacement that runs beside what it replaces is not told: nobody waits for it. Nor is the end of a run while
    another of its config is wanted: that one may be waited for.
    """
    if deployment.supersedes_id and not deployment.in_place:
        return
    if deployment.phase in ENDED and _is_wanted(deployment.config_id):
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
        lives_s = KEPT_OFF_S if state.is_kept_off else LIVES_S
        client().set(start_state(deployment.spec["config"]), state.to_json(), ex=lives_s)
    except RedisError as error:
        logger.warning("Waiting requests were not told of deployment %s: %s", deployment.pk, error)


def _is_wanted(config_id: int) -> bool:
    """Whether a run of the config is ready or on its way."""
    return Deployment.objects.filter(config=config_id, desired=Desired.RUNNING).exclude(phase__in=ENDED).exists()


def publish_start_states() -> None:
    """Tell of everything that is on its way or in trouble, since what was told lives a minute. Never raises."""
    for deployment in live_deployments().exclude(phase=Phase.READY).order_by("pk"):
        publish_start_state(deployment)
