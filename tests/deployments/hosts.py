"""A host for the lifecycle's tests: a scripted runtime and engine, and time that passes only when told to."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.models import F
from django.db.models.functions import Now

from deployments import fetching
from deployments.actors import Actor
from deployments.engines.argument_style import ArgumentStyle
from deployments.engines.base import Cancelled, CausePattern, ProbeResult, Report
from deployments.engines.metrics import EngineMetrics
from deployments.lifecycle import acting, launching, survey
from deployments.lifecycle import reconcile as loop
from deployments.lifecycle.phases import Phase
from deployments.models import Attempt, Config, Deployment, Fetch, Node
from deployments.progress import Progress
from deployments.runtimes import use_runtime
from deployments.services.lifecycle import restart_deployment, stop_deployment
from deployments.spec import ServingSpec
from tests.deployments.editing import make_config, make_run
from tests.fakes.runtime import FakeRuntime

BUNDLE = "smollm2-135m"
NODE = "gpu-01"
OPS = Actor(name="ops1", via="cli")
#: The phases from Start to ready.
WAY_UP = ["preparing", "starting", "loading", "ready"]
#: Columns of a deployment that time is measured from.
MOMENTS = (
    "phase_since",
    "ready_at",
    "signalled_at",
    "killed_at",
    "run_cleared_at",
    "next_check_at",
    "claim_expires_at",
)


@dataclass
class FakeEngine:
    """An engine whose server answers what the test says; ``probes`` lists whether each was thorough."""

    name: str = "fake"
    title: str = "Fake"
    default_image: str = ""
    default_port: int = 8000
    default_readiness_path: str = "/health"
    protocols: Sequence[str] = ("openai-text",)
    grace_s: int = 20
    causes: Sequence[CausePattern] = ()
    key_variable: str = ""
    arguments: ArgumentStyle = field(default_factory=ArgumentStyle)
    prepares: bool = False
    healthy: bool = True
    serves: bool = True
    probes: list[bool] = field(default_factory=list)
    at_probe: Callable[[], None] = lambda: None

    def process_command(self, spec: ServingSpec) -> tuple[str, ...]:
        return ("fake-server",)

    def probe(self, endpoint: str, spec: ServingSpec, *, thorough: bool, key: str = "") -> ProbeResult:
        self.probes.append(thorough)
        self.at_probe()
        return ProbeResult(answering=self.healthy and (self.serves or not thorough))

    def load_progress(self, lines: Sequence[str]) -> Progress | None:
        shards = [line for line in lines if line.startswith("shard")]
        return Progress(step="shards", done=len(shards), total=4, unit="shards") if shards else None

    def prepare(self, endpoint: str, spec: ServingSpec, *, report: Report, cancelled: Cancelled, key: str = "") -> None:
        return

    def read_metrics(self, endpoint: str, *, key: str = "") -> EngineMetrics | None:
        return None


class FakeTime:
    """The loop's clock. A nap takes no time of the test's, but that much of everything that was written."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []
        self.at_nap: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        pass_time(seconds)
        self.at_nap()


@dataclass
class Host:
    """One node with everything on it scripted. ``hints`` lists the fetches that were asked for."""

    runtime: FakeRuntime
    engine: FakeEngine
    clock: FakeTime
    node: Node
    hints: list[int] = field(default_factory=list)

    def note_fetch(self, fetch_id: int, *, node: str) -> None:
        """Stands in for the message to the node's worker."""
        self.hints.append(fetch_id)

    def start(self, config: Config | None = None, **changes: Any) -> Deployment:
        """A queued deployment of a small config, with some of its values changed."""
        config = config or small_config(**changes)
        spec = config.serving_spec()
        assert spec.runtime == "process"
        return make_run(config, Phase.QUEUED, next_check_at=Now())

    def go_on(self, deployment: Deployment) -> Deployment:
        """Reconcile until nothing more is due at once; returns the row as it is then."""
        for _ in range(50):
            if not loop.reconcile(deployment.pk):
                deployment.refresh_from_db()
                return deployment
        raise AssertionError(f"it does not settle: {Deployment.objects.get(pk=deployment.pk)}")

    def ready(self, **changes: Any) -> Deployment:
        """A deployment that has come as far as ready."""
        deployment = self.go_on(self.start(**changes))
        assert deployment.phase == Phase.READY
        return deployment


