"""The loop on a scripted host: servers and hosts that fall silent, wishes that change, workers that compete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db.models.functions import Now

from deployments import logs
from deployments.exceptions import RuntimeUnavailableError
from deployments.lifecycle import acting
from deployments.lifecycle import reconcile as loop
from deployments.lifecycle.claims import take_claim
from deployments.lifecycle.phases import Desired, Phase
from deployments.lifecycle.record import move
from deployments.models import Deployment
from tests.deployments.hosts import (
    WAY_UP,
    Host,
    attempt,
    entered,
    pass_time,
    restart,
    scripted_host,
    stop,
)
from tests.fakes.runtime import Script

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


# Unhealthy and unknown


def test_three_failed_probes_take_a_run_out_of_service_and_one_answer_brings_it_back(host: Host) -> None:
    deployment = host.ready()
    host.engine.healthy = False
    for _ in range(2):
        host.go_on(deployment)
        assert deployment.phase == Phase.READY
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.UNHEALTHY, "not_answering")
    host.go_on(deployment)
    assert deployment.reason == "not_answering", "it stays explained"
    host.engine.healthy = True
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason, deployment.failed_probes) == (Phase.READY, "", 0)
    assert entered(deployment) == [*WAY_UP, "unhealthy", "ready"]


def test_a_single_failed_probe_is_forgotten(host: Host) -> None:
    deployment = host.ready()
    for healthy in (False, True, False, False):
        host.engine.healthy = healthy
        host.go_on(deployment)
    assert (deployment.phase, deployment.failed_probes) == (Phase.READY, 2)


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.READY, Phase.UNHEALTHY, Phase.STOPPING])
def test_a_silent_host_ends_and_doubles_nothing(host: Host, phase: Phase) -> None:
    deployment = host.ready()
    Deployment.objects.update(phase=phase, desired=Desired.STOPPED if phase is Phase.STOPPING else Desired.RUNNING)
    before = host.runtime.calls.copy()
    host.runtime.silent = True
    for _ in range(5):
        pass_time(100_000)
        host.go_on(deployment)
        assert deployment.phase == phase
        assert deployment.reason == "host_silent"
    assert host.runtime.calls == before
    host.runtime.silent = False
    host.go_on(deployment)
    assert deployment.phase == (Phase.STOPPED if phase is Phase.STOPPING else Phase.READY)
    assert deployment.reason == ("stopped" if phase is Phase.STOPPING else "")


def test_a_host_that_falls_silent_before_the_launch_is_waited_for(host: Host) -> None:
    host.runtime.silent = True
    deployment = host.go_on(host.start())
    assert deployment.phase == Phase.PREPARING
    assert deployment.next_check_at is not None
    host.runtime.silent = False
    host.go_on(deployment)
    assert deployment.phase == Phase.READY


def test_a_host_that_falls_silent_while_a_run_is_closed_loses_nothing(host: Host) -> None:
    host.runtime.default_script = Script(lines=("last words",), exits_with=1)
    host.runtime.fail("remove", RuntimeUnavailableError("The host does not answer."))
    deployment = host.go_on(host.start())
    assert deployment.phase == Phase.STARTING
    host.go_on(deployment)
    assert (deployment.phase, attempt(deployment).log) == (Phase.BACKOFF, "last words")


# Wishes that change on the way


def test_restart_stops_and_starts_the_same_specification_once(host: Host) -> None:
    deployment = host.ready()
    first = deployment.run_name
    restart(deployment)
    host.go_on(deployment)
    assert deployment.phase == Phase.READY
    assert deployment.run_name != first
    assert list(host.runtime.owned()) == [deployment.run_name]
    assert entered(deployment) == [*WAY_UP, "stopping", "queued", *WAY_UP]
    assert attempt(deployment, 1).cause == ""
    assert (deployment.generation, deployment.applied_generation) == (2, 2)


def test_stop_during_a_restart_stops(host: Host) -> None:
    host.runtime.default_script = Script(ignores_sigterm=True)
    deployment = host.ready(grace_s=600)
    restart(deployment)
    loop.reconcile(deployment.pk)
    stop(deployment)
    host.runtime.end(deployment.run_name)
    host.go_on(deployment)
    assert deployment.phase == Phase.STOPPED
    assert list(host.runtime.owned()) == []


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.PREPARING, Phase.STARTING, Phase.LOADING, Phase.READY])
def test_stop_is_heeded_in_each_phase(host: Host, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = host.start()

    def move_then_stop(row: Deployment, target: Phase, **changes: Any) -> None:
        move(row, target, **changes)
        if target is phase:
            stop(row)

    if phase is Phase.QUEUED:
        stop(deployment)
    monkeypatch.setattr(acting, "move", move_then_stop)
    host.go_on(deployment)
    assert deployment.phase == Phase.STOPPED
    assert [*entered(deployment)][-2:] == ["stopping", "stopped"]
    assert phase is Phase.READY or "ready" not in entered(deployment)
    assert list(host.runtime.owned()) == []


@pytest.mark.parametrize(("wish", "end"), [(stop, Phase.STOPPED), (restart, Phase.READY)])
def test_a_wish_ends_the_wait_between_attempts(host: Host, wish: Callable[[Deployment], None], end: Phase) -> None:
    host.runtime.scripts.append(Script(exits_with=1))
    deployment = host.go_on(host.start())
    assert deployment.phase == Phase.BACKOFF
    wish(deployment)
    host.go_on(deployment)
    assert (deployment.phase, deployment.failures) == (end, 1 if end is Phase.STOPPED else 0)


def test_a_wish_during_the_last_step_is_not_slept_through(host: Host) -> None:
    deployment = host.ready()
    host.engine.at_probe = lambda: stop(deployment)
    assert loop.reconcile(deployment.pk) is True
    host.engine.at_probe = lambda: None
    host.go_on(deployment)
    assert deployment.phase == Phase.STOPPED


def test_who_closes_an_attempt_second_leaves_what_the_first_kept(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = host.ready()
    host.runtime.write(deployment.run_name, "last words")
    host.runtime.end(deployment.run_name, 3)
    keep = logs.keep

    def overtaken(row: Deployment) -> logs.KeptLog:
        monkeypatch.setattr(logs, "keep", keep)
        Deployment.objects.update(claim_expires_at=None)
        loop.reconcile(row.pk)
        return keep(row)

    monkeypatch.setattr(logs, "keep", overtaken)
    loop.reconcile(deployment.pk)
    deployment.refresh_from_db()
    assert deployment.phase == Phase.BACKOFF
    assert (attempt(deployment).log, attempt(deployment).exit_code) == ("last words", 3)
    assert entered(deployment) == [*WAY_UP, "backoff"]


# Claims


def test_a_held_deployment_is_left_to_its_holder(host: Host) -> None:
    deployment = host.start()
    Deployment.objects.update(claim_token="other", claim_expires_at=Now() + timedelta(seconds=60))
    assert loop.reconcile(deployment.pk) is False
    deployment.refresh_from_db()
    assert (deployment.phase, deployment.claim_token) == (Phase.QUEUED, "other")


def test_a_worker_that_lost_its_claim_stops_without_a_trace(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    deployment = host.ready()
    host.engine.healthy = False
    host.engine.at_probe = lambda: rob(deployment)
    assert loop.reconcile(deployment.pk) is False
    assert "another worker goes on" in caplog.text
    deployment.refresh_from_db()
    assert (deployment.claim_token, deployment.failed_probes) == ("thief", 0)


def rob(deployment: Deployment) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(claim_token="thief")


def test_the_claim_outlasts_a_slow_real_request(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = host.start()
    # A health check, then a completion, as slow as their limits allow.
    host.engine.at_probe = lambda: pass_time(29 if host.engine.probes[-1] else 4)
    rivals: list[bool] = []

    def with_a_rival(row: Deployment, target: Phase, **changes: Any) -> None:
        rivals.append(take_claim(row.pk) is not None)
        move(row, target, **changes)

    monkeypatch.setattr(acting, "move", with_a_rival)
    host.go_on(deployment)
    assert deployment.phase == Phase.READY
    assert rivals == [False] * 4


def test_a_long_burst_hands_over(host: Host) -> None:
    host.engine.healthy = False
    deployment = host.start(load_timeout_s=600)
    assert loop.reconcile(deployment.pk) is True
    assert loop.BURST_S <= sum(host.clock.naps) < loop.BURST_S + 1
    deployment.refresh_from_db()
    assert deployment.claim_token == ""


def test_redis_away_hinders_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise redis.ConnectionError("gone")

    monkeypatch.setattr(logs, "client", Away)
    host.runtime.default_script = Script(lines=("kept all the same",))
    deployment = host.ready()
    stop(deployment)
    host.go_on(deployment)
    assert (deployment.phase, attempt(deployment).log) == (Phase.STOPPED, "kept all the same")
