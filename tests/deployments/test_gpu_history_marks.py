"""The charts of a GPU are told when a run of it starts, is ready, stops or crashes; and no run waits for that."""

from __future__ import annotations

import itertools
import time

import pytest
import redis
from django.utils import timezone

from deployments.gpu_history import marks as marks_module
from deployments.gpu_history import series
from deployments.lifecycle.claims import take_claim
from deployments.lifecycle.marking import kind_of
from deployments.lifecycle.phases import TRANSITIONS, Phase
from deployments.lifecycle.record import LostClaimError, move
from deployments.models import Deployment, Node
from deployments.redis import RedisError
from tests.deployments.editing import make_config, make_run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


def held(phase: Phase, uuids: tuple[str, ...] = ("GPU-a", "GPU-b")) -> tuple[Deployment, str]:
    node = Node.objects.create(name="gpu-01", heartbeat_at=timezone.now())
    deployment = make_run(make_config(), phase, node=node, gpu_uuids=list(uuids))
    token = take_claim(deployment.pk)
    assert token is not None
    deployment.refresh_from_db()
    return deployment, token


def told(uuid: str = "GPU-a") -> list[str]:
    chart = series(uuid, node="gpu-01", range_name="15m", now=time.time())
    return [each["kind"] for each in chart["markers"]]


def test_a_run_is_marked_from_start_to_stop_on_each_of_its_gpus() -> None:
    deployment, token = held(Phase.PREPARING)
    for phase in (Phase.STARTING, Phase.LOADING, Phase.READY, Phase.UNHEALTHY, Phase.READY, Phase.STOPPING):
        move(deployment, phase, token=token)
    move(deployment, Phase.STOPPED, token=token, reason="stopped")
    assert told("GPU-a") == told("GPU-b") == ["start", "ready", "stop"]
    assert told("GPU-c") == []
    marker = series("GPU-a", node="gpu-01", range_name="15m")["markers"][0]
    assert (marker["deployment_id"], marker["config"], marker["uuid"]) == (deployment.pk, "llama3-8b", "GPU-a")


def test_a_crash_says_why() -> None:
    deployment, token = held(Phase.READY)
    move(deployment, Phase.BACKOFF, token=token, reason="vanished")
    (marker,) = series("GPU-a", node="gpu-01", range_name="15m")["markers"]
    assert marker["kind"] == "crash"
    assert marker["text"] not in {"", "vanished"}


def test_a_crash_that_waits_for_its_memory_is_marked_once() -> None:
    deployment, token = held(Phase.LOADING)
    move(deployment, Phase.STOPPING, token=token, reason="vanished", abort_reason="vanished")
    move(deployment, Phase.FAILED, token=token, reason="vanished")
    assert told() == ["crash"]


@pytest.mark.parametrize(
    ("origin", "phase"), [(origin, phase) for origin in TRANSITIONS for phase in sorted(TRANSITIONS[origin])]
)
def test_what_never_held_a_gpu_neither_stops_nor_crashes(origin: Phase, phase: Phase) -> None:
    kinds = {kind_of(origin, phase, reason=reason) for reason in ("", "vanished")}
    if origin in {Phase.QUEUED, Phase.BACKOFF, Phase.STOPPING}:
        assert kinds == {""}
    if origin is Phase.PREPARING:
        assert kinds == ({"start"} if phase is Phase.STARTING else {""})


def test_each_way_from_start_to_end_has_one_end() -> None:
    begun = (Phase.STARTING, Phase.LOADING, Phase.READY, Phase.UNHEALTHY)
    for origin, end in itertools.product(begun, (Phase.STOPPING, Phase.BACKOFF, Phase.FAILED)):
        assert kind_of(origin, end, reason="vanished") == "crash"
    assert {kind_of(origin, Phase.STOPPING, reason="") for origin in begun} == {"stop"}


def test_a_run_without_gpus_marks_nothing(redis_server: redis.Redis) -> None:
    deployment, token = held(Phase.PREPARING, uuids=())
    move(deployment, Phase.STARTING, token=token)
    assert not redis_server.exists("berth:gpu-marks:gpu-01")


def test_what_was_not_written_is_not_marked() -> None:
    deployment, _token = held(Phase.LOADING)
    with pytest.raises(LostClaimError):
        move(deployment, Phase.READY, token="stolen")
    assert told() == []


def test_without_redis_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def gone() -> None:
        raise RedisError("gone")

    deployment, token = held(Phase.LOADING)
    with monkeypatch.context() as away:
        away.setattr(marks_module, "client", gone)
        move(deployment, Phase.READY, token=token)
    deployment.refresh_from_db()
    assert deployment.phase == Phase.READY
    assert "The charts of gpu-01 will not show a ready: gone" in caplog.messages