@contextlib.contextmanager
def scripted_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Put the fakes in their seats. Fetches are noted, not done: call ``fetching.run_fetch`` for that."""
    host = Host(
        runtime=FakeRuntime("process", images=(BUNDLE,)),
        engine=FakeEngine(),
        clock=FakeTime(),
        node=Node.objects.create(name=NODE, runtimes=["process"], heartbeat_at=Now()),
    )
    for module in (survey, acting, launching):
        monkeypatch.setattr(module, "engine_named", lambda _name: host.engine)
    monkeypatch.setattr(settings, "BERTH_NODE_NAME", NODE)
    monkeypatch.setattr(loop, "time", host.clock)
    monkeypatch.setattr(fetching, "hint_fetch", host.note_fetch)
    monkeypatch.setattr(fetching, "hint_reconcile", lambda pk, *, node: None)
    use_runtime("process", host.runtime)
    try:
        yield host
    finally:
        use_runtime("process", None)


def small_config(name: str = "smollm2-135m", **changes: Any) -> Config:
    """A config of the process runtime; made only once."""
    found = Config.objects.filter(name=name).first()
    process = {"runtime": "process", "engine": "custom", "image": BUNDLE, "volumes": [], "environment": {}}
    base: dict[str, Any] = {**process, "arguments": ["server", "--port", "{port}"], "gpus": 0, "memory_gib": 0}
    return found or make_config(name, **{**base, "load_timeout_s": 60, "grace_s": 5, **changes})


def entered(deployment: Deployment) -> list[str]:
    """The phases that were entered, in order; what people asked for is left out."""
    return [event.phase for event in deployment.events.all() if not event.actor]


def attempt(deployment: Deployment, number: int = 1) -> Attempt:
    """What was kept of one attempt."""
    return deployment.attempts.get(number=number)


def stop(deployment: Deployment) -> None:
    """Stop, as an operator does."""
    stop_deployment(deployment.pk, actor=OPS)


def restart(deployment: Deployment) -> None:
    """Restart, as an operator does."""
    restart_deployment(deployment.pk, actor=OPS)


def pass_time(seconds: float) -> None:
    """Move everything that was written into the past, by the database's clock and by Python's alike."""
    by = timedelta(seconds=seconds)
    Deployment.objects.update(**{name: F(name) - by for name in MOMENTS})
    Attempt.objects.update(started_at=F("started_at") - by)
    Fetch.objects.update(updated_at=F("updated_at") - by, claim_expires_at=F("claim_expires_at") - by)


def until(condition: Callable[[], bool], what: str, *, within_s: float = 10) -> None:
    """Wait for ``condition``; fails after ``within_s`` seconds."""
    ends_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_at, f"waited {within_s} s for {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def database_of_threads(folder: Path) -> Iterator[None]:
    """Let every thread open the same database. Needs a test with ``transaction=True``.

    The tests' SQLite lives in memory, where a second connection meets locks that no waiting ends; meanwhile a
    file is used, as in production.
    """
    if connection.vendor != "sqlite":
        yield
        return
    named = connection.settings_dict["NAME"]
    path = str(folder / "threads.sqlite3")
    connection.ensure_connection()
    with contextlib.closing(sqlite3.connect(path)) as copy:
        connection.connection.backup(copy)
        # As a database in use is. Were the threads the first to ask for it, one of 16 times one would be refused at
        # once: SQLite does not wait for the lock that the change of mode needs.
        copy.execute("PRAGMA journal_mode=WAL")
    in_memory, connection.connection = connection.connection, None
    connection.settings_dict["NAME"] = connections.settings["default"]["NAME"] = path
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = connections.settings["default"]["NAME"] = named
        connection.connection = in_memory


def closing_connections(work: Callable[[], Any]) -> Callable[[], Any]:
    """``work`` for a thread of the test's own: its database connections are closed at its end."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return run
