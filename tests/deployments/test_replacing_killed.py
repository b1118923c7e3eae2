"""A replacement whose workers are killed at any step: one run serves throughout, and one is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployments.exceptions import ConflictError
from deployments.lifecycle.phases import ENDED, Desired, Phase
from deployments.models import Attempt, Config, Deployment
from deployments.selectors import catalogue_rows, ready_endpoints
from deployments.services.lifecycle import replace_deployment, start_deployment, stop_deployment
from tests.deployments.hosts import OPS, Host, scripted_host
from tests.deployments.test_kill_and_resume import POINTS, SIDE_EFFECTS, Killed
from tests.fakes.runtime import Script

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


def edit(deployment: Deployment, **changes: Any) -> None:
    """Somebody saves another revision of the run's config."""
    Config.objects.filter(pk=deployment.config_id).update(arguments=["server", "--edited"], revision=2, **changes)


def arm(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kill before and after every side effect, once in each state that all runs together can be in."""
    kills: list[str] = []

    def reach(step: str, when: str) -> None:
        phases = list(Deployment.objects.order_by("pk").values_list("phase", "attempt"))
        place = f"{step}:{when} in {phases}"
        if (step, when) in POINTS and place not in kills:
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


def live() -> list[Deployment]:
    return list(Deployment.objects.exclude(phase__in=ENDED).order_by("pk"))


def settle(host: Host, *, always_served: bool) -> None:
    """Workers take turns with every run until none has more to do for two rounds."""
    quiet = 0
    for _turn in range(2000):
        if quiet > 2 * len(live()) + 2:
            return
        for deployment in live():
            quiet += 1
            before = Deployment.objects.values_list("phase", "attempt", "desired")
            seen = sorted(before)
            try:
                host.go_on(deployment)
            except Killed:
                Deployment.objects.exclude(claim_expires_at=None).update(claim_expires_at=deployment.created_at)
                quiet = 0
            if sorted(before.all()) != seen:
                quiet = 0
            if always_served:
                assert len(ready_endpoints()) == 1, "one of the two is in the routing table, and never both"
    raise AssertionError("it does not settle")


def test_killed_at_every_step_the_new_one_takes_over_and_nothing_is_left(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = host.ready()
    edit(old)
    new = replace_deployment(old.pk, actor=OPS)
    kills = arm(monkeypatch)
    settle(host, always_served=True)
    assert len(kills) > 20, kills
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.phase, new.phase, new.replica) == (Phase.STOPPED, Phase.READY, 0)
    assert old.events.filter(reason="superseded").count() == 1
    assert Deployment.objects.count() == 2
    assert list(host.runtime.owned()) == [new.run_name]
    assert Attempt.objects.count() == 2


@pytest.mark.parametrize("fails", [False, True])
def test_killed_at_every_step_in_place_one_of_the_two_runs_in_the_end(
    host: Host, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    old = host.ready()
    edit(old, max_attempts=1)
    new = replace_deployment(old.pk, actor=OPS, in_place=True)
    if fails:
        host.runtime.scripts.append(Script(exits_with=1))
    kills = arm(monkeypatch)
    settle(host, always_served=False)
    assert len(kills) > 20, kills
    (left,) = live()
    assert (left.phase, left.replica) == (Phase.READY, 0)
    assert left.spec == (old.spec if fails else new.spec)
    assert Deployment.objects.count() == (3 if fails else 2)
    assert list(host.runtime.owned()) == [left.run_name]


def test_in_place_the_new_one_waits_for_the_old_ones_end_even_where_there_is_room(host: Host) -> None:
    old = host.ready()
    new = replace_deployment(old.pk, actor=OPS, in_place=True)
    host.go_on(new)
    assert (new.phase, new.reason) == (Phase.QUEUED, "waits_for_old")
    host.go_on(old)
    assert host.go_on(new).phase == Phase.READY


def test_the_old_one_is_not_put_back_once_the_new_one_has_served(host: Host) -> None:
    old = host.ready()
    edit(old, max_attempts=1)
    new = replace_deployment(old.pk, actor=OPS, in_place=True)
    host.go_on(old)
    host.go_on(new)
    host.runtime.end(new.run_name, 1)
    assert host.go_on(new).phase == Phase.FAILED
    assert live() == []


def test_stopping_a_run_cancels_what_was_to_replace_it(host: Host) -> None:
    old = host.ready()
    new = replace_deployment(old.pk, actor=OPS)
    stop_deployment(old.pk, actor=OPS)
    new.refresh_from_db()
    assert new.desired == Desired.STOPPED


def test_the_catalogue_shows_the_one_that_serves(host: Host) -> None:
    old = host.ready()
    new = replace_deployment(old.pk, actor=OPS)
    assert [row.deployment for row in catalogue_rows()] == [old]
    host.go_on(new)
    assert [row.deployment for row in catalogue_rows()] == [new]


def test_start_while_the_old_one_drains_finds_the_new_one(host: Host) -> None:
    old = host.ready()
    new = host.go_on(replace_deployment(old.pk, actor=OPS))
    result = start_deployment(old.config.name, actor=OPS)
    assert (result.deployment, result.created) == (new, False)


def test_a_replacement_is_not_replaced_before_it_has_taken_over(host: Host) -> None:
    new = replace_deployment(host.ready().pk, actor=OPS)
    with pytest.raises(ConflictError, match="is replacing #"):
        replace_deployment(new.pk, actor=OPS)
