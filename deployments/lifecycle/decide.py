"""The pure heart of the lifecycle: from a situation to the one next step. No I/O, no clock, no database."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from deployments.runtimes.base import RunObservation, RunState

from .phases import ENDED, Desired, Phase
from .reasons import PAUSED

QUEUE_CHECK_S = 5.0
#: What ends or is paused is told by the agent at once; this is for servers that hang.
READY_CHECK_S = 30.0
UNHEALTHY_CHECK_S = 10.0
UNKNOWN_CHECK_S = 5.0
ENDING_CHECK_S = 0.1
FETCH_CHECK_S = 1.0
FAST_CHECK_S = 0.1
SLOWEST_LOAD_CHECK_S = 2.0
PROBES_UNTIL_UNHEALTHY = 3
#: Ready this long, a run's earlier failures are forgiven.
STABLE_AFTER = timedelta(minutes=10)
BACKOFF_FIRST_S = 10
BACKOFF_MOST_S = 300
PREPARE_DEADLINE = timedelta(hours=12)
START_DEADLINE = timedelta(minutes=2)
#: After SIGKILL, a run that still exists this long is reported and let go.
KILL_DEADLINE = timedelta(seconds=60)
DRAIN_CHECK_S = 0.5
#: Between SIGTERM and SIGKILL there are at least so many seconds, even when draining took the whole grace time.
LEAST_TO_END = timedelta(seconds=5)
#: And no more than these once somebody pressed "Stop now".
NOW_TO_END = timedelta(seconds=2)
#: The driver gives memory back within a second or two; what holds it longer is somebody's to look at.
MEMORY_DEADLINE = timedelta(seconds=30)
MEMORY_CHECK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The config's own limits, in seconds."""

    load_timeout_s: int
    grace_s: int
    max_attempts: int
    restart_unhealthy: bool = False


@dataclass(frozen=True, kw_only=True)
class FetchView:
    """What the fetch of the image looks like: absent, at work, done, or failed with a cause."""

    state: str = "absent"
    error_code: str = ""
    permanent: bool = False


@dataclass(frozen=True, kw_only=True)
class Draining:
    """Requests still under way at a server that has left the routing; None while a gateway has not heard of that."""

    in_flight: int | None = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing would be cut off."""
        return self.in_flight == 0


@dataclass(frozen=True, kw_only=True)
class MemoryView:
    """Whether the GPU memory of a removed run is back: ``free``, ``held`` by ``holders``, or ``unconfirmed``."""

    state: str = "free"
    holders: str = ""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything a decision may depend on. Times are aware; ``answering`` is None when not probed.

    ``unplaceable`` is the reason code why no node can take it, ``refusal`` why the host did not launch it at the
    last try; empty when there is none. ``probe_detail`` is the server's own words when it does not answer.
    """

    desired: Desired
    restart_wanted: bool
    phase: Phase
    phase_since: datetime
    now: datetime
    limits: Limits
    run: RunObservation
    failures: int = 0
    failed_probes: int = 0
    fetch: FetchView = field(default_factory=FetchView)
    #: Bringing the model into a server that is up without it; None where the server does that by itself.
    warming: FetchView | None = None
    answering: bool | None = None
    #: Whether a gateway process reaches it as well; None when none lives that could be asked.
    reached: bool | None = True
    ready_since: datetime | None = None
    signalled_at: datetime | None = None
    killed_at: datetime | None = None
    abort_reason: str = ""
    unplaceable: str = ""
    refusal: str = ""
    probe_detail: str = ""
    unplaceable_detail: str = ""
    stop_now: bool = False
    draining: Draining = field(default_factory=Draining)
    run_cleared_at: datetime | None = None
    memory: MemoryView | None = None

    @property
    def age(self) -> timedelta:
        """How long the run has been in its phase; never negative, even when the clock jumps back."""
        return max(self.now - self.phase_since, timedelta())


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing to do; look again after ``after_s`` seconds. ``probe_failed`` counts a failed probe."""

    after_s: float
    reason: str | None = None
    params: tuple[tuple[str, str | int], ...] = ()
    probe_failed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Move:
    """Enter ``phase`` for ``reason``."""

    phase: Phase
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Choose node and GPUs."""


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """See that somebody is fetching the image."""


@dataclass(frozen=True, kw_only=True)
class Warm:
    """See that somebody is bringing the model into the running server."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Create and start the run, adopting one that is there."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Ask the run to end; ``force`` kills it. ``abort_reason`` names the failure that made it necessary."""

    force: bool
    abort_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Clear:
    """Keep log and exit of the attempt and remove the run; its GPU memory has to come back before more is done.

    ``failure`` is the end of a run that nobody asked to end: it goes through ``stopping`` then.
    """

    failure: CloseAttempt | None = None


