"""A server that is up without its model: the pull beside the loop, its progress, its end, and Stop in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from deployments import fetching
from deployments.engines.base import Cancelled, Report
from deployments.exceptions import FetchCancelledError, FetchError
from deployments.lifecycle import warming
from deployments.lifecycle.phases import Phase
from deployments.models import Deployment, Fetch
from deployments.progress import Progress
from deployments.spec import ServingSpec
from deployments.tasks import warm_server
from tests.deployments.hosts import FakeEngine, Host, pass_time, scripted_host, stop

pytestmark = pytest.mark.django_db


class PreparingEngine(FakeEngine):
    """An engine whose server comes up without its model; ``work`` is what bringing it does."""

    prepares = True
    work: Callable[[Report, Cancelled], None] = staticmethod(lambda report, cancelled: None)

    def prepare(self, endpoint: str, spec: ServingSpec, *, report: Report, cancelled: Cancelled, key: str = "") -> None:
        self.work(report, cancelled)


@pytest.fixture
def engine() -> PreparingEngine:
    made = PreparingEngine()
    made.prepares = True
    return made


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, engine: PreparingEngine) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        made.engine = engine
        monkeypatch.setattr(warming, "engine_named", lambda _name: made.engine)
        monkeypatch.setattr(warming, "hint_warm", made.note_fetch)
        monkeypatch.setattr(fetching, "REPORT_EVERY_S", 0.0)
        yield made


def asked(host: Host) -> tuple[Deployment, Fetch]:
    """A run whose server answers and whose model was asked for."""
    deployment = host.go_on(host.start())
    return deployment, Fetch.objects.get(runtime=warming.WARM, image=deployment.run_name)


def test_a_server_without_its_model_is_not_asked_for_a_token(host: Host) -> None:
    deployment, row = asked(host)
    assert (deployment.phase, row.state) == (Phase.LOADING, Fetch.State.PENDING)
    assert True not in host.engine.probes
    assert row.pk in host.hints


def test_a_server_that_does_not_answer_yet_gets_no_model(host: Host) -> None:
    host.engine.healthy = False
    deployment = host.go_on(host.start())
    assert deployment.phase == Phase.LOADING
    assert not Fetch.objects.filter(runtime=warming.WARM).exists()


def test_it_is_ready_once_the_model_is_there(host: Host) -> None:
    deployment, row = asked(host)
    warm_server(row.pk)
    row.refresh_from_db()
    assert row.state == Fetch.State.DONE
    assert host.go_on(deployment).phase == Phase.READY


def test_its_progress_is_the_deployments_and_hours_of_it_are_no_timeout(host: Host, engine: PreparingEngine) -> None:
    deployment, row = asked(host)

    def work(report: Report, cancelled: Cancelled) -> None:
        pass_time(3600)
        report(Progress(step="pulling", done=1, total=4))
        assert not cancelled()
        seen = host.go_on(deployment)
        assert (seen.phase, seen.progress["done"], seen.abort_reason) == (Phase.LOADING, 1, "")

    engine.work = work
    warm_server(row.pk)
    assert host.go_on(deployment).phase == Phase.READY


def test_a_failure_ends_the_attempt_with_its_cause_and_the_next_begins_anew(
    host: Host, engine: PreparingEngine
) -> None:
    deployment, row = asked(host)

    def work(report: Report, cancelled: Cancelled) -> None:
        raise FetchError("registry.ollama.ai: no such host", code="pull_failed")

    engine.work = work
    warm_server(row.pk)
    deployment = host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "pull_failed")
    assert deployment.reason_params["detail"] == "registry.ollama.ai: no such host"
    pass_time(60)
    deployment = host.go_on(deployment)
    assert (deployment.phase, deployment.attempt) == (Phase.LOADING, 2)
    names = Fetch.objects.filter(runtime=warming.WARM).values_list("image", flat=True)
    assert list(names) == [deployment.run_name], "the first run's row is gone"


def test_a_model_that_nobody_has_is_given_up_at_once(host: Host, engine: PreparingEngine) -> None:
    deployment, row = asked(host)

    def work(report: Report, cancelled: Cancelled) -> None:
        raise FetchError("file does not exist", code="model_not_in_library", permanent=True)

    engine.work = work
    warm_server(row.pk)
    deployment = host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.FAILED, "model_not_in_library")


@pytest.mark.parametrize("error", [FetchCancelledError("x"), FetchError("the server went away", code="pull_failed")])
def test_stop_in_the_middle_is_done_at_once_and_is_no_failure(
    host: Host, engine: PreparingEngine, error: Exception
) -> None:
    deployment, row = asked(host)

    def work(report: Report, cancelled: Cancelled) -> None:
        stop(deployment)
        assert host.go_on(deployment).phase == Phase.STOPPED
        assert cancelled()
        raise error

    engine.work = work
    warm_server(row.pk)
    row.refresh_from_db()
    deployment.refresh_from_db()
    assert (row.state, row.error, row.claim_token) == (Fetch.State.PENDING, "", "")
    assert (deployment.phase, deployment.reason) == (Phase.STOPPED, "stopped")


def test_a_killed_workers_pull_is_asked_for_again_and_goes_on(host: Host) -> None:
    deployment, row = asked(host)
    dead = {"state": Fetch.State.RUNNING, "claim_token": "dead"}
    Fetch.objects.update(**dead, claim_expires_at=Now() + timedelta(seconds=20))
    host.hints.clear()
    host.go_on(deployment)
    assert host.hints == [], "somebody is at work"
    Fetch.objects.update(claim_expires_at=Now() - timedelta(seconds=1))
    host.go_on(deployment)
    assert set(host.hints) == {row.pk}
    warm_server(row.pk)
    assert host.go_on(deployment).phase == Phase.READY


def test_a_message_that_comes_after_the_end_does_nothing(host: Host, engine: PreparingEngine) -> None:
    deployment, row = asked(host)
    stop(deployment)
    host.go_on(deployment)
    calls: list[int] = []
    engine.work = lambda report, cancelled: calls.append(1)
    warm_server(row.pk)
    row.refresh_from_db()
    assert (calls, row.state) == ([], Fetch.State.PENDING)


def test_a_pull_without_end_is_given_up_after_hours(host: Host) -> None:
    deployment, _row = asked(host)
    pass_time(13 * 3600)
    deployment = host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "fetch_timeout")
