"""The one writer of phases: table, claim, event, and what is told once committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from pytest_django import DjangoCaptureOnCommitCallbacks

from deployments.lifecycle.claims import take_claim
from deployments.lifecycle.phases import TRANSITIONS, Phase
from deployments.lifecycle.record import LostClaimError, move, note
from deployments.live import LIVE_CHANNEL
from deployments.models import Deployment
from deployments.redis_keys import ROUTES
from tests.deployments.editing import make_config, make_run

pytestmark = pytest.mark.django_db


class Ear:
    """Hears what pages would."""

    def __init__(self, server: redis.Redis) -> None:
        self.server = server
        self.pubsub: Any = server.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self.pubsub.subscribe(LIVE_CHANNEL)
        self.pubsub.get_message(timeout=5)

    def heard(self) -> list[Any]:
        found = []
        while (message := self.pubsub.get_message(timeout=0.05)) is not None:
            found.append(json.loads(message["data"]))
        return found

    def routed(self) -> list[str] | None:
        held = self.server.get(ROUTES)
        return [route["config"] for route in json.loads(held)["routes"]] if isinstance(held, bytes) else None


@pytest.fixture
def ear(redis_server: redis.Redis) -> Iterator[Ear]:
    made = Ear(redis_server)
    yield made
    made.pubsub.close()


def held(phase: Phase) -> tuple[Deployment, str]:
    deployment = make_run(make_config(), phase)
    token = take_claim(deployment.pk)
    assert token is not None
    deployment.refresh_from_db()
    return deployment, token


def test_a_move_writes_phase_reason_and_event() -> None:
    deployment, token = held(Phase.LOADING)
    since = deployment.phase_since
    move(deployment, Phase.BACKOFF, token=token, reason="exited", reason_params={"exit_code": "3"}, failures=1)
    for row in (deployment, Deployment.objects.get()):
        assert (row.phase, row.reason, row.reason_params) == (Phase.BACKOFF, "exited", {"exit_code": "3"})
        assert row.failures == 1
        assert row.phase_since > since
        assert row.ended_at is None
    event = deployment.events.get()
    assert (event.phase, event.reason, event.reason_params) == (Phase.BACKOFF, "exited", {"exit_code": "3"})
    assert event.at == deployment.phase_since


@pytest.mark.parametrize("end", [Phase.STOPPED, Phase.FAILED])
def test_an_end_is_dated(end: Phase) -> None:
    deployment, token = held(Phase.STOPPING if end is Phase.STOPPED else Phase.LOADING)
    move(deployment, end, token=token)
    assert deployment.ended_at == deployment.phase_since


@pytest.mark.parametrize("origin", Phase)
def test_a_transition_that_the_table_forbids_is_refused(origin: Phase) -> None:
    deployment, token = held(origin)
    for target in set(Phase) - TRANSITIONS[origin]:
        with pytest.raises(ValueError, match="not in the transition table"):
            move(deployment, target, token=token)
    deployment.refresh_from_db()
    assert deployment.phase == origin
    assert not deployment.events.exists()


def test_without_the_claim_nothing_is_written() -> None:
    deployment, _token = held(Phase.LOADING)
    with pytest.raises(LostClaimError):
        move(deployment, Phase.READY, token="stolen", endpoint="http://127.0.0.1:2")
    with pytest.raises(LostClaimError):
        note(deployment, token="stolen", failed_probes=1)
    deployment.refresh_from_db()
    assert (deployment.phase, deployment.endpoint, deployment.failed_probes) == (Phase.LOADING, "", 0)
    assert not deployment.events.exists()


def test_a_phase_that_is_not_what_it_was_is_not_written_over() -> None:
    deployment, token = held(Phase.LOADING)
    Deployment.objects.update(phase=Phase.STOPPING)
    with pytest.raises(LostClaimError):
        move(deployment, Phase.READY, token=token)
    deployment.refresh_from_db()
    assert deployment.phase == Phase.STOPPING


def test_pages_are_told_after_the_commit_only(
    ear: Ear, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    deployment, token = held(Phase.QUEUED)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        move(deployment, Phase.PREPARING, token=token)
        assert ear.heard() == []
    assert len(callbacks) == 1
    assert ear.heard() == [{"deployment": deployment.pk, "config": "llama3-8b"}]
    assert ear.routed() is None, "no gateway needs to know"


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_told_to_nobody(ear: Ear) -> None:
    deployment, _token = held(Phase.LOADING)
    with pytest.raises(LostClaimError):
        move(deployment, Phase.READY, token="stolen")
    assert ear.heard() == []


@pytest.mark.django_db(transaction=True)
def test_routes_follow_a_run_into_ready_and_out_of_it(ear: Ear) -> None:
    deployment, token = held(Phase.LOADING)
    move(deployment, Phase.READY, token=token, endpoint="http://127.0.0.1:9")
    assert ear.routed() == ["llama3-8b"]
    move(deployment, Phase.UNHEALTHY, token=token)
    assert ear.routed() == []
    move(deployment, Phase.READY, token=token)
    move(deployment, Phase.STOPPING, token=token)
    assert ear.routed() == []
    assert len(ear.heard()) == 4


def test_a_note_tells_pages_when_something_changed_and_not_otherwise(
    ear: Ear, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    deployment, token = held(Phase.LOADING)
    with django_capture_on_commit_callbacks(execute=True):
        note(deployment, token=token, progress={"step": "shards", "done": 1})
    assert len(ear.heard()) == 1
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        note(deployment, token=token, progress={"step": "shards", "done": 1})
    assert callbacks == []
    deployment.refresh_from_db()
    assert deployment.progress == {"step": "shards", "done": 1}
    assert not deployment.events.exists()
