"""The sweep finds what is due, what is left over and what Redis forgot."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db.models.functions import Now

from deployments import live
from deployments.exceptions import RuntimeFaultError
from deployments.lifecycle import sweep
from deployments.lifecycle.claims import take_claim
from deployments.lifecycle.phases import Desired, Phase
from deployments.live import publish_routes
from deployments.models import Deployment, GpuLease, Node
from deployments.redis_keys import ROUTES, ROUTES_CHANGED
from deployments.runtimes import use_runtime
from deployments.runtimes.base import RunSpec, RunState
from deployments.tasks import sweep as sweep_task
from deployments.tasks import sweep_node
from tests.deployments.editing import make_config, make_run
from tests.deployments.gpu_hosts import add_gpus
from tests.fakes.runtime import FakeRuntime, Script

pytestmark = pytest.mark.django_db


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    made = FakeRuntime("process", images=("none",))
    use_runtime("process", made)
    yield made
    use_runtime("process", None)


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(sweep, "hint_reconcile", lambda pk, *, node: sent.append((pk, node)))
    return sent


def run(name: str, phase: Phase, **columns: Any) -> Deployment:
    return make_run(make_config(name), phase, **columns)


def launched(runtime: FakeRuntime, name: str, **script: bool) -> str:
    runtime.scripts.append(Script(**script))  # type: ignore[arg-type]
    runtime.create(RunSpec(name=name, image="none", argv=()))
    runtime.start(name)
    return name


def table(server: redis.Redis) -> dict[str, object]:
    held = server.get(ROUTES)
    assert isinstance(held, bytes)
    found: dict[str, object] = json.loads(held)
    return found


@pytest.mark.usefixtures("runtime", "redis_server")
def test_what_is_due_is_hinted_at_on_its_node_and_nothing_else(hints: list[tuple[int, str]]) -> None:
    past, future = Now() - timedelta(seconds=1), Now() + timedelta(seconds=60)
    node = Node.objects.create(name="gpu-01", heartbeat_at=Now())
    silent = Node.objects.create(name="gpu-02", heartbeat_at=Now() - timedelta(minutes=1))
    run("unheard", Phase.LOADING, next_check_at=past, node=silent)
    unplaced = run("asked-for", Phase.QUEUED, next_check_at=past)
    placed = run("placed", Phase.LOADING, next_check_at=past, node=node)
    abandoned = run("abandoned", Phase.LOADING, next_check_at=past, claim_token="x", claim_expires_at=past)
    run("held", Phase.LOADING, next_check_at=past, claim_token="x", claim_expires_at=future)
    run("later", Phase.READY, next_check_at=future)
    run("ended", Phase.STOPPED, next_check_at=None)
    sweep_task()
    assert sorted(hints) == sorted([(unplaced.pk, ""), (placed.pk, "gpu-01"), (abandoned.pk, "")])


@pytest.mark.usefixtures("redis_server", "hints")
def test_a_run_whose_deployment_has_ended_is_killed_and_then_removed(runtime: FakeRuntime) -> None:
    name = launched(runtime, run("one", Phase.STOPPED).run_name, ignores_sigterm=True)
    sweep_task()
    assert runtime.observe(name).state is RunState.EXITED
    sweep_task()
    assert list(runtime.owned()) == []


@pytest.mark.usefixtures("redis_server", "hints")
def test_a_run_of_an_earlier_attempt_is_removed_and_the_current_one_is_left(runtime: FakeRuntime) -> None:
    deployment = run("one", Phase.LOADING)
    launched(runtime, deployment.run_name)
    Deployment.objects.update(attempt=2)
    deployment.refresh_from_db()
    current = launched(runtime, deployment.run_name)
    sweep_task()
    sweep_task()
    assert list(runtime.owned()) == [current]
    assert runtime.observe(current).state is RunState.RUNNING


@pytest.mark.usefixtures("redis_server", "hints")
@pytest.mark.parametrize("name", ["berth-{installation}-4711-1", "somebody-elses", "postgres", "a-b-c"])
def test_a_run_that_no_row_knows_is_left_alone(runtime: FakeRuntime, name: str) -> None:
    stranger = launched(runtime, name.format(installation=settings.BERTH_INSTALLATION))
    stray = launched(runtime, run("one", Phase.STOPPED).run_name)
    sweep_task()
    sweep_task()
    assert list(runtime.owned()) == [stranger]
    assert stray not in runtime.owned()
    assert runtime.observe(stranger).state is RunState.RUNNING


@pytest.mark.usefixtures("redis_server", "hints")
def test_a_stray_that_cannot_be_seen_is_not_removed(runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    name = launched(runtime, run("one", Phase.STOPPED).run_name)
    names = runtime.owned()
    runtime.silent = True
    monkeypatch.setattr(runtime, "owned", lambda: names)
    runtime.calls.clear()
    sweep_task()
    assert runtime.calls == []
    runtime.silent = False
    assert runtime.run(name).state is RunState.RUNNING


@pytest.mark.usefixtures("redis_server", "hints")
def test_one_stubborn_stray_does_not_save_the_others(runtime: FakeRuntime) -> None:
    for name in ("one", "two"):
        launched(runtime, run(name, Phase.FAILED).run_name)
    runtime.fail("kill", RuntimeFaultError("It is stuck."))
    sweep_task()
    states = [runtime.observe(name).state for name in runtime.owned()]
    assert sorted(states) == [RunState.EXITED, RunState.RUNNING]


@pytest.mark.usefixtures("hints")
def test_a_silent_runtime_does_not_keep_the_sweep_from_reporting(
    runtime: FakeRuntime, redis_server: redis.Redis
) -> None:
    runtime.silent = True
    sweep_task()
    heartbeat = redis_server.get("berth:sweep")
    assert isinstance(heartbeat, bytes)
    assert abs(json.loads(heartbeat)["at"] - time.time()) < 10
    assert 0 < redis_server.ttl("berth:sweep") <= 30


@pytest.mark.usefixtures("runtime", "hints")
@pytest.mark.parametrize("damage", [None, '{"version": 7, "routes": []}', "not JSON", "[]", '{"routes": 1}'])
def test_routes_that_redis_lost_are_written_again(redis_server: redis.Redis, damage: str | None) -> None:
    run("one", Phase.READY, endpoint="http://127.0.0.1:9")
    publish_routes()
    whole = table(redis_server)["routes"]
    redis_server.delete(ROUTES)
    if damage is not None:
        redis_server.set(ROUTES, damage)
    sweep_task()
    assert table(redis_server)["routes"] == whole
    assert publish_routes() is False, "nothing is written that has not changed"


def test_a_new_table_has_a_higher_version_and_wakes_the_gateways(redis_server: redis.Redis) -> None:
    deployment = run("one", Phase.READY, endpoint="http://127.0.0.1:9")
    assert publish_routes() is True
    first = table(redis_server)
    pubsub = redis_server.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    pubsub.subscribe(ROUTES_CHANGED)
    pubsub.get_message(timeout=5)
    Deployment.objects.filter(pk=deployment.pk).update(phase=Phase.STOPPING, desired=Desired.STOPPED)
    assert publish_routes() is True
    second = table(redis_server)
    assert (first["version"], second["version"], second["routes"]) == (1, 2, [])
    message = pubsub.get_message(timeout=5)
    pubsub.close()
    assert message is not None
    assert message["data"] == b"2"


@pytest.mark.usefixtures("runtime", "hints")
def test_redis_away_is_logged_and_no_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise redis.ConnectionError("connection refused")

    for module in (live, sweep):
        monkeypatch.setattr(module, "client", Away)
    sweep_task()
    live.publish_change(1, "one")
    assert caplog.text.count("connection refused") == 3


@pytest.mark.usefixtures("runtime", "redis_server")
def test_each_fresh_node_is_asked_to_look_for_its_own_strays(
    hints: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sweep, "hint_sweep", asked.append)
    Node.objects.create(name="gpu-01", heartbeat_at=Now())
    Node.objects.create(name="gpu-02", heartbeat_at=Now() - timedelta(minutes=1))
    Node.objects.create(name=settings.BERTH_NODE_NAME, heartbeat_at=Now(), runtimes=["process"])
    sweep_task()
    assert asked == ["gpu-01"]
    assert hints == []


def test_a_node_clears_what_it_alone_sees(runtime: FakeRuntime) -> None:
    name = launched(runtime, run("one", Phase.STOPPED).run_name)
    sweep_node()
    sweep_node()
    assert name not in runtime.owned()


@pytest.mark.usefixtures("runtime", "redis_server")
def test_what_was_planned_before_the_clock_was_set_back_is_not_waited_for(hints: list[tuple[int, str]]) -> None:
    far = Now() + timedelta(hours=2)
    planned = run("planned", Phase.READY, next_check_at=far)
    held = run("held", Phase.READY, next_check_at=Now(), claim_token="dead", claim_expires_at=far)
    sweep_task()
    assert sorted(hints) == [(planned.pk, ""), (held.pk, "")]
    assert take_claim(held.pk)


@pytest.mark.usefixtures("runtime", "redis_server")
def test_a_sweep_hints_at_so_many_at_most_the_longest_overdue_first(
    hints: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MOST_HINTS", 2)
    rows = [run(f"c{age}", Phase.READY, next_check_at=Now() - timedelta(seconds=age)) for age in (1, 9, 5)]
    sweep_task()
    assert [pk for pk, _node in hints] == [rows[1].pk, rows[2].pk]


@pytest.mark.usefixtures("runtime", "redis_server", "hints")
def test_a_lease_that_a_crash_left_is_cleared_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    node = Node.objects.create(name="gpu-01", heartbeat_at=Now())
    gpu = add_gpus(node, 1)[0]
    GpuLease.objects.create(gpu=gpu, deployment=run("one", Phase.STOPPED, node=node))
    sweep_task()
    assert not GpuLease.objects.exists()
    assert "was still leased" in caplog.text
