"""What every runtime does alike. A new runtime adds a bench (`benches.BENCHES`) and changes nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.exceptions import RuntimeFaultError
from deployments.runtimes.base import RunState
from tests.deployments.benches import BENCHES, Behaviour, Bench, all_lines, launch, wait_for, wait_for_state


@pytest.fixture(params=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = BENCHES[request.param](tmp_path)
    yield made
    made.close()


def test_a_run_that_nobody_created_is_gone(bench: Bench) -> None:
    assert bench.runtime.observe("never-created").state is RunState.GONE


def test_a_created_run_is_owned_but_does_not_run_yet(bench: Bench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    assert list(bench.runtime.owned()) == [run.name]
    assert bench.runtime.observe(run.name).state is RunState.GONE


def test_creating_twice_adopts_the_first(bench: Bench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    bench.another_worker().create(run)
    assert list(bench.runtime.owned()) == [run.name]


def test_a_started_run_has_an_endpoint_and_a_pid(bench: Bench) -> None:
    observed = bench.runtime.observe(launch(bench, Behaviour.SERVES))
    assert observed.state is RunState.RUNNING
    assert observed.endpoint.startswith("http://")
    assert observed.pid


def test_starting_twice_starts_one(bench: Bench) -> None:
    name = launch(bench, Behaviour.SERVES)
    first = bench.runtime.observe(name)
    bench.another_worker().start(name)
    assert bench.runtime.observe(name) == first
    assert [line.text for line in all_lines(bench.runtime, name)] == ["one", "two", "three"]


def test_another_worker_sees_and_ends_the_run(bench: Bench) -> None:
    name = launch(bench, Behaviour.SERVES)
    other = bench.another_worker()
    assert other.observe(name) == bench.runtime.observe(name)
    other.stop(name, force=False)
    wait_for_state(bench.runtime, name, RunState.EXITED)


def test_the_exit_code_is_kept(bench: Bench) -> None:
    name = launch(bench, Behaviour.EXITS_WITH_3)
    assert wait_for_state(bench.runtime, name, RunState.EXITED).exit_code == 3


def test_starting_an_ended_run_does_nothing(bench: Bench) -> None:
    name = launch(bench, Behaviour.EXITS_WITH_3)
    wait_for_state(bench.runtime, name, RunState.EXITED)
    bench.runtime.start(name)
    assert bench.runtime.observe(name).state is RunState.EXITED
    assert len(all_lines(bench.runtime, name)) == 3


def test_stop_asks_with_sigterm(bench: Bench) -> None:
    name = launch(bench, Behaviour.SERVES)
    bench.runtime.stop(name, force=False)
    assert wait_for_state(bench.runtime, name, RunState.EXITED).exit_code == -15


def test_force_ends_a_run_that_ignores_sigterm(bench: Bench) -> None:
    name = launch(bench, Behaviour.IGNORES_SIGTERM)
    bench.runtime.stop(name, force=False)
    assert bench.runtime.observe(name).state is RunState.RUNNING
    bench.runtime.stop(name, force=True)
    assert wait_for_state(bench.runtime, name, RunState.EXITED).exit_code == -9


def test_stopping_what_is_stopped_or_gone_does_nothing(bench: Bench) -> None:
    name = launch(bench, Behaviour.EXITS_WITH_3)
    wait_for_state(bench.runtime, name, RunState.EXITED)
    for force in (False, True):
        bench.runtime.stop(name, force=force)
        bench.runtime.stop("never-created", force=force)
    assert bench.runtime.observe(name).exit_code == 3


def test_a_running_run_is_not_removed(bench: Bench) -> None:
    name = launch(bench, Behaviour.SERVES)
    with pytest.raises(RuntimeFaultError) as caught:
        bench.runtime.remove(name)
    assert caught.value.code == "still_running"
    assert bench.runtime.observe(name).state is RunState.RUNNING


def test_an_ended_run_is_removed_with_its_log_and_removing_repeats(bench: Bench) -> None:
    name = launch(bench, Behaviour.EXITS_WITH_3)
    wait_for_state(bench.runtime, name, RunState.EXITED)
    bench.runtime.remove(name)
    bench.runtime.remove(name)
    assert bench.runtime.observe(name).state is RunState.GONE
    assert not bench.runtime.logs(name).lines
    assert list(bench.runtime.owned()) == []


def test_a_run_that_was_never_started_is_removed(bench: Bench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    bench.runtime.remove(run.name)
    assert list(bench.runtime.owned()) == []


def test_starting_what_was_never_created_is_a_fault(bench: Bench) -> None:
    with pytest.raises(RuntimeFaultError) as caught:
        bench.runtime.start("never-created")
    assert caught.value.code == "vanished"


def test_two_runs_have_lives_of_their_own(bench: Bench) -> None:
    first, second = launch(bench, Behaviour.SERVES), launch(bench, Behaviour.SERVES)
    assert list(bench.runtime.owned()) == sorted([first, second])
    bench.runtime.stop(first, force=True)
    wait_for_state(bench.runtime, first, RunState.EXITED)
    assert bench.runtime.observe(second).state is RunState.RUNNING


def test_log_lines_come_in_order_and_each_once(bench: Bench) -> None:
    name = launch(bench, Behaviour.SERVES)
    first = bench.runtime.logs(name, limit=2)
    rest = bench.runtime.logs(name, cursor=first.next_cursor)
    assert [line.text for line in [*first.lines, *rest.lines]] == ["one", "two", "three"]
    assert {line.stream for line in first.lines} == {"out"}
    assert first.skipped_lines == rest.skipped_lines == 0
    cursors = [line.cursor for line in [*first.lines, *rest.lines]]
    assert cursors == sorted(set(cursors))
    assert min(cursors) > 0


def test_a_follower_at_the_end_keeps_its_place(bench: Bench) -> None:
    name = launch(bench, Behaviour.SERVES)
    end = bench.runtime.logs(name).next_cursor
    again = bench.runtime.logs(name, cursor=end)
    assert not again.lines
    assert again.next_cursor == end


def test_the_log_outlives_the_end(bench: Bench) -> None:
    name = launch(bench, Behaviour.EXITS_WITH_3)
    wait_for_state(bench.runtime, name, RunState.EXITED)
    wait_for(lambda: len(all_lines(bench.runtime, name)) == 3, "the whole log")


def test_an_image_that_is_here_is_not_fetched(bench: Bench) -> None:
    image = bench.spec(Behaviour.SERVES).image
    assert bench.runtime.has_image(image)
    reported: list[object] = []
    bench.runtime.ensure_image(image, report=reported.append, cancelled=lambda: False)
    assert reported == []
