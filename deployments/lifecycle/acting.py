"""Does one decided step. Every step may be repeated: the side effect first, then its record."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import singledispatch
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from deployments import logs
from deployments.engines import engine_named
from deployments.engines.causes import classify
from deployments.exceptions import LaunchError
from deployments.fetching import forget_failure, request_fetch
from deployments.gpu_memory import memory_held, observed_peak, quarantine
from deployments.live import publish_routes
from deployments.memory_progress import memory_progress
from deployments.models import Attempt, Deployment, Node
from deployments.placement.leases import take_leases
from deployments.placement.placing import place
from deployments.placement.views import Refusal
from deployments.progress import Progress
from deployments.runtimes import runtime_named
from deployments.runtimes.base import RunState

from .decide import (
    FETCH_CHECK_S,
    Clear,
    CloseAttempt,
    Decision,
    Fetch,
    Launch,
    Move,
    Place,
    Rest,
    Signal,
    Situation,
    Wait,
    Warm,
    after_failure,
    backoff_s,
)
from .launching import run_spec
from .phases import Phase
from .reasons import PAUSED, PERMANENT
from .record import move, note
from .survey import attempt_of, fetch_of
from .warming import request_warming, warming_of

logger = logging.getLogger(__name__)
#: How many of the last log lines decide the cause of a failure and the progress of loading.
TAIL_LINES = 200
#: A fetch of what is nearly there ends soon, so it is watched closely at first.
EARLY_FETCH_CHECK_S = 0.3
EARLY = timedelta(seconds=2)
LOST_RACE_S = 0.2
#: Phases in which gateways may know the endpoint.
PUBLISHED = frozenset({Phase.LOADING, Phase.READY, Phase.UNHEALTHY})


@singledispatch
def act(step: Decision, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    """Do ``step``. Returns the seconds until the next look, or None when the run needs no more.

    Raises LostClaimError when the claim was lost, RuntimeUnavailableError when the host does not answer.
    """
    raise TypeError(type(step))


@act.register
def _(step: Wait, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    changes: dict[str, Any] = {"progress": _progress(deployment, situation)}
    if step.probe_failed is not None:
        changes["failed_probes"] = deployment.failed_probes + 1 if step.probe_failed else 0
    if situation.phase is not Phase.BACKOFF:  # there the reason is the failure's
        changes["reason"] = step.reason or ""
        changes["reason_params"] = {"runtime": deployment.spec["runtime"], **dict(step.params)} if step.reason else {}
    if (endpoint := situation.run.endpoint) and situation.phase in PUBLISHED and endpoint != deployment.endpoint:
        changes["endpoint"] = endpoint  # restarted from outside: the engine chose another port
    was_paused = deployment.reason == PAUSED
    note(deployment, token=token, **changes)
    if "endpoint" in changes or was_paused != (deployment.reason == PAUSED):
        publish_routes()
    return step.after_s


@act.register
def _(step: Move, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    changes: dict[str, Any] = {}
    if situation.phase is Phase.BACKOFF and step.phase is Phase.PREPARING:
        forget_failure(deployment)
        changes["attempt"] = deployment.attempt + 1
    if step.phase is Phase.LOADING:
        changes["endpoint"] = situation.run.endpoint
    if step.phase is Phase.READY:
        changes |= {"ready_at": timezone.now(), "failed_probes": 0, "endpoint": situation.run.endpoint}
        Attempt.objects.filter(deployment=deployment, number=deployment.attempt, ready_at=None).update(
            ready_at=changes["ready_at"]
        )
    move(deployment, step.phase, token=token, reason=step.reason, **changes)
    return 0.0


@act.register
def _(step: Place, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    choice = place(deployment)
    if isinstance(choice, Refusal):
        return 1.0
    node = Node.objects.get(name=choice.node)
    deployment.node = node
    forget_failure(deployment)
    try:
        move(
            deployment,
            Phase.PREPARING,
            token=token,
            together=lambda: take_leases(deployment, node.pk, choice.gpu_uuids),
            node=node,
            gpu_uuids=list(choice.gpu_uuids),
        )
    except IntegrityError:
        logger.info("Deployment %s: another was quicker on %s; it is placed again", deployment.pk, choice.node)
        deployment.refresh_from_db()
        return LOST_RACE_S
    return 0.0


@act.register
def _(step: Fetch, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    request_fetch(deployment)
    if situation.age >= EARLY:
        note(deployment, token=token, reason="waiting_for_fetch")
    return EARLY_FETCH_CHECK_S if situation.age < EARLY else FETCH_CHECK_S


@act.register
def _(step: Warm, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    request_warming(deployment)
    note(deployment, token=token, progress=_progress(deployment, situation))
    return EARLY_FETCH_CHECK_S if situation.age < EARLY else FETCH_CHECK_S


@act.register
def _(step: Launch, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    attempt, _made = Attempt.objects.get_or_create(
        deployment=deployment, number=deployment.attempt, defaults={"started_at": timezone.now()}
    )
    if attempt.ended_at is not None:
        # Its run ended and was removed, and the worker was killed before it could record that.
        return _close(CloseAttempt(), deployment, token=token, params={})
    runtime = runtime_named(deployment.spec["runtime"])
    try:
        runtime.create(run_spec(deployment))
        runtime.start(deployment.run_name)
    except LaunchError as error:
        logger.warning("Deployment %s was not launched: %s", deployment.pk, error)
        close = CloseAttempt(cause=error.code, permanent=error.code in PERMANENT)
        return _close(close, deployment, token=token, params={"detail": str(error), **error.params})
    return 0.0


@act.register
def _(step: Signal, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    runtime_named(deployment.spec["runtime"]).stop(deployment.run_name, force=step.force)
    now = timezone.now()
    changes: dict[str, Any] = {"killed_at" if step.force else "signalled_at": now}
    if step.abort_reason:
        changes |= {"abort_reason": step.abort_reason, "reason_params": {"detail": situation.probe_detail}}
    note(deployment, token=token, **changes)
    return 0.05


@act.register
def _(step: Clear, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    if step.failure is None:
        _end_attempt(deployment, CloseAttempt(phase=Phase.STOPPED), {})
        note(deployment, token=token, run_cleared_at=timezone.now())
        return 0.0
    told = dict(deployment.reason_params) if situation.abort_reason else {}
    cause, params = _end_attempt(deployment, step.failure, told)
    move(
        deployment,
        Phase.STOPPING,
        token=token,
        reason=cause,
        reason_params=params,
        abort_reason=cause,
        run_cleared_at=timezone.now(),
    )
    return 0.0


@act.register
def _(step: CloseAttempt, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    params: dict[str, Any] = {}
    if situation.phase is Phase.PREPARING and (row := fetch_of(deployment)) is not None:
        params["detail"] = row.error
    if situation.refusal or situation.abort_reason:
        params = dict(deployment.reason_params)
    if step.quarantine and deployment.node is not None:
        quarantine(deployment.gpu_uuids, deployment.node, memory_held(deployment).params(deployment))
    return _close(step, deployment, token=token, params=params)


@act.register
def _(step: Rest, deployment: Deployment, situation: Situation, *, token: str) -> float | None:
    return None


def _close(step: CloseAttempt, deployment: Deployment, *, token: str, params: dict[str, Any]) -> float | None:
    cause, params = _end_attempt(deployment, step, params)
    cleared: dict[str, Any] = {
        "endpoint": "",
        "signalled_at": None,
        "killed_at": None,
        "abort_reason": "",
        "failed_probes": 0,
        "ready_at": None,
        "run_cleared_at": None,
        "stop_now": False,
    }
    told = {"holders": step.detail} if step.detail else {}
    if step.phase is Phase.QUEUED:
        again: dict[str, Any] = {
            "attempt": deployment.attempt + 1,
            "applied_generation": deployment.generation,
            "failures": 0,
        }
        move(deployment, Phase.QUEUED, token=token, reason=step.reason, reason_params=told, **cleared, **again)
        return 0.0
    if step.phase is not None:
        move(deployment, step.phase, token=token, reason=step.reason, reason_params=told, **cleared)
        return None
    if step.quarantine:  # its GPUs are not to be used again before somebody has looked
        cause, params = "memory_not_returned", {"holders": step.detail}
    after = after_failure(
        failures=deployment.failures,
        forgive=step.forgive,
        permanent=step.permanent or step.quarantine or cause in PERMANENT,
        max_attempts=deployment.spec["max_attempts"],
    )
    move(
        deployment,
        after.phase,
        token=token,
        reason=cause,
        reason_params=params,
        failures=after.failures,
        **cleared,
    )
    return float(backoff_s(after.failures)) if after.phase is Phase.BACKOFF else None


def _end_attempt(deployment: Deployment, step: CloseAttempt, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Keep log and exit of the attempt and remove the run. A repeat keeps what the first time wrote."""
    attempt = attempt_of(deployment)
    if attempt is None:
        return step.cause, params
    runtime = runtime_named(deployment.spec["runtime"])
    if attempt.ended_at is None:
        run = runtime.observe(deployment.run_name)
        kept = logs.keep(deployment)
        cause = step.cause
        if not cause and step.phase is None:
            engine = engine_named(deployment.spec["engine"])
            tail = [line.text for line in kept.lines[-TAIL_LINES:]]
            ran_for_s = (timezone.now() - attempt.started_at).total_seconds()
            cause, found = classify(run.exit_code, run.out_of_memory, tail, engine, ran_for_s=ran_for_s)
            params = {**params, **found}
        # Only the first to come may write: a slow second one would find the run, and with it the log, gone.
        Attempt.objects.filter(pk=attempt.pk, ended_at=None).update(
            ended_at=timezone.now(),
            exit_code=run.exit_code if run.state is RunState.EXITED else None,
            out_of_memory=run.out_of_memory,
            peak_memory_bytes=observed_peak(deployment),
            cause=cause,
            cause_params=params,
            log=kept.text,
        )
        attempt.refresh_from_db()
    runtime.remove(deployment.run_name)
    return attempt.cause, attempt.cause_params


def _progress(deployment: Deployment, situation: Situation) -> dict[str, Any]:
    if situation.phase is Phase.PREPARING:
        row = fetch_of(deployment)
        return row.progress if row is not None else {}
    if situation.warming is not None and situation.warming.state in {"absent", "running"}:
        row = warming_of(deployment)
        return row.progress if row is not None else {}
    if situation.phase is Phase.LOADING:
        engine = engine_named(deployment.spec["engine"])
        told: Progress | None = engine.load_progress(logs.tail(deployment, lines=TAIL_LINES))
        if told is None or told.fraction is None:
            told = memory_progress(deployment) or told
        return told.to_json() if told is not None else {}
    return {}
