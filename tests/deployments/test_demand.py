"""What requests wait for is started once, by the ordinary service, and only where the config allows it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from deployments.exceptions import ConflictError, NotAllowedError, NotFoundError
from deployments.lifecycle.phases import Desired, Phase
from deployments.live import publish_routes
from deployments.models import AuditEntry, Config, Deployment
from deployments.redis_keys import DEMAND, ROUTES, start_state
from deployments.selectors import startable_configs
from deployments.services.catalogue import archive_config
from deployments.services.demand import answer_demand, start_on_demand
from deployments.services.lifecycle import start_deployment
from deployments.start_states import StartState
from deployments.start_telling import publish_start_state, publish_start_states
from deployments.tasks import start_demanded
from tests.deployments.editing import make_config, make_run
from tests.deployments.hosts import OPS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def config() -> Config:
    return make_config("tiny", start_on_request=True)


def demand(server: redis.Redis, name: str, *, ago_s: int = 0) -> None:
    seconds, _micro = server.time()
    server.xadd(DEMAND, {"config": name}, id=f"{(seconds - ago_s) * 1000}-*")


def state(server: redis.Redis, name: str = "tiny") -> StartState | None:
    held = server.get(start_state(name))
    return StartState.from_json(held.decode()) if isinstance(held, bytes) else None


def test_many_demands_are_one_start_with_an_audit_row_and_a_reason(
    redis_server: redis.Redis, config: Config, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    for _each in range(3):
        demand(redis_server, "tiny")
    demand(redis_server, "nobody")
    with django_capture_on_commit_callbacks(execute=True):
        start_demanded()
    demand(redis_server, "tiny")
    answer_demand()
    deployment = Deployment.objects.get()
    assert (deployment.config, deployment.started_by, deployment.phase) == (config, "on demand", Phase.QUEUED)
    row = AuditEntry.objects.get(action="deployment.start")
    assert (row.actor, row.via, row.target) == ("on demand", "system", "tiny")
    assert deployment.events.get().reason == "request_asked"
    assert redis_server.xlen(DEMAND) == 0
    assert state(redis_server) == StartState(deployment_id=deployment.pk, phase="queued")


def test_a_demand_that_nobody_waits_for_any_more_starts_nothing(redis_server: redis.Redis, config: Config) -> None:
    demand(redis_server, config.name, ago_s=20)
    answer_demand()
    assert not Deployment.objects.exists()
    assert redis_server.xlen(DEMAND) == 0


def test_only_what_may_start_on_request_is_started(config: Config) -> None:
    make_config("by-hand")
    with pytest.raises(NotAllowedError, match="does not start on request"):
        start_on_demand("by-hand")
    with pytest.raises(NotFoundError):
        start_on_demand("nobody")
    archive_config(config.name, actor=OPS)
    with pytest.raises(NotFoundError):
        start_on_demand(config.name)
    assert not Deployment.objects.exists()


def test_what_is_on_its_way_is_that_start(config: Config) -> None:
    loading = make_run(config, Phase.LOADING, replica=1)
    result = start_on_demand(config.name)
    assert (result.deployment, result.created) == (loading, False)


def test_a_run_that_stops_has_to_end_first(config: Config) -> None:
    stopping = make_run(config, Phase.STOPPING, desired=Desired.STOPPED)
    with pytest.raises(ConflictError, match="still stopping"):
        start_on_demand(config.name)
    Deployment.objects.filter(pk=stopping.pk).update(phase=Phase.STOPPED)
    assert start_on_demand(config.name).created


def test_what_has_just_failed_is_not_tried_again_by_requests(config: Config) -> None:
    failed = make_run(config, Phase.FAILED, ended_at=Now() - timedelta(seconds=30))
    with pytest.raises(ConflictError, match="just failed"):
        start_on_demand(config.name)
    Deployment.objects.filter(pk=failed.pk).update(ended_at=Now() - timedelta(seconds=61))
    assert start_on_demand(config.name).created


def test_what_somebody_stopped_is_not_started_by_requests_for_a_while(
    redis_server: redis.Redis, config: Config
) -> None:
    ended = Now() - timedelta(seconds=590)
    stopped = make_run(config, Phase.STOPPED, desired=Desired.STOPPED, stopped_by="ops1", ended_at=ended)
    publish_start_state(stopped)
    assert 590 < int(redis_server.ttl(start_state("tiny"))) <= 600
    with pytest.raises(ConflictError, match="stopped by ops1 a moment ago"):
        start_on_demand(config.name)
    runs = Deployment.objects.filter(pk=stopped.pk)
    runs.update(stopped_by="idle")
    stopped.refresh_from_db()
    publish_start_state(stopped)
    assert int(redis_server.ttl(start_state("tiny"))) <= 60
    runs.update(stopped_by="ops1", ended_at=Now() - timedelta(seconds=601))
    assert start_on_demand(config.name).created


def test_a_person_starts_at_once_what_was_stopped_and_requests_wait_for_that(
    redis_server: redis.Redis, config: Config
) -> None:
    stopped = make_run(config, Phase.STOPPED, desired=Desired.STOPPED, stopped_by="ops1", ended_at=Now())
    started = start_deployment(config.name, actor=OPS).deployment
    publish_start_state(started)
    # A step of the old one that comes late.
    publish_start_state(stopped)
    assert state(redis_server) == StartState(deployment_id=started.pk, phase="queued")
    assert start_on_demand(config.name).deployment == started


def test_states_tell_reason_and_progress_and_live_for_a_minute(redis_server: redis.Redis, config: Config) -> None:
    run = make_run(
        config,
        Phase.PREPARING,
        reason="fetching",
        reason_params={"a": "b"},
        progress={"done": 3.0, "total": 4.0},
        stopped_by="ops1",
    )
    ready = make_run(make_config("other"), Phase.READY)
    publish_start_states()
    assert state(redis_server) == StartState(
        deployment_id=run.pk,
        phase="preparing",
        reason="fetching",
        reason_params={"a": "b"},
        fraction=0.75,
        stopped_by="ops1",
    )
    assert 50 < int(redis_server.ttl(start_state("tiny"))) <= 60
    assert state(redis_server, ready.config.name) is None
    # Nobody waits for what replaces a run that serves.
    replacement = make_run(config, Phase.FAILED, replica=1, supersedes=run)
    publish_start_state(replacement)
    told = state(redis_server)
    assert told is not None
    assert told.phase == "preparing"


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"deployment_id":1}', '{"deployment_id":1,"phase":"dancing"}'])
def test_a_state_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        StartState.from_json(text)


def test_the_routing_table_has_what_could_be_started(
    redis_server: redis.Redis, config: Config, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_run(make_config("serves"), Phase.READY, endpoint="http://127.0.0.1:1")
    make_run(make_config("loads", load_timeout_s=99), Phase.LOADING)
    assert publish_routes()
    held = redis_server.get(ROUTES)
    assert isinstance(held, bytes)
    table = json.loads(held)
    assert [route["config"] for route in table["routes"]] == ["serves"]
    assert [(each["config"], each["may_start"]) for each in table["startable"]] == [("loads", False), ("tiny", True)]
    assert table["startable"][0]["load_timeout_s"] == 99
    assert not publish_routes()
    Config.objects.filter(pk=config.pk).update(start_on_request=False)
    assert publish_routes()
    with django_assert_num_queries(1):
        startable_configs()
