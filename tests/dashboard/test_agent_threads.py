"""What the agent hears beside its ticks: changes, gaps between them, and output that has to be fetched."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dashboard import agent_threads
from dashboard.agent_threads import ChangeListener, LoadWatchers, LogFollowers
from deployments.engines.base import ProbeResult
from deployments.exceptions import RuntimeUnavailableError
from deployments.lifecycle.phases import Phase
from deployments.runtimes import use_runtime
from deployments.runtimes.base import RunSpec
from tests.deployments.editing import make_config, make_run
from tests.deployments.hosts import until
from tests.fakes.runtime import FakeRuntime

RUN = "berth-abc123-7-1"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    monkeypatch.setattr(agent_threads, "FIRST_PAUSE_S", 0.01)
    made = FakeRuntime("docker")
    use_runtime("docker", made)
    yield made
    use_runtime("docker", None)


@pytest.fixture
def ending() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(agent_threads, "hint_reconcile", lambda pk, *, node: sent.append((pk, node)))
    return sent


def test_a_change_wakes_the_reconcile_of_its_deployment(
    runtime: FakeRuntime, ending: threading.Event, hints: list[tuple[int, str]]
) -> None:
    ChangeListener("docker", "gpu-01", ending=ending, on_gap=lambda: None).start()
    runtime.changed.extend(["not-a-run-of-ours", RUN])
    until(lambda: bool(hints), "the hint")
    assert hints == [(7, "gpu-01")]


def test_after_each_gap_everything_is_listed_again(
    runtime: FakeRuntime, ending: threading.Event, hints: list[tuple[int, str]]
) -> None:
    gaps: list[int] = []
    runtime.fail("changes", RuntimeUnavailableError("gone"), RuntimeUnavailableError("still gone"))
    ChangeListener("docker", "gpu-01", ending=ending, on_gap=lambda: gaps.append(1)).start()
    until(lambda: len(gaps) == 3, "two gaps and the return")
    runtime.changed.append(RUN)
    until(lambda: bool(hints), "the hint after the return")


def test_a_fault_of_ours_does_not_end_the_listening(
    runtime: FakeRuntime, ending: threading.Event, hints: list[tuple[int, str]]
) -> None:
    runtime.fail("changes", ZeroDivisionError("by zero"))
    ChangeListener("docker", "gpu-01", ending=ending, on_gap=lambda: None).start()
    runtime.changed.append(RUN)
    until(lambda: bool(hints), "the hint after the fault")


def test_each_run_is_followed_by_one_thread_until_it_is_not_wanted_any_more(
    runtime: FakeRuntime, ending: threading.Event
) -> None:
    followers = LogFollowers(ending=ending)
    followers.keep([("docker", "one"), ("docker", "two")])
    followers.keep([("docker", "one"), ("docker", "two")])
    names = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("log of "))
    assert names == ["log of one", "log of two"]
    followers.keep([("docker", "two")])
    until(lambda: not any(thread.name == "log of one" for thread in threading.enumerate()), "the first to end")
    ending.set()
    until(lambda: not any(thread.name == "log of two" for thread in threading.enumerate()), "the second to end")


def test_a_follower_that_fails_tries_again(runtime: FakeRuntime, ending: threading.Event) -> None:
    runtime.fail("follow", RuntimeUnavailableError("gone"), ZeroDivisionError("by zero"))
    LogFollowers(ending=ending).keep([("docker", "one")])
    until(lambda: runtime.calls.count(("follow", "one")) >= 3, "the third try")


@pytest.mark.django_db
def test_a_loading_server_that_answers_wakes_its_reconcile_at_once(
    runtime: FakeRuntime, ending: threading.Event, hints: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = make_run(make_config("slow-loader", runtime="docker"), Phase.LOADING, attempt=1)
    runtime.create(RunSpec(name=deployment.run_name, image="smollm2-135m", argv=()))
    runtime.start(deployment.run_name)
    asked: list[float] = []
    answers = iter([False, False, False])
    monkeypatch.setattr(agent_threads, "engine_named", lambda _name: ScriptedEngine(asked, answers))
    LoadWatchers("gpu-01", ending=ending).watch([deployment])
    until(lambda: bool(hints), "the hint")
    assert hints == [(deployment.pk, "gpu-01")]
    assert len(asked) == 4, "asked until it answered, and no more for a while"


class ScriptedEngine:
    """Answers once its script has come to the end."""

    key_variable = ""

    def __init__(self, asked: list[float], answers: Iterator[bool]) -> None:
        self.asked = asked
        self.answers = answers

    def probe(self, endpoint: str, _spec: object, *, thorough: bool, key: str) -> ProbeResult:
        assert endpoint
        assert not thorough
        self.asked.append(time.monotonic())
        return ProbeResult(answering=next(self.answers, True))