@dataclass(frozen=True, kw_only=True)
class CloseAttempt:
    """Keep the log and exit of the attempt, remove what is left of the run, then enter the phase.

    ``phase`` None means: fail the attempt, and back off or give up by ``failures`` and ``permanent``.
    ``cause`` empty means: classify from exit code and log. ``quarantine`` shuts its GPUs off.
    """

    phase: Phase | None = None
    cause: str = ""
    permanent: bool = False
    forgive: bool = False
    reason: str = ""
    detail: str = ""
    quarantine: bool = False


@dataclass(frozen=True, kw_only=True)
class Rest:
    """The run has ended and nothing is left: do not look again."""


Decision = Wait | Move | Place | Fetch | Warm | Launch | Signal | Clear | CloseAttempt | Rest


def decide(situation: Situation) -> Decision:
    """The next step. Total: every situation has one. UNKNOWN never leads to an end or a removal."""
    if situation.phase in ENDED:
        return Rest()
    if situation.phase is Phase.STOPPING:
        return _stopping(situation)
    if situation.desired is Desired.STOPPED or situation.restart_wanted:
        return Move(phase=Phase.STOPPING)
    return _RUNNING[situation.phase](situation)


def _await_host(it: Situation) -> Wait:
    """It cannot be seen, so nothing is concluded."""
    return Wait(after_s=UNKNOWN_CHECK_S, reason="host_silent", params=(("detail", it.run.detail or "–"),))


def _stopping(it: Situation) -> Decision:
    match it.run.state:
        case RunState.UNKNOWN:
            return _await_host(it)
        case RunState.RUNNING:
            return _end_politely(it)
        case RunState.EXITED | RunState.GONE:
            return _after_the_end(it)


def _end_politely(it: Situation) -> Decision:
    """Drain, SIGTERM, SIGKILL. The grace time bounds draining and ending together, from the wish on."""
    grace = timedelta(seconds=it.limits.grace_s)
    if it.signalled_at is None:
        left = grace - it.age
        if it.ready_since is None or it.stop_now or it.draining.is_over or left <= timedelta():
            return Signal(force=False)
        told = (("count", it.draining.in_flight or 0), ("seconds", math.ceil(left.total_seconds())))
        reason = "leaving_routing" if it.draining.in_flight is None else "draining"
        return Wait(after_s=DRAIN_CHECK_S, reason=reason, params=told)
    if it.killed_at is None:
        if it.stop_now:
            dies_at = it.signalled_at + NOW_TO_END
        else:
            dies_at = max(it.phase_since + grace, it.signalled_at + min(grace, LEAST_TO_END))
        return Signal(force=True) if it.now >= dies_at else Wait(after_s=ENDING_CHECK_S)
    return _await_death(it)


def _after_the_end(it: Situation) -> Decision:
    """Nothing runs any more. With GPUs it is over only when their memory is back, or was waited for long enough."""
    again = it.desired is Desired.RUNNING
    if again and it.abort_reason and not it.restart_wanted:
        end = CloseAttempt(cause=it.abort_reason, forgive=_was_stable(it))
    else:
        end = CloseAttempt(phase=Phase.QUEUED if again else Phase.STOPPED, reason="restarted" if again else "stopped")
    if it.memory is None:
        return end
    if it.run_cleared_at is None:
        return Clear()
    match it.memory.state:
        case "free":
            return end
        case "held" if it.now - it.run_cleared_at < MEMORY_DEADLINE:
            return Wait(after_s=MEMORY_CHECK_S, reason="memory_held", params=(("holders", it.memory.holders),))
        case "held":
            return replace(end, reason="memory_not_returned", detail=it.memory.holders, quarantine=True)
        case _:
            return replace(end, reason="memory_unconfirmed")


def _fail(it: Situation, failure: CloseAttempt) -> Decision:
    """The run has ended and should not have. What holds GPU memory yet leaves the routing first, and waits for it."""
    if it.memory is not None and it.memory.state == "held":
        return Clear(failure=failure)
    return failure


def _was_stable(it: Situation) -> bool:
    return it.ready_since is not None and it.now - it.ready_since > STABLE_AFTER


def _await_death(it: Situation) -> Wait:
    """After SIGKILL. A run stuck in the kernel is looked at now and then, not in every tenth of a second."""
    if it.killed_at is not None and it.now - it.killed_at > KILL_DEADLINE:
        return Wait(after_s=UNKNOWN_CHECK_S, reason="will_not_die")
    return Wait(after_s=ENDING_CHECK_S)


def _queued(it: Situation) -> Decision:
    if it.unplaceable:
        told = (("detail", it.unplaceable_detail),) if it.unplaceable_detail else ()
        return Wait(after_s=QUEUE_CHECK_S, reason=it.unplaceable, params=told)
    return Place()


def _preparing(it: Situation) -> Decision:
    match it.fetch.state:
        case "done":
            return Move(phase=Phase.STARTING)
        case "failed":
            return CloseAttempt(cause=it.fetch.error_code or "fetch_failed", permanent=it.fetch.permanent)
    if it.age > PREPARE_DEADLINE:
        return CloseAttempt(cause="fetch_timeout")
    if it.fetch.state == "absent":
        return Fetch()
    return Wait(after_s=FETCH_CHECK_S)


