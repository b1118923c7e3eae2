"""A worker that is killed before or after any side effect: the next one goes on, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployments import logs
from deployments.lifecycle import acting
from deployments.lifecycle import reconcile as loop
from deployments.lifecycle.decide import BACKOFF_FIRST_S
from deployments.lifecycle.phases import Phase
from deployments.models import Deployment
from tests.deployments.hosts import WAY_UP, Host, entered, pass_time, restart, scripted_host, stop
from tests.fakes.runtime import FakeRuntime, Script

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]

#: Everything that a worker does to the world: the owner's attribute, by the name of the step.
SIDE_EFFECTS = {
    "claim": (loop, "take_claim"),
    "create": (FakeRuntime, "create"),
    "start": (FakeRuntime, "start"),
    "stop": (FakeRuntime, "stop"),
    "keep the log": (logs, "keep"),
    "remove": (FakeRuntime, "remove"),
    "move": (acting, "move"),
    "note": (acting, "note"),
    "release": (loop, "release_claim"),
}
POINTS = [(step, when) for step in SIDE_EFFECTS for when in ("before", "after")]
WHOLE_LIFE = ["preparing", "starting", "backoff", *WAY_UP, "stopping", "queued", *WAY_UP, "stopping", "stopped"]


class Killed(BaseException):
    """What SIGKILL is to a process: nothing of the loop may catch it."""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        crash = Script(lines=("first",), exits_with=1)
        made.runtime.scripts.extend([crash, Script(lines=("second",)), Script(lines=("third",))])
        made.runtime.default_script = Script(lines=("one too many",))
        yield made


def arm(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> list[str]:
    """Kill at each of ``points``, once for each phase and attempt in which it is reached; returns the kills."""
    kills: list[str] = []

    def reach(step: str, when: str) -> None:
        row = Deployment.objects.get()
        place = f"{step}:{when} in {row.phase} {row.attempt}"
        if (step, when) in points and place not in kills:
            kills.append(place)
            raise Killed(place)

    def around(step: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            reach(step, "before")
            result = inner(*args, **kwargs)
            reach(step, "after")
            return result

        return wrapped

    for step, (owner, name) in SIDE_EFFECTS.items():
        monkeypatch.setattr(owner, name, around(step, getattr(owner, name)))
    return kills


def settle(host: Host, deployment: Deployment) -> None:
    """Workers take turns, each killed where it was told to, until one has no more to do."""
    for _ in range(200):
        try:
            host.go_on(deployment)
        except Killed:
            # Its claim expires; the fences that it might have left stay.
            Deployment.objects.exclude(claim_expires_at=None).update(claim_expires_at=deployment.created_at)
        else:
            return
    raise AssertionError("it does not settle")


def live_through(host: Host) -> Deployment:
    """A crash, a back-off, a restart and a stop."""
    deployment = host.start()
    settle(host, deployment)
    assert deployment.phase == Phase.BACKOFF
    pass_time(BACKOFF_FIRST_S)
    settle(host, deployment)
    assert deployment.phase == Phase.READY
    restart(deployment)
    settle(host, deployment)
    assert deployment.phase == Phase.READY
    stop(deployment)
    settle(host, deployment)
    return deployment


def assert_lived_once(host: Host, deployment: Deployment) -> None:
    assert entered(deployment) == WHOLE_LIFE
    attempts = [(row.number, row.log, row.exit_code, row.cause) for row in deployment.attempts.all()]
    assert attempts == [(1, "first", 1, "exited_at_once"), (2, "second", -15, ""), (3, "third", -15, "")]
    assert all(row.ended_at for row in deployment.attempts.all())
    assert list(host.runtime.owned()) == []
    assert not host.runtime.scripts
    assert (deployment.phase, deployment.next_check_at) == (Phase.STOPPED, None)


@pytest.mark.parametrize(("step", "when"), POINTS, ids=[f"{when} {step}" for step, when in POINTS])
def test_a_worker_killed_at_one_step_everywhere_doubles_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    kills = arm(monkeypatch, (step, when))
    deployment = live_through(host)
    assert len(kills) >= 2, kills
    assert_lived_once(host, deployment)


def test_a_worker_killed_at_every_step_everywhere_doubles_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    kills = arm(monkeypatch, *POINTS)
    deployment = live_through(host)
    assert len(kills) > 50
    assert_lived_once(host, deployment)


def test_without_kills_the_same_life_is_lived(host: Host) -> None:
    assert_lived_once(host, live_through(host))
