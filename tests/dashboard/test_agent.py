"""The agent reports its node, ships logs and wakes the worker, whatever is away meanwhile."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard import agent as agent_module
from dashboard.agent import FIND_EVERY_S, MOST_BACKOFF_S, TICK_S, Agent, SecondNodeError, refuse_second_node
from deployments import log_shipping, logs
from deployments.exceptions import RuntimeUnavailableError
from deployments.lifecycle.phases import Phase
from deployments.log_reader import LogReader, text_of
from deployments.models import Deployment, Node
from deployments.runtimes import use_runtime
from deployments.runtimes.base import LogChunk, RunSpec
from tests.deployments.editing import make_run
from tests.deployments.hosts import small_config
from tests.fakes.runtime import FakeRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    made, absent = FakeRuntime("process", images=("none",)), FakeRuntime("docker")
    absent.silent = True
    use_runtime("process", made)
    use_runtime("docker", absent)
    yield made
    use_runtime("process", None)
    use_runtime("docker", None)


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(agent_module, "hint_reconcile", lambda pk, *, node: sent.append((pk, node)))
    return sent


@pytest.fixture
def agent(runtime: FakeRuntime, hints: list[tuple[int, str]]) -> Agent:
    made = Agent("gpu-01")
    made.heartbeat()
    return made


def launched(runtime: FakeRuntime, name: str = "one", phase: Phase = Phase.LOADING, node: str = "gpu-01") -> Deployment:
    where, _made = Node.objects.get_or_create(name=node)
    deployment = make_run(small_config(name), phase, node=where)
    runtime.create(RunSpec(name=deployment.run_name, image="none", argv=()))
    runtime.start(deployment.run_name)
    return deployment


def look(agent: Agent) -> None:
    """One tick that also reads which deployments there are, and which runs."""
    agent.refreshed_at = float("-inf")
    agent.listed_at.clear()
    agent.tick()


def lines(deployment: Deployment) -> list[str]:
    return logs.tail(deployment, lines=100)


# Reporting


def test_a_heartbeat_is_in_the_database_and_in_redis(agent: Agent, redis_server: redis.Redis) -> None:
    agent.tick()
    node = Node.objects.get(heartbeat_at__gt=Now() - timedelta(seconds=5))
    assert (node.name, node.runtimes) == ("gpu-01", ["process"])
    beat = redis_server.get("berth:agent:gpu-01")
    assert isinstance(beat, bytes)
    assert abs(json.loads(beat)["at"] - time.time()) < 5
    assert 0 < redis_server.ttl("berth:agent:gpu-01") <= 30


def test_versions_of_the_engines_are_told_once_a_minute(
    agent: Agent, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Node.objects.get().facts == {"versions": {"process": "27.1.1"}}
    monkeypatch.setattr(FakeRuntime, "version", lambda self: "28.0.0")
    agent.heartbeat()
    assert Node.objects.get().facts == {"versions": {"process": "27.1.1"}}
    agent.found_at -= FIND_EVERY_S
    agent.heartbeat()
    assert Node.objects.get().facts == {"versions": {"process": "28.0.0"}}

    def fall_silent(self: FakeRuntime) -> str:
        raise RuntimeUnavailableError("It has just been stopped.")

    monkeypatch.setattr(FakeRuntime, "version", fall_silent)
    agent.found_at -= FIND_EVERY_S
    agent.heartbeat()
    assert Node.objects.get().facts == {"versions": {}}


def test_a_node_that_comes_back_is_the_same_node(agent: Agent) -> None:
    Node.objects.update(heartbeat_at=None, runtimes=[])
    agent.heartbeat()
    node = Node.objects.get()
    assert node.heartbeat_at is not None
    assert node.runtimes == ["process"]


def test_a_tick_with_nothing_to_report_asks_nothing_of_the_database(
    agent: Agent, runtime: FakeRuntime, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("one", "two", "three"):
        launched(runtime, name)
    agent.tick()
    with django_assert_num_queries(0):
        agent.tick()
    with django_assert_num_queries(1):
        look(agent)


# Logs and ends


def test_new_lines_are_shipped_at_each_tick(agent: Agent, runtime: FakeRuntime) -> None:
    deployment = launched(runtime)
    runtime.write(deployment.run_name, "one")
    look(agent)
    runtime.write(deployment.run_name, "two")
    agent.tick()
    assert lines(deployment) == ["one", "two"]


def test_a_run_that_prints_without_end_leaves_time_for_the_others(
    agent: Agent, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_shipping, "CALL_LINES", 10)
    busy, quiet = launched(runtime, "busy"), launched(runtime, "quiet")
    runtime.write(busy.run_name, *(str(number) for number in range(100)))
    runtime.write(quiet.run_name, "hello")
    look(agent)
    assert lines(quiet) == ["hello"]
    assert logs.tail(busy, lines=1) == ["9"]


def test_a_stream_far_behind_goes_on_with_the_newest_lines(
    agent: Agent, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_BEHIND_LINES", 50)
    monkeypatch.setattr(logs, "CAUGHT_UP_LINES", 3)
    monkeypatch.setattr(log_shipping, "CALL_LINES", 10)
    flood = launched(runtime, "flood")
    runtime.write(flood.run_name, *(str(number) for number in range(1, 101)))
    look(agent)
    reader = LogReader(flood.pk, flood.attempt)
    assert [text_of(piece) for piece in reader.read()] == ["… 97 lines left out …", "98", "99", "100"]


def test_an_agent_asks_the_host_for_no_log_itself(agent: Agent, runtime: FakeRuntime) -> None:
    """Two hundred containers looked at four times a second would be a load; their followers bring their output."""
    deployment = launched(runtime)
    runtime.write(deployment.run_name, "one")
    look(agent)
    assert runtime.fetched == []


def test_runs_of_other_nodes_and_of_ended_deployments_are_not_its_own(agent: Agent, runtime: FakeRuntime) -> None:
    for name, phase, node in (("ended", Phase.STOPPED, "gpu-01"), ("elsewhere", Phase.READY, "gpu-02")):
        runtime.write(launched(runtime, name, phase, node).run_name, "not mine")
    look(agent)
    assert agent.watched == []


def test_the_end_of_a_run_wakes_the_worker_once(
    agent: Agent, runtime: FakeRuntime, hints: list[tuple[int, str]]
) -> None:
    deployment = launched(runtime)
    look(agent)
    assert hints == []
    runtime.end(deployment.run_name, 1)
    look(agent)
    look(agent)
    assert hints == [(deployment.pk, "gpu-01")]


def test_a_run_that_vanishes_wakes_the_worker(agent: Agent, runtime: FakeRuntime, hints: list[tuple[int, str]]) -> None:
    deployment = launched(runtime)
    look(agent)
    runtime.vanish(deployment.run_name)
    look(agent)
    assert hints == [(deployment.pk, "gpu-01")]


@pytest.mark.parametrize(("phase", "woken"), [(Phase.READY, 1), (Phase.STOPPING, 0)])
def test_an_agent_that_starts_late_reports_what_ended_before(
    agent: Agent, runtime: FakeRuntime, hints: list[tuple[int, str]], phase: Phase, woken: int
) -> None:
    deployment = launched(runtime, phase=phase)
    runtime.end(deployment.run_name)
    look(agent)
    assert len(hints) == woken


def test_a_host_that_falls_silent_and_comes_back_wakes_the_worker_each_time(
    agent: Agent, runtime: FakeRuntime, hints: list[tuple[int, str]]
) -> None:
    deployment = launched(runtime, phase=Phase.READY)
    look(agent)
    assert hints == []
    for silent in (True, False):
        runtime.silent = silent
        hints.clear()
        look(agent)
        look(agent)
        assert hints == [(deployment.pk, "gpu-01")], silent


def test_what_ended_while_the_host_was_silent_wakes_the_worker(
    agent: Agent, runtime: FakeRuntime, hints: list[tuple[int, str]]
) -> None:
    deployment = launched(runtime, phase=Phase.READY)
    look(agent)
    runtime.silent = True
    look(agent)
    runtime.silent = False
    runtime.end(deployment.run_name, 137)
    hints.clear()
    look(agent)
    assert hints == [(deployment.pk, "gpu-01")]


def test_it_never_acts_on_a_run(agent: Agent, runtime: FakeRuntime) -> None:
    deployment = launched(runtime)
    runtime.calls.clear()
    look(agent)
    runtime.end(deployment.run_name, 1)
    look(agent)
    assert runtime.calls == []


def test_a_run_whose_host_does_not_answer_does_not_keep_the_others_log(
    agent: Agent, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = launched(runtime, "broken"), launched(runtime, "whole")
    runtime.write(whole.run_name, "hello")
    read = runtime.logs

    def read_or_fail(name: str, **where: Any) -> LogChunk:
        if name == broken.run_name:
            runtime.fail("logs", RuntimeUnavailableError("The host does not answer."))
        return read(name, **where)

    monkeypatch.setattr(runtime, "logs", read_or_fail)
    for _ in range(3):
        look(agent)
    assert lines(whole) == ["hello"]
    assert caplog.text.count("cannot be looked at: The host does not answer.") == 1, (
        "said once, not four times a second"
    )


# Outages


class Clock:
    """Waits that take no time; ``stop`` ends the agent after ``ticks`` of them."""

    def __init__(self, agent: Agent, ticks: int) -> None:
        self.agent = agent
        self.ticks = ticks
        self.waited: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        if len(self.waited) >= self.ticks:
            self.agent.stop()
        return self.agent.stopping.is_set()


def run(agent: Agent, monkeypatch: pytest.MonkeyPatch, *, ticks: int, tick: Callable[[], None]) -> list[float]:
    clock = Clock(agent, ticks)
    monkeypatch.setattr(agent, "tick", tick)
    monkeypatch.setattr(agent.stopping, "wait", clock.wait)
    agent.run()
    return clock.waited


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("refused"), OperationalError("gone"), RuntimeError("a fault of ours")]
)
def test_an_outage_is_waited_out_with_growing_patience(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    failures = iter([error] * 6)

    def tick() -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    with caplog.at_level(logging.WARNING):
        waited = run(agent, monkeypatch, ticks=8, tick=tick)
    assert waited == [1, 2, 4, 8, MOST_BACKOFF_S, MOST_BACKOFF_S, TICK_S, TICK_S]
    assert caplog.text.count("The agent waits") == 6
    assert ("Traceback" in caplog.text) == isinstance(error, RuntimeError)


def test_patience_is_short_again_after_an_outage(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter([True, True, False, True])

    def tick() -> None:
        if next(outcomes, False):
            raise redis.ConnectionError("refused")

    assert run(agent, monkeypatch, ticks=5, tick=tick) == [1, 2, TICK_S, 1, TICK_S]


@pytest.mark.django_db(transaction=True)  # after an outage the agent closes its connection
def test_a_whole_tick_with_redis_away_is_an_outage_and_nothing_worse(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise redis.ConnectionError("refused")

    monkeypatch.setattr(agent_module, "client", Away)
    assert run(agent, monkeypatch, ticks=2, tick=agent.tick) == [1, 2]
    assert Node.objects.get().heartbeat_at is not None, "the database still hears of the node"


# One node only


def test_a_second_node_is_refused_where_only_one_can_be(settings: Settings) -> None:
    settings.BERTH_EMBEDDED_REDIS = True
    Node.objects.create(name="gpu-01", heartbeat_at=Now())
    with pytest.raises(SecondNodeError, match="Node “gpu-02” cannot join: “gpu-01” is running"):
        refuse_second_node("gpu-02")
    refuse_second_node("gpu-01")


def test_a_node_that_fell_silent_is_replaced(settings: Settings) -> None:
    settings.BERTH_EMBEDDED_REDIS = True
    Node.objects.create(name="gpu-01", heartbeat_at=Now() - timedelta(minutes=1))
    Node.objects.create(name="gpu-03", heartbeat_at=None)
    refuse_second_node("gpu-02")


@pytest.mark.parametrize(("vendor", "refused"), [("sqlite", True), ("postgresql", False)])
def test_with_a_shared_database_and_redis_nodes_may_join(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, vendor: str, refused: bool
) -> None:
    settings.BERTH_EMBEDDED_REDIS = False
    Node.objects.create(name="gpu-01", heartbeat_at=Now())
    monkeypatch.setattr(agent_module, "connection", Vendor(vendor))
    if refused:
        with pytest.raises(SecondNodeError):
            refuse_second_node("gpu-02")
    else:
        refuse_second_node("gpu-02")


class Vendor:
    def __init__(self, vendor: str) -> None:
        self.vendor = vendor


def test_the_command_refuses_a_second_node_with_a_sentence(settings: Settings) -> None:
    settings.BERTH_EMBEDDED_REDIS = True
    settings.BERTH_NODE_NAME = "gpu-02"
    Node.objects.create(name="gpu-01", heartbeat_at=Now())
    with pytest.raises(CommandError, match="or BERTH_NODE_NAME=gpu-01 here"):
        call_command("agent")


def test_the_command_says_when_there_is_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_node: str) -> None:
        raise OperationalError("no such table: deployments_node")

    monkeypatch.setattr("dashboard.management.commands.agent.refuse_second_node", gone)
    with pytest.raises(CommandError, match=r"The database cannot be used \(no such table: deployments_node\)"):
        call_command("agent")


@pytest.mark.usefixtures("runtime")
def test_the_command_ends_at_sigterm(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BERTH_NODE_NAME = "gpu-01"
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(Agent, "heartbeat", lambda self: signal.raise_signal(signal.SIGTERM))
    try:
        call_command("agent")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert connection.is_usable()
