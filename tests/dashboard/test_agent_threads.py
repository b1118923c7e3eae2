"""What the agent hears beside its ticks: changes, gaps between them, and output that has to be fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dashboard import agent_threads
from dashboard.agent_threads import ChangeListener, LogFollowers
from deployments.exceptions import RuntimeUnavailableError
from deployments.runtimes import use_runtime
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
