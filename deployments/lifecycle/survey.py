"""Gathers what a decision needs: the row, the runtime, the fetch, the server's own answer. Reads only."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models.functions import Now
from django.utils import timezone

from deployments.deployment_keys import deployment_key
from deployments.engines import engine_named
from deployments.engines.base import ProbeResult
from deployments.gateway_states import is_reached, requests_in_flight
from deployments.gpu_memory import Holder, memory_held
from deployments.models import Attempt, Deployment, Fetch
from deployments.placement.placing import place
from deployments.placement.views import Refusal
from deployments.runtimes import runtime_named
from deployments.runtimes.base import RunObservation, RunState

from .decide import Draining, FetchView, Limits, MemoryView, Situation
from .phases import LIVE, MAY_HOLD_A_RUN, Desired, Phase
from .warming import is_at_work, warming_of


def survey(deployment: Deployment, *, before_request: Callable[[], None]) -> Situation:
    """The situation of ``deployment`` now. May take 5 s, and 30 s more for a real request to the server.

    Calls ``before_request`` before such a request, for the claim to outlast it.
    """
    spec = deployment.serving_spec()
    phase = Phase(deployment.phase)
    run = _observe(deployment, phase)
    probe, warming = _probe(deployment, phase, run, before_request)
    refusal = _refusal(deployment) if phase is Phase.QUEUED else None
    may_be_ready = phase is Phase.LOADING and probe is not None and probe.answering
    return Situation(
        desired=Desired(deployment.desired),
        restart_wanted=deployment.generation != deployment.applied_generation,
        phase=phase,
        phase_since=deployment.phase_since,
        now=timezone.now(),
        limits=Limits(
            load_timeout_s=spec.load_timeout_s,
            grace_s=spec.grace_s,
            max_attempts=spec.max_attempts,
            restart_unhealthy=spec.restart_unhealthy,
        ),
        run=run,
        failures=deployment.failures,
        failed_probes=deployment.failed_probes,
        fetch=_fetch(deployment) if phase is Phase.PREPARING else FetchView(),
        warming=warming,
        answering=None if probe is None else probe.answering,
        reached=is_reached(deployment.pk, run.endpoint) if may_be_ready else True,
        probe_detail="" if probe is None else probe.detail,
        ready_since=deployment.ready_at,
        signalled_at=deployment.signalled_at,
        killed_at=deployment.killed_at,
        abort_reason=deployment.abort_reason,
        refusal=deployment.reason if phase is Phase.STARTING else "",
        unplaceable=refusal.code if refusal else "",
        unplaceable_detail=refusal.detail if refusal else "",
        stop_now=deployment.stop_now,
        draining=_draining(deployment) if phase is Phase.STOPPING and run.state is RunState.RUNNING else Draining(),
        run_cleared_at=deployment.run_cleared_at,
        memory=_memory(deployment, phase, run),
    )


def _observe(deployment: Deployment, phase: Phase) -> RunObservation:
    if phase not in MAY_HOLD_A_RUN or deployment.node_id is None:
        return RunObservation(state=RunState.GONE)
    return runtime_named(deployment.spec["runtime"]).observe(deployment.run_name)


def _refusal(deployment: Deployment) -> Refusal | None:
    """Why nothing takes it now; None when something does. In place, the old run has to end first."""
    if deployment.in_place and Deployment.objects.filter(replacements=deployment, phase__in=LIVE).exists():
        return Refusal(code="waits_for_old", detail=f"#{deployment.supersedes_id}")
    answer = place(deployment)
    return answer if isinstance(answer, Refusal) else None


def _draining(deployment: Deployment) -> Draining:
    """What the gateways still have under way; nothing to wait for once it was signalled or asked for at once."""
    if deployment.signalled_at is not None or deployment.stop_now or deployment.ready_at is None:
        return Draining()
    return Draining(in_flight=requests_in_flight(deployment.pk))


def _memory(deployment: Deployment, phase: Phase, run: RunObservation) -> MemoryView | None:
    """Whether the memory of its GPUs is back; None while it runs, and for a run that had none."""
    ended = run.state in {RunState.EXITED, RunState.GONE}
    if not ended or phase not in MAY_HOLD_A_RUN or not deployment.gpu_uuids:
        return None
    held = memory_held(deployment)
    return MemoryView(state=str(held.state), holders=", ".join(map(_holder, held.holders)))


def _holder(holder: Holder) -> str:
    """In names and numbers that need no translation."""
    memory = "" if holder.memory_bytes is None else f" {holder.memory_bytes / 1024**3:.1f} GiB"
    return f"GPU {holder.gpu_index} ← pid {holder.pid} {holder.command} ({holder.user}){memory}"


def _fetch(deployment: Deployment) -> FetchView:
    spec = deployment.serving_spec()
    if runtime_named(spec.runtime).has_image(spec.image):
        return FetchView(state="done")
    row = fetch_of(deployment)
    if row is None or row.state == Fetch.State.DONE:
        return FetchView()
    if row.state == Fetch.State.FAILED:
        return FetchView(state="failed", error_code=row.error_code, permanent=row.permanent)
    alive = Fetch.objects.filter(pk=row.pk, claim_expires_at__gt=Now()).exists()
    return FetchView(state="running" if alive else "absent")


def fetch_of(deployment: Deployment) -> Fetch | None:
    """The row of the fetch that this deployment waits for, if there is one."""
    return Fetch.objects.filter(
        node=deployment.node_id, runtime=deployment.spec["runtime"], image=deployment.spec["image"]
    ).first()


def _probe(
    deployment: Deployment, phase: Phase, run: RunObservation, before_request: Callable[[], None]
) -> tuple[ProbeResult | None, FetchView | None]:
    """Ask the server where it matters; the first ``ready`` takes a real request, later looks a cheap one.

    A server that is up without its model is not asked for more before that is there: see ``Situation.warming``.
    One that is to stop is not asked at all: its answer changes nothing, and Stop would wait for a busy one.
    """
    if run.state is not RunState.RUNNING or run.paused or phase not in {Phase.LOADING, Phase.READY, Phase.UNHEALTHY}:
        return None, None
    if deployment.desired == Desired.STOPPED or deployment.generation != deployment.applied_generation:
        return None, None
    spec = deployment.serving_spec()
    engine = engine_named(spec.engine)
    endpoint = run.endpoint or deployment.endpoint
    key = deployment_key(deployment.pk) if engine.key_variable else ""
    cheap = engine.probe(endpoint, spec, thorough=False, key=key)
    if phase is Phase.READY or not cheap.answering:
        return cheap, None
    warming, error = _warming(deployment) if phase is Phase.LOADING and engine.prepares else (None, "")
    if warming is not None and warming.state != "done":
        return ProbeResult(answering=False, detail=error), warming
    before_request()
    return engine.probe(endpoint, spec, thorough=True, key=key), warming


def _warming(deployment: Deployment) -> tuple[FetchView, str]:
    """How far the model is on its way into the server, and why it failed."""
    row = warming_of(deployment)
    if row is None:
        return FetchView(), ""
    if row.state == Fetch.State.DONE:
        return FetchView(state="done"), ""
    if row.state == Fetch.State.FAILED:
        return FetchView(state="failed", error_code=row.error_code, permanent=row.permanent), row.error
    return FetchView(state="running" if is_at_work(row) else "absent"), ""


def attempt_of(deployment: Deployment) -> Attempt | None:
    """The row of the current attempt, once it was launched."""
    return Attempt.objects.filter(deployment=deployment, number=deployment.attempt).first()
