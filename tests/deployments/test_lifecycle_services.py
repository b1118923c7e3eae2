"""Start, stop and restart: they change what is wanted, once, by whoever may, and leave a trace."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import celery
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db.models.functions import Now
from pytest_django import DjangoCaptureOnCommitCallbacks

from deployments.actors import Actor
from deployments.exceptions import ConflictError, NotAllowedError, NotFoundError
from deployments.hints import hint_fetch, hint_reconcile
from deployments.lifecycle.phases import ENDED, LIVE, Desired, Phase
from deployments.models import AuditEntry, Config, Deployment, Node
from deployments.roles import ROLES
from deployments.services import lifecycle
from deployments.services.lifecycle import (
    find_deployment,
    restart_deployment,
    start_deployment,
    stop_config,
    stop_deployment,
)
from tests.deployments.editing import make_config, make_run, person
from tests.deployments.hosts import closing_connections, database_of_threads

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
OPS = Actor(name="ops1", via="cli")
Act = Callable[[Actor], Any]


@pytest.fixture
def config() -> Config:
    return make_config("llama3-8b")


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(lifecycle, "hint_reconcile", lambda pk, *, node: sent.append((pk, node)))
    return sent


def audited(action: str) -> int:
    return AuditEntry.objects.filter(action=action).count()


def is_due(deployment: Deployment) -> bool:
    return Deployment.objects.filter(pk=deployment.pk, next_check_at__lte=Now() + timedelta(seconds=1)).exists()


# Start


def test_start_makes_a_queued_deployment_of_the_config_as_it_is_now(
    config: Config, hints: list[tuple[int, str]], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        result = start_deployment("llama3-8b", actor=OPS)
        assert hints == [], "not before it is committed"
    deployment = result.deployment
    assert result.created
    assert (deployment.phase, deployment.desired, deployment.started_by) == (Phase.QUEUED, Desired.RUNNING, "ops1")
    assert deployment.serving_spec() == config.serving_spec()
    assert (deployment.spec_digest, deployment.revision) == (config.serving_spec().digest, 1)
    assert is_due(deployment)
    assert hints == [(deployment.pk, "")]
    event = deployment.events.get()
    assert (event.reason, event.actor, event.phase) == ("start_asked", "ops1", Phase.QUEUED)
    audit = AuditEntry.objects.get(action="deployment.start")
    assert (audit.actor, audit.via, audit.target, audit.detail) == (
        "ops1",
        "cli",
        "llama3-8b",
        {"deployment": deployment.pk},
    )


@pytest.mark.parametrize("phase", sorted(LIVE - {Phase.STOPPING}))
def test_starting_what_is_live_changes_nothing(config: Config, hints: list[tuple[int, str]], phase: Phase) -> None:
    live = make_run(config, phase)
    result = start_deployment("llama3-8b", actor=OPS)
    assert (result.deployment.pk, result.created) == (live.pk, False)
    assert Deployment.objects.count() == 1
    assert audited("deployment.start") == 0
    assert hints == []


@pytest.mark.parametrize("phase", sorted(ENDED))
def test_what_has_ended_is_started_anew(config: Config, phase: Phase) -> None:
    ended = make_run(config, phase)
    result = start_deployment("llama3-8b", actor=OPS)
    assert result.created
    assert result.deployment.pk != ended.pk


def test_a_run_that_restarts_counts_as_started(config: Config) -> None:
    make_run(config, Phase.STOPPING, generation=2)
    assert start_deployment("llama3-8b", actor=OPS).created is False


def test_starting_what_is_still_stopping_is_a_conflict(config: Config) -> None:
    make_run(config, Phase.STOPPING, desired=Desired.STOPPED)
    with pytest.raises(ConflictError, match=r"“llama3-8b” is still stopping\. Wait until it has stopped"):
        start_deployment("llama3-8b", actor=OPS)
    assert Deployment.objects.count() == 1


def test_replicas_are_started_side_by_side(config: Config) -> None:
    first = start_deployment("llama3-8b", actor=OPS)
    second = start_deployment("llama3-8b", actor=OPS, replica=1)
    assert first.created
    assert second.created
    assert start_deployment("llama3-8b", actor=OPS, replica=1).deployment == second.deployment


@pytest.mark.usefixtures("config")
def test_an_unknown_config_names_near_ones() -> None:
    make_config("llama3-70b_1")
    with pytest.raises(NotFoundError, match=r"There is no config “lama3-8b”\. Did you mean llama3-8b"):
        start_deployment("lama3-8b", actor=OPS)
    with pytest.raises(NotFoundError, match="List them with: berth configs"):
        start_deployment("zzz", actor=OPS)


def test_an_archived_config_cannot_be_started(config: Config) -> None:
    Config.objects.update(archived_at=config.updated_at)
    with pytest.raises(NotFoundError):
        start_deployment("llama3-8b", actor=OPS)


def test_who_comes_second_gets_the_firsts_deployment(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    firsts: list[Deployment] = []
    look = lifecycle._live

    def beaten(found: Config, replica: int) -> Deployment | None:
        monkeypatch.setattr(lifecycle, "_live", look)
        firsts.append(start_deployment(found.name, actor=OPS).deployment)
        return None

    monkeypatch.setattr(lifecycle, "_live", beaten)
    result = start_deployment("llama3-8b", actor=Actor(name="ops2", via="cli"))
    assert (result.deployment, result.created) == (firsts[0], False)
    assert result.deployment.started_by == "ops1"
    assert audited("deployment.start") == 1


def test_a_rival_that_ended_meanwhile_is_a_sentence(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(config, Phase.QUEUED)
    monkeypatch.setattr(lifecycle, "_live", lambda config, replica: None)
    with pytest.raises(ConflictError, match=r"just ended\. Start it again\."):
        start_deployment("llama3-8b", actor=OPS)


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_get_one_deployment(tmp_path: Path, hints: list[tuple[int, str]]) -> None:
    make_config("llama3-8b")
    together = threading.Barrier(6)

    def press() -> tuple[int, bool]:
        together.wait(10)
        result = start_deployment("llama3-8b", actor=OPS)
        return result.deployment.pk, result.created

    with database_of_threads(tmp_path), ThreadPoolExecutor(6) as threads:
        results = [job.result(30) for job in [threads.submit(closing_connections(press)) for _ in range(6)]]
        assert Deployment.objects.count() == 1
        assert audited("deployment.start") == 1
    assert len({pk for pk, _ in results}) == 1
    assert sorted(created for _, created in results) == [False] * 5 + [True]
    assert len(hints) == 1


# Stop


def test_stop_asks_for_the_end_on_the_runs_node(
    config: Config, hints: list[tuple[int, str]], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    deployment = make_run(config, Phase.READY, node=Node.objects.create(name="gpu-01"))
    with django_capture_on_commit_callbacks(execute=True):
        result = stop_deployment(deployment.pk, actor=OPS)
    assert result.changed
    assert (result.deployment.desired, result.deployment.stopped_by) == (Desired.STOPPED, "ops1")
    assert result.deployment.phase == Phase.READY, "only the loop writes phases"
    assert is_due(deployment)
    assert hints == [(deployment.pk, "gpu-01")]
    assert deployment.events.get().reason == "stop_asked"
    assert audited("deployment.stop") == 1


def test_stopping_twice_asks_once(config: Config) -> None:
    deployment = make_run(config, Phase.READY)
    stop_deployment(deployment.pk, actor=OPS)
    again = stop_deployment(deployment.pk, actor=Actor(name="ops2", via="cli"))
    assert not again.changed
    assert again.deployment.stopped_by == "ops1"
    assert audited("deployment.stop") == 1


@pytest.mark.parametrize("phase", sorted(ENDED))
def test_stopping_what_has_ended_changes_nothing(config: Config, phase: Phase) -> None:
    deployment = make_run(config, phase)
    assert not stop_deployment(deployment.pk, actor=OPS).changed
    deployment.refresh_from_db()
    assert (deployment.desired, deployment.next_check_at) == (Desired.RUNNING, None)
    assert audited("deployment.stop") == 0


def test_stopping_a_config_stops_every_replica_and_no_other(config: Config) -> None:
    for replica in (0, 1):
        make_run(config, Phase.READY, replica=replica)
    make_run(config, Phase.FAILED)
    other = make_run(make_config("gemma2-27b_4"), Phase.READY)
    assert [result.changed for result in stop_config("llama3-8b", actor=OPS)] == [True, True]
    other.refresh_from_db()
    assert other.desired == Desired.RUNNING
    with pytest.raises(NotFoundError, match="Did you mean gemma2-27b_4"):
        stop_config("gema2-27b", actor=OPS)


# Restart


def test_each_restart_raises_the_generation(config: Config) -> None:
    deployment = make_run(config, Phase.READY)
    restart_deployment(deployment.pk, actor=OPS)
    assert restart_deployment(deployment.pk, actor=OPS).generation == 3
    assert is_due(deployment)
    assert audited("deployment.restart") == 2


@pytest.mark.parametrize(
    ("phase", "desired"),
    [(Phase.STOPPED, Desired.STOPPED), (Phase.FAILED, Desired.RUNNING), (Phase.READY, Desired.STOPPED)],
)
def test_what_has_ended_or_is_ending_is_not_restarted(config: Config, phase: Phase, desired: Desired) -> None:
    deployment = make_run(config, phase, desired=desired)
    with pytest.raises(ConflictError, match=r"has ended or is being stopped\. Start the config again"):
        restart_deployment(deployment.pk, actor=OPS)
    deployment.refresh_from_db()
    assert deployment.generation == 1
    assert audited("deployment.restart") == 0


def test_a_deployment_that_does_not_exist_is_a_sentence() -> None:
    for act in (stop_deployment, restart_deployment):
        with pytest.raises(NotFoundError, match=r"There is no deployment 4711\."):
            act(4711, actor=OPS)


def test_a_deployment_is_found_with_all_that_a_page_shows(config: Config) -> None:
    deployment = make_run(config, Phase.READY, node=Node.objects.create(name="gpu-01"))
    found = find_deployment(deployment.pk)
    assert found.config.model.name == "Llama3-8B"
    assert found.node is not None


# Who may


def acts(deployment: Deployment) -> dict[str, Act]:
    return {
        "deployment.start": lambda actor: start_deployment("gemma2-27b_4", actor=actor),
        "deployment.restart": lambda actor: restart_deployment(deployment.pk, actor=actor),
        "deployment.stop": lambda actor: stop_deployment(deployment.pk, actor=actor),
    }


@pytest.mark.parametrize("role", ROLES)
def test_operators_and_above_may_and_each_act_leaves_one_audit_row(config: Config, role: str) -> None:
    make_config("gemma2-27b_4")
    deployment = make_run(config, Phase.READY)
    user = person("pia", role)
    for action, act in acts(deployment).items():
        if role == "viewer":
            with pytest.raises(NotAllowedError, match="needs the operator role"):
                act(Actor.person(user))
            assert audited(action) == 0
        else:
            act(Actor.person(user))
            row = AuditEntry.objects.get(action=action)
            assert (row.actor, row.via, row.user) == ("pia", "web", user)


def test_a_refusal_changes_nothing(config: Config) -> None:
    make_config("gemma2-27b_4")
    deployment = make_run(config, Phase.READY)
    actor = Actor.person(person("vera", "viewer"))
    before = Deployment.objects.values().get()
    for act in acts(deployment).values():
        with pytest.raises(NotAllowedError):
            act(actor)
    with pytest.raises(NotAllowedError):
        stop_config("llama3-8b", actor=actor)
    assert Deployment.objects.values().get() == before
    assert not deployment.events.exists()


def test_who_has_not_signed_in_is_nobody() -> None:
    with pytest.raises(NotAllowedError, match="Sign in first"):
        Actor.person(AnonymousUser())


# Hints


def test_hints_wait_for_a_worker_of_the_right_queue() -> None:
    hint_reconcile(1)
    hint_reconcile(2, node="gpu-01")
    hint_fetch(3, node="gpu-01")
    with celery.current_app.connection_for_read() as connection:
        for queue, argument in (("control", 1), ("node.gpu-01", 2), ("work.gpu-01", 3)):
            message = connection.SimpleQueue(queue).get(timeout=5)
            assert message.payload[0] == [argument]
            assert message.headers["expires"]
            message.ack()


def test_hints_never_raise_when_redis_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = celery.Celery("away", broker="redis+socket:///nowhere/redis.sock", set_as_current=False)
    away.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0}
    monkeypatch.setattr(celery, "current_app", away)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        hint_reconcile(1, node="gpu-01")
        hint_fetch(1, node="gpu-01")
    assert time.monotonic() - began < 5
    assert caplog.text.count("the sweep will find it") == 2
