"""Gathers what a decision needs: the row, the runtime, the fetch, the server's own answer. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone

from deployments.engines import engine_named
from deployments.engines.base import ProbeResult
from deployments.models import Attempt, Deployment, Fetch, Node
from deployments.runtimes import runtime_named
from deployments.runtimes.base import RunObservation, RunState

from .decide import FetchView, Limits, Situation
from .phases import MAY_HOLD_A_RUN, Desired, Phase

#: A node whose agent has been silent this long takes nothing new.
FRESH = timedelta(seconds=15)


def survey(deployment: Deployment, *, before_request: Callable[[], None]) -> Situation:
    """The situation of ``deployment`` now. May take 5 s, and 30 s more for a real request to the server.

    Calls ``before_request`` before such a request, for the claim to outlast it.
    """
    spec = deployment.serving_spec()
    phase = Phase(deployment.phase)
    run = _observe(deployment, phase)
    probe = _probe(deployment, phase, run, before_request)
    return Situation(
        desired=Desired(deployment.desired),
        restart_wanted=deployment.generation != deployment.applied_generation,
        phase=phase,
        phase_since=deployment.phase_since,
        now=timezone.now(),
        limits=Limits(load_timeout_s=spec.load_timeout_s, grace_s=spec.grace_s, max_attempts=spec.max_attempts),
        run=run,
        failures=deployment.failures,
        failed_probes=deployment.failed_probes,
        fetch=_fetch(deployment) if phase is Phase.PREPARING else FetchView(),
        answering=None if probe is None else probe.answering,
        probe_detail="" if probe is None else probe.detail,
        ready_since=deployment.ready_at,
        signalled_at=deployment.signalled_at,
        killed_at=deployment.killed_at,
        abort_reason=deployment.abort_reason,
        refusal=deployment.reason if phase is Phase.STARTING else "",
        unplaceable=_unplaceable(spec.runtime) if phase is Phase.QUEUED else "",
    )


def candidates(runtime: str) -> list[Node]:
    """Nodes with a fresh heartbeat that offer ``runtime``, by name."""
    fresh = Node.objects.filter(heartbeat_at__gt=Now() - FRESH).order_by("name")
    return [node for node in fresh if runtime in node.runtimes]


def _unplaceable(runtime: str) -> str:
    if candidates(runtime):
        return ""
    silent = not Node.objects.filter(heartbeat_at__gt=Now() - FRESH).exists()
    return "no_node_answers" if silent else "no_node_offers_runtime"


def _observe(deployment: Deployment, phase: Phase) -> RunObservation:
    if phase not in MAY_HOLD_A_RUN or deployment.node_id is None:
        return RunObservation(state=RunState.GONE)
    return runtime_named(deployment.spec["runtime"]).observe(deployment.run_name)


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
) -> ProbeResult | None:
    """Ask the server where it matters; the first ``ready`` takes a real request, later looks a cheap one."""
    if run.state is not RunState.RUNNING or phase not in {Phase.LOADING, Phase.READY, Phase.UNHEALTHY}:
        return None
    spec = deployment.serving_spec()
    engine = engine_named(spec.engine)
    endpoint = run.endpoint or deployment.endpoint
    cheap = engine.probe(endpoint, spec, thorough=False)
    if phase is Phase.READY or not cheap.answering:
        return cheap
    before_request()
    return engine.probe(endpoint, spec, thorough=True)


def attempt_of(deployment: Deployment) -> Attempt | None:
    """The row of the current attempt, once it was launched."""
    return Attempt.objects.filter(deployment=deployment, number=deployment.attempt).first()
