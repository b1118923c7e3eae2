"""Which deployments failed lately, seen from real traffic."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Failures in a row after which a deployment is asked last.
AFTER_FAILURES: Final = 3
REST_S: Final = 2.0
LONGEST_REST_S: Final = 30.0


@dataclass(kw_only=True, slots=True)
class _Failing:
    times: int = 0
    rests_until: float = 0.0


class PassiveHealth:
    """Counts failures in a row; any answer ends the count. Nobody is ever left out, only asked last.

    The rest doubles with each further failure. When it is over, the next request is the test.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing: dict[int, _Failing] = {}

    def failed(self, deployment_id: int) -> None:
        """Note that a request there got no answer, or a broken one."""
        failing = self._failing.setdefault(deployment_id, _Failing())
        failing.times += 1
        beyond = failing.times - AFTER_FAILURES
        if beyond >= 0:
            failing.rests_until = self._clock() + min(REST_S * 2 ** min(beyond, 10), LONGEST_REST_S)

    def answered(self, deployment_id: int) -> None:
        """Note that a request there was answered."""
        if self._failing:
            self._failing.pop(deployment_id, None)

    def rests(self, deployment_id: int) -> bool:
        """Whether it is asked last for now."""
        failing = self._failing.get(deployment_id)
        return failing is not None and self._clock() < failing.rests_until

    @property
    def troubled(self) -> bool:
        """Whether any deployment failed since it last answered."""
        return bool(self._failing)

    def keep_only(self, deployment_ids: set[int]) -> None:
        """Forget the others: they left the routing table."""
        for deployment_id in self._failing.keys() - deployment_ids:
            del self._failing[deployment_id]
