"""A deployment is stopped when nobody asked it for as long as its config says, and in doubt it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway_states import GatewayReport
from deployments.lifecycle import idle
from deployments.lifecycle.idle import IdleTimes, idle_seconds, look, stop_idle
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import AuditEntry, Deployment
from deployments.redis_keys import IDLE, gateway_left, gateway_state
from tests.deployments.editing import make_config, make_run


def report(*, in_flight: int = 0, served: int = 0) -> GatewayReport:
    return GatewayReport(version=1, in_flight={"7": in_flight} if in_flight else {}, served={"7": served})


class Watch:
    """Looks every two seconds."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.times = IdleTimes()

    def look(self, after_s: float = 2.0, *, left: dict[str, GatewayReport] | None = None, **living: Any) -> float:
        """The idle seconds of deployment 7; ``living`` are reports by process."""
        self.at += after_s
        self.times = look(self.times, at=self.at, living=living, left=left or {}, watched={"7"})
        # It is kept as JSON between two looks.
        self.times = IdleTimes.from_json(self.times.to_json())
        return self.times.idle_s["7"]


def test_time_counts_from_the_first_look_while_nothing_changes() -> None:
    watch = Watch()
    assert [watch.look(a=report(served=3), b=report()) for _each in range(4)] == [0, 2, 4, 6]


def test_a_request_under_way_and_one_that_is_over_already_begin_it_anew() -> None:
    watch = Watch()
    watch.look(a=report(), b=report())
    assert watch.look(a=report(), b=report()) == 2
    assert watch.look(a=report(in_flight=1, served=1), b=report()) == 0
    assert watch.look(a=report(in_flight=1, served=1), b=report()) == 0
    assert watch.look(a=report(served=1), b=report()) == 2
    # It came and went between two looks, at another gateway.
    assert watch.look(a=report(served=1), b=report(served=1)) == 0
    assert watch.look(a=report(served=1), b=report(served=1)) == 2


def test_without_a_gateway_nobody_can_tell_and_no_time_counts() -> None:
    watch = Watch()
    assert [watch.look() for _each in range(10)] == [0] * 10


@pytest.mark.parametrize("gap_s", [16.0, 3600.0, -1.0, -3600.0, 0.0])
def test_a_late_look_and_a_set_clock_add_nothing(gap_s: float) -> None:
    watch = Watch()
    watch.look(a=report())
    watch.look(a=report())
    assert watch.look(gap_s, a=report()) == 2
    assert watch.look(a=report()) == 4


def test_a_gateway_that_ends_in_good_order_begins_nothing_anew() -> None:
    watch = Watch()
    watch.look(a=report(served=5))
    assert watch.look(a=report(served=5)) == 2
    assert [watch.look(left={"a": report(served=5)}, b=report()) for _each in range(3)] == [4, 6, 8]
    # Its last report expires.
    assert watch.look(b=report()) == 10


def test_what_a_gateway_sent_last_counts_though_nobody_saw_it_before() -> None:
    watch = Watch()
    watch.look(a=report(served=5), b=report())
    assert watch.look(a=report(served=5), b=report()) == 2
    assert watch.look(left={"a": report(served=6)}, b=report()) == 0
    assert watch.look(left={"a": report(served=6)}, b=report()) == 2
    # One that lived only between two looks.
    assert watch.look(left={"a": report(served=6), "c": report(served=1)}, b=report()) == 0


def test_a_gateway_that_falls_silent_stops_the_clock_until_it_is_heard_again() -> None:
    watch = Watch()
    watch.look(a=report(), b=report())
    assert watch.look(a=report(), b=report()) == 2
    assert [watch.look(b=report()) for _each in range(20)] == [0] * 20
    # It has served from its last table meanwhile.
    assert watch.look(a=report(served=9), b=report()) == 0
    assert watch.look(a=report(served=9), b=report()) == 2


def test_a_killed_gateway_is_forgiven_once_another_stands_in_its_place() -> None:
    watch = Watch()
    watch.look(a=report(), b=report())
    # Its report outlives it; the new one is there before.
    watch.look(a=report(), b=report(), c=report())
    assert watch.look(b=report(), c=report()) == 0
    assert watch.look(b=report(), c=report()) == 2
    # One stands for one: when the next is killed, nobody has begun.
    assert watch.look(6, c=report()) == 0
    assert watch.look(c=report()) == 0
    assert watch.look(c=report(), d=report()) == 2


def test_a_gateway_that_never_comes_back_is_forgotten_after_a_day() -> None:
    watch = Watch()
    watch.look(a=report(), b=report())
    watch.look(b=report())
    assert watch.look(b=report()) == 0
    watch.look(idle.SILENT_AT_MOST_S, b=report())
    assert watch.look(b=report()) == 2


