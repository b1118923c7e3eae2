"""The lifecycle's decisions, for every situation that can be."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.lifecycle import decide as rules
from deployments.lifecycle.decide import (
    Clear,
    CloseAttempt,
    Draining,
    Fetch,
    FetchView,
    Launch,
    Limits,
    MemoryView,
    Move,
    Place,
    Rest,
    Signal,
    Situation,
    Wait,
    after_failure,
    backoff_s,
    decide,
)
from deployments.lifecycle.phases import ENDED, TRANSITIONS, Desired, Phase, may_move
from deployments.runtimes.base import RunObservation, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def situation(phase: Phase, run: RunState = RunState.GONE, **changes: object) -> Situation:
    base = Situation(
        desired=Desired.RUNNING,
        restart_wanted=False,
        phase=phase,
        phase_since=NOW,
        now=NOW,
        limits=Limits(load_timeout_s=60, grace_s=5, max_attempts=3),
        run=RunObservation(state=run),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def stopping(
    *, in_flight: int | None = 0, age_s: float = 0, ready_since: datetime | None = NOW, **changes: Any
) -> Situation:
    """A run with a grace of 5 s that was asked to stop `age_s` seconds ago."""
    return situation(
        Phase.STOPPING,
        RunState.RUNNING,
        desired=Desired.STOPPED,
        phase_since=NOW - timedelta(seconds=age_s),
        draining=Draining(in_flight=in_flight),
        ready_since=ready_since,
        **changes,
    )


def ended(memory: str, *, cleared_s: float | None = None) -> Situation:
    """A stopping run with GPUs that has ended; cleared so many seconds ago, if it was."""
    return situation(
        Phase.STOPPING,
        RunState.GONE,
        desired=Desired.STOPPED,
        memory=MemoryView(state=memory, holders="pid 1"),
        run_cleared_at=None if cleared_s is None else NOW - timedelta(seconds=cleared_s),
    )


def serving(
    *, phase: Phase = Phase.READY, paused: bool = False, restart_unhealthy: bool = False, **changes: Any
) -> Situation:
    """A run that serves, or did until now."""
    limits = Limits(load_timeout_s=60, grace_s=5, max_attempts=3, restart_unhealthy=restart_unhealthy)
    run = RunObservation(state=RunState.RUNNING, paused=paused)
    return dataclasses.replace(situation(phase, limits=limits, **changes), run=run)


moments = st.none() | st.integers(-10_000, 10_000).map(lambda s: NOW + timedelta(seconds=s))
situations = st.builds(
    Situation,
    desired=st.sampled_from(Desired),
    restart_wanted=st.booleans(),
    phase=st.sampled_from(Phase),
    phase_since=st.integers(-100_000, 100_000).map(lambda s: NOW + timedelta(seconds=s)),
    now=st.just(NOW),
    limits=st.builds(
        Limits,
        load_timeout_s=st.integers(1, 3600),
        grace_s=st.integers(0, 600),
        max_attempts=st.integers(1, 9),
        restart_unhealthy=st.booleans(),
    ),
    run=st.builds(
        RunObservation,
        state=st.sampled_from(RunState),
        paused=st.booleans(),
        exit_code=st.none() | st.integers(-64, 255),
    ),
    failures=st.integers(0, 20),
    failed_probes=st.integers(0, 20),
    fetch=st.builds(
        FetchView,
        state=st.sampled_from(["absent", "running", "done", "failed"]),
        error_code=st.sampled_from(["", "fetch_failed", "hash_mismatch"]),
        permanent=st.booleans(),
    ),
    answering=st.none() | st.booleans(),
    ready_since=moments,
    signalled_at=moments,
    killed_at=moments,
    abort_reason=st.sampled_from(["", "load_timeout"]),
    stop_now=st.booleans(),
    draining=st.builds(Draining, in_flight=st.none() | st.integers(0, 5)),
    run_cleared_at=moments,
    memory=st.none() | st.builds(MemoryView, state=st.sampled_from(["free", "held", "unconfirmed"])),
    unplaceable=st.sampled_from(["", "no_node_answers"]),
)


@given(situations)
def test_every_situation_has_a_step_and_every_move_is_in_the_table(it: Situation) -> None:
    step = decide(it)
    if isinstance(step, Move):
        assert may_move(it.phase, step.phase)
    if isinstance(step, CloseAttempt):
        targets = {step.phase} if step.phase else {Phase.BACKOFF, Phase.FAILED}
        assert targets <= TRANSITIONS[it.phase]
    if isinstance(step, Wait):
        assert 0 < step.after_s <= rules.BACKOFF_MOST_S + 200_000


@given(situations)
def test_an_unknown_run_is_never_ended_removed_or_doubled(it: Situation) -> None:
    it = dataclasses.replace(it, run=RunObservation(state=RunState.UNKNOWN))
    step = decide(it)
    if it.phase in {Phase.STARTING, Phase.LOADING, Phase.READY, Phase.UNHEALTHY, Phase.STOPPING}:
        assert isinstance(step, Wait | Move)
        assert not isinstance(step, Move) or step.phase is Phase.STOPPING


@given(situations)
def test_what_has_ended_rests(it: Situation) -> None:
    assert isinstance(decide(it), Rest) == (it.phase in ENDED)


@given(situations)
def test_nothing_is_launched_that_nobody_wants(it: Situation) -> None:
    step = decide(it)
    if it.desired is Desired.STOPPED:
        assert not isinstance(step, Launch | Place | Fetch)


@given(situations)
def test_nothing_is_ready_that_did_not_answer(it: Situation) -> None:
    step = decide(it)
    if isinstance(step, Move) and step.phase is Phase.READY:
        assert it.run.state is RunState.RUNNING
        assert it.answering


@given(situations)
def test_a_run_ends_only_when_it_is_gone(it: Situation) -> None:
    step = decide(it)
    if isinstance(step, CloseAttempt) and it.phase not in {Phase.PREPARING, Phase.STARTING}:
        assert it.run.state in {RunState.EXITED, RunState.GONE}


@pytest.mark.parametrize(
    ("it", "step"),
    [
        (situation(Phase.QUEUED), Place()),
        (situation(Phase.QUEUED, unplaceable="no_node_answers"), Wait(after_s=5, reason="no_node_answers")),
        (situation(Phase.PREPARING), Fetch()),
        (situation(Phase.PREPARING, fetch=FetchView(state="running")), Wait(after_s=1)),
        (situation(Phase.PREPARING, fetch=FetchView(state="done")), Move(phase=Phase.STARTING)),
        (
            situation(Phase.PREPARING, fetch=FetchView(state="failed", error_code="hash_mismatch", permanent=True)),
            CloseAttempt(cause="hash_mismatch", permanent=True),
        ),
        (situation(Phase.STARTING), Launch()),
        (situation(Phase.STARTING, RunState.RUNNING), Move(phase=Phase.LOADING)),
        (situation(Phase.STARTING, RunState.EXITED), CloseAttempt()),
        (situation(Phase.STARTING, now=NOW + timedelta(minutes=3)), CloseAttempt(cause="start_timeout")),
        (situation(Phase.LOADING, RunState.RUNNING, answering=True), Move(phase=Phase.READY)),
        (
            situation(Phase.LOADING, RunState.RUNNING, answering=False, now=NOW + timedelta(seconds=61)),
            Signal(force=True, abort_reason="load_timeout"),
        ),
        (
            situation(Phase.LOADING, RunState.EXITED, abort_reason="load_timeout"),
            CloseAttempt(cause="load_timeout"),
        ),
        (situation(Phase.LOADING, RunState.GONE), CloseAttempt(cause="vanished")),
        (
            situation(Phase.READY, RunState.RUNNING, answering=False, failed_probes=2),
            Move(phase=Phase.UNHEALTHY, reason="not_answering"),
        ),
        (situation(Phase.UNHEALTHY, RunState.RUNNING, answering=True), Move(phase=Phase.READY)),
        (
            situation(Phase.READY, RunState.EXITED, ready_since=NOW - timedelta(hours=1)),
            CloseAttempt(forgive=True),
        ),
        (situation(Phase.BACKOFF, failures=1, now=NOW + timedelta(seconds=10)), Move(phase=Phase.PREPARING)),
        (situation(Phase.BACKOFF, failures=2, now=NOW + timedelta(seconds=5)), Wait(after_s=15)),
        (situation(Phase.READY, RunState.RUNNING, desired=Desired.STOPPED), Move(phase=Phase.STOPPING)),
        (situation(Phase.READY, RunState.RUNNING, restart_wanted=True), Move(phase=Phase.STOPPING)),
        (situation(Phase.STOPPING, RunState.RUNNING, desired=Desired.STOPPED), Signal(force=False)),
        (
            situation(
                Phase.STOPPING,
                RunState.RUNNING,
                desired=Desired.STOPPED,
                phase_since=NOW - timedelta(seconds=5),
                signalled_at=NOW - timedelta(seconds=5),
            ),
            Signal(force=True),
        ),
        (stopping(in_flight=3, age_s=1), Wait(after_s=0.5, reason="draining", params=(("count", 3), ("seconds", 4)))),
        (stopping(in_flight=None), Wait(after_s=0.5, reason="leaving_routing", params=(("count", 0), ("seconds", 5)))),
        (stopping(in_flight=0), Signal(force=False)),
        (stopping(in_flight=3, age_s=5), Signal(force=False)),
        (stopping(in_flight=3, stop_now=True), Signal(force=False)),
        (stopping(in_flight=3, ready_since=None), Signal(force=False)),
        (stopping(age_s=7, signalled_at=NOW - timedelta(seconds=2)), Wait(after_s=0.1)),
        (stopping(age_s=10, signalled_at=NOW - timedelta(seconds=5)), Signal(force=True)),
        (stopping(stop_now=True, signalled_at=NOW - timedelta(seconds=1)), Wait(after_s=0.1)),
        (stopping(stop_now=True, signalled_at=NOW - timedelta(seconds=2)), Signal(force=True)),
        (ended("free"), Clear()),
        (ended("free", cleared_s=0), CloseAttempt(phase=Phase.STOPPED, reason="stopped")),
        (ended("held", cleared_s=1), Wait(after_s=0.5, reason="memory_held", params=(("holders", "pid 1"),))),
        (
            ended("held", cleared_s=30),
            CloseAttempt(phase=Phase.STOPPED, reason="memory_not_returned", detail="pid 1", quarantine=True),
        ),
        (ended("unconfirmed", cleared_s=1), CloseAttempt(phase=Phase.STOPPED, reason="memory_unconfirmed")),
        (
            situation(Phase.QUEUED, unplaceable="gpus_held", unplaceable_detail="gpu-01: GPU 0 ← other #1"),
            Wait(after_s=5, reason="gpus_held", params=(("detail", "gpu-01: GPU 0 ← other #1"),)),
        ),
        (serving(paused=True, answering=False, failed_probes=9), Wait(after_s=30, reason="paused")),
        (
            serving(phase=Phase.UNHEALTHY, answering=False, restart_unhealthy=True),
            Signal(force=True, abort_reason="not_answering"),
        ),
        (
            situation(Phase.UNHEALTHY, RunState.EXITED, abort_reason="not_answering"),
            CloseAttempt(cause="not_answering"),
        ),
        (
            situation(Phase.STOPPING, RunState.EXITED, desired=Desired.STOPPED),
            CloseAttempt(phase=Phase.STOPPED, reason="stopped"),
        ),
        (situation(Phase.STOPPING, RunState.GONE), CloseAttempt(phase=Phase.QUEUED, reason="restarted")),
    ],
)
def test_the_step_is(it: Situation, step: object) -> None:
    assert decide(it) == step


def test_back_off_doubles_from_ten_seconds_to_five_minutes() -> None:
    assert [backoff_s(failures) for failures in range(1, 8)] == [10, 20, 40, 80, 160, 300, 300]


def test_a_permanent_failure_and_the_last_attempt_give_up() -> None:
    def phase(failures: int, *, permanent: bool = False, forgive: bool = False) -> Phase:
        return after_failure(failures=failures, permanent=permanent, forgive=forgive, max_attempts=3).phase

    assert phase(0) is Phase.BACKOFF
    assert phase(0, permanent=True) is Phase.FAILED
    assert phase(2) is Phase.FAILED
    assert phase(2, forgive=True) is Phase.BACKOFF