def _starting(it: Situation) -> Decision:
    match it.run.state:
        case RunState.RUNNING:
            return Move(phase=Phase.LOADING)
        case RunState.EXITED:
            return _fail(it, CloseAttempt())
        case RunState.UNKNOWN:
            return _await_host(it)
        case RunState.GONE:
            return CloseAttempt(cause=it.refusal or "start_timeout") if it.age > START_DEADLINE else Launch()


def _loading(it: Situation) -> Decision:
    match it.run.state:
        case RunState.EXITED:
            return _fail(it, CloseAttempt(cause=it.abort_reason))
        case RunState.GONE:
            return _fail(it, CloseAttempt(cause=it.abort_reason or "vanished"))
        case RunState.UNKNOWN:
            return _await_host(it)
    if it.abort_reason:
        return _await_death(it)
    if it.run.paused:
        return Wait(after_s=SLOWEST_LOAD_CHECK_S, reason=PAUSED)
    if it.answering and it.reached is not False:
        return Move(phase=Phase.READY, reason="ready_without_gateway" if it.reached is None else "")
    if it.warming is not None and it.warming.state != "done":
        return _warming(it, it.warming)
    if it.age > timedelta(seconds=it.limits.load_timeout_s):
        return Signal(force=True, abort_reason="gateway_cannot_reach" if it.answering else "load_timeout")
    after_s = min(SLOWEST_LOAD_CHECK_S, max(FAST_CHECK_S, it.age.total_seconds() / 20))
    return Wait(after_s=after_s, reason="gateway_cannot_reach" if it.answering else None)


def _warming(it: Situation, warming: FetchView) -> Decision:
    """A pull of hours is no load that hangs: it has the time of a fetch, not the time to load."""
    if warming.state == "failed":
        return Signal(force=True, abort_reason=warming.error_code or "fetch_failed")
    if it.age > PREPARE_DEADLINE:
        return Signal(force=True, abort_reason="fetch_timeout")
    return Warm() if warming.state == "absent" else Wait(after_s=FETCH_CHECK_S)


def _serving(it: Situation) -> Decision:
    match it.run.state:
        case RunState.EXITED | RunState.GONE:
            gone = "" if it.run.state is RunState.EXITED else "vanished"
            return _fail(it, CloseAttempt(cause=it.abort_reason or gone, forgive=_was_stable(it)))
        case RunState.UNKNOWN:
            return _await_host(it)
    if it.abort_reason:
        return _await_death(it)
    if it.run.paused:
        return Wait(after_s=READY_CHECK_S, reason=PAUSED)
    if it.answering is None:
        return Wait(after_s=READY_CHECK_S)
    if it.answering:
        return (
            Move(phase=Phase.READY) if it.phase is Phase.UNHEALTHY else Wait(after_s=READY_CHECK_S, probe_failed=False)
        )
    if it.phase is Phase.READY and it.failed_probes + 1 >= PROBES_UNTIL_UNHEALTHY:
        return Move(phase=Phase.UNHEALTHY, reason="not_answering")
    if it.phase is Phase.UNHEALTHY and it.limits.restart_unhealthy:
        return Signal(force=True, abort_reason="not_answering")
    if it.phase is Phase.UNHEALTHY:
        return Wait(after_s=UNHEALTHY_CHECK_S, reason="not_answering", probe_failed=True)
    return Wait(after_s=1.0, probe_failed=True)


def _backing_off(it: Situation) -> Decision:
    wait_s = backoff_s(it.failures) - it.age.total_seconds()
    return Move(phase=Phase.PREPARING) if wait_s <= 0 else Wait(after_s=wait_s)


_RUNNING = {
    Phase.QUEUED: _queued,
    Phase.PREPARING: _preparing,
    Phase.STARTING: _starting,
    Phase.LOADING: _loading,
    Phase.READY: _serving,
    Phase.UNHEALTHY: _serving,
    Phase.BACKOFF: _backing_off,
}


@dataclass(frozen=True, kw_only=True)
class AfterFailure:
    """Where a failed attempt leads: the new count of failures in a row, and the phase."""

    failures: int
    phase: Phase


def after_failure(*, failures: int, forgive: bool, permanent: bool, max_attempts: int) -> AfterFailure:
    """Back off, or give up when trying again cannot help or was tried ``max_attempts`` times."""
    count = 1 if forgive else failures + 1
    given_up = permanent or count >= max_attempts
    return AfterFailure(failures=count, phase=Phase.FAILED if given_up else Phase.BACKOFF)


def backoff_s(failures: int) -> int:
    """Seconds before the next attempt: 10, doubling, at most 300."""
    return int(min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** max(0, min(failures, 10) - 1)))