STEPS = st.lists(st.tuples(st.sampled_from(["idle", "ask a", "ask b", "hide b", "late"]), st.booleans()), max_size=40)


@given(STEPS)
def test_idle_time_is_never_longer_than_the_time_since_the_last_request(steps: list[tuple[str, bool]]) -> None:
    watch = Watch()
    served = {"a": 0, "b": 0}
    watch.look(a=report(), b=report())
    asked_at = watch.at
    for step, hidden in steps:
        if step.startswith("ask"):
            served[step[-1]] += 1
            asked_at = watch.at + 2
        told: dict[str, Any] = {name: report(served=count) for name, count in served.items()}
        if step == "hide b" or (step == "ask b" and hidden):
            del told["b"]
        idle_s = watch.look(60.0 if step == "late" else 2.0, **told)
        assert idle_s <= max(0.0, watch.at - asked_at)


# With Redis and the database


@pytest.fixture
def deployment(db: None, redis_server: redis.Redis) -> Deployment:
    config = make_config("tiny", stop_after_idle_minutes=12)
    return make_run(config, Phase.READY)


def tell(server: redis.Redis, deployment: Deployment, *, served: int = 0, process: str = "a") -> None:
    state = {"version": 1, "in_flight": {}, "served": {str(deployment.pk): served}}
    server.set(gateway_state(process), json.dumps(state))


def make_idle(server: redis.Redis, seconds: float) -> None:
    """As if every look before had found nothing."""
    held = server.get(IDLE)
    assert isinstance(held, bytes)
    times = json.loads(held)
    times["idle_s"] = dict.fromkeys(times["idle_s"], seconds)
    server.set(IDLE, json.dumps(times))


def test_it_is_stopped_by_the_service_with_an_audit_row_and_an_event_that_says_why(
    redis_server: redis.Redis, deployment: Deployment
) -> None:
    tell(redis_server, deployment)
    stop_idle()
    make_idle(redis_server, 719.0)
    stop_idle()
    deployment.refresh_from_db()
    assert deployment.desired == Desired.RUNNING
    assert (idle_seconds(deployment.pk) or 0) >= 719
    make_idle(redis_server, 720.0)
    stop_idle()
    deployment.refresh_from_db()
    assert (deployment.desired, deployment.stopped_by) == (Desired.STOPPED, "idle")
    row = AuditEntry.objects.get(action="deployment.stop")
    assert (row.actor, row.via, row.target) == ("idle", "system", "tiny")
    event = deployment.events.get()
    assert (event.reason, event.reason_params, event.actor) == ("idle", {"count": 12}, "idle")
    stop_idle()
    assert idle_seconds(deployment.pk) is None
    assert AuditEntry.objects.filter(action="deployment.stop").count() == 1


def test_a_request_in_the_last_moment_keeps_it(redis_server: redis.Redis, deployment: Deployment) -> None:
    tell(redis_server, deployment)
    stop_idle()
    make_idle(redis_server, 10_000.0)
    tell(redis_server, deployment, served=1)
    stop_idle()
    deployment.refresh_from_db()
    assert deployment.desired == Desired.RUNNING
    assert idle_seconds(deployment.pk) == 0


@pytest.mark.usefixtures("db")
def test_only_what_serves_is_meant_to_stop_and_is_not_being_replaced_is_watched(redis_server: redis.Redis) -> None:
    watched = make_run(make_config("a", stop_after_idle_minutes=1), Phase.READY)
    make_run(make_config("b"), Phase.READY)
    make_run(make_config("c", stop_after_idle_minutes=1), Phase.LOADING)
    make_run(make_config("d", stop_after_idle_minutes=1), Phase.READY, desired=Desired.STOPPED)
    replaced = make_run(make_config("e", stop_after_idle_minutes=1), Phase.READY)
    make_run(replaced.config, Phase.LOADING, replica=1, supersedes=replaced)
    stop_idle()
    held = redis_server.get(IDLE)
    assert isinstance(held, bytes)
    assert list(json.loads(held)["idle_s"]) == [str(watched.pk)]


def test_without_redis_and_with_nonsense_in_it_nothing_is_stopped(
    redis_server: redis.Redis, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(redis_server, deployment)
    for nonsense in ("{", "[]", '{"idle_s": 3, "at": "x", "new": 1}'):
        redis_server.set(IDLE, nonsense)
        stop_idle()
    make_idle(redis_server, 10_000.0)
    redis_server.set(gateway_left("b"), "{")
    stop_idle()
    redis_server.delete(gateway_left("b"))
    monkeypatch.setattr(idle, "client", _away)
    stop_idle()
    assert idle_seconds(deployment.pk) is None
    deployment.refresh_from_db()
    assert deployment.desired == Desired.RUNNING


def _away() -> Any:
    raise redis.ConnectionError("away")
