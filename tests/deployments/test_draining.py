"""Before SIGTERM the requests under way; after the end the GPU memory; ready only where a gateway reaches it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from deployments.gateway_states import is_reached, requests_in_flight
from deployments.gpu_readings import GpuProcess
from deployments.lifecycle import reconcile as loop
from deployments.lifecycle.phases import Phase
from deployments.lifecycle.reasons import explain
from deployments.live import publish_routes
from deployments.models import Deployment, Gpu, GpuLease
from deployments.redis_keys import REACH_ASKED, ROUTES, gateway_reached, gateway_state
from tests.deployments.gpu_hosts import add_gpus, measure
from tests.deployments.hosts import WAY_UP, Host, attempt, entered, pass_time, restart, scripted_host, stop
from tests.fakes.runtime import Script

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, redis_server: redis.Redis) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


def tells(server: redis.Redis, process: str, version: int, **in_flight: int) -> None:
    """A gateway process reports; `d7=3` means three requests at deployment 7."""
    counts = {name.removeprefix("d"): count for name, count in in_flight.items()}
    server.set(gateway_state(process), json.dumps({"version": version, "in_flight": counts}))


def version_of_the_table(server: redis.Redis) -> int:
    table = server.get("berth:routes")
    assert isinstance(table, bytes)
    return int(json.loads(table)["version"])


def signals(host: Host) -> list[str]:
    return [verb for verb, _name in host.runtime.calls if verb in {"stop", "kill"}]


@contextmanager
def gateway_that_reaches(server: redis.Redis, *, endpoint: str | None = None) -> Iterator[list[dict[str, Any]]]:
    """A gateway process that answers what it is asked; `endpoint` instead of the one asked for."""
    asked: list[dict[str, Any]] = []
    ended = threading.Event()
    pubsub = server.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    pubsub.subscribe(REACH_ASKED)
    pubsub.get_message(timeout=5)

    def answer() -> None:
        while not ended.is_set():
            message = pubsub.get_message(timeout=0.02)
            if message:
                asked.append(json.loads(message["data"]))
                server.set(gateway_reached(asked[-1]["deployment"]), endpoint or asked[-1]["endpoint"])

    tells(server, "gateway", 10**6)
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield asked
    finally:
        ended.set()
        thread.join()
        pubsub.close()


# Requests in flight


def test_requests_are_counted_over_all_gateways_that_have_the_table(redis_server: redis.Redis) -> None:
    assert requests_in_flight(7) == 0, "without a gateway there is nobody to wait for"
    redis_server.set("berth:routes", json.dumps({"version": 4, "routes": []}))
    tells(redis_server, "one", 4, d7=2, d8=1)
    tells(redis_server, "two", 5, d7=1)
    assert requests_in_flight(7) == 3
    tells(redis_server, "late", 3)
    assert requests_in_flight(7) is None, "it may send more"


def test_a_server_is_asked_to_end_only_when_its_last_request_has_ended(host: Host, redis_server: redis.Redis) -> None:
    run = host.ready(grace_s=30)
    publish_routes()
    tells(redis_server, "one", version_of_the_table(redis_server))
    stop(run)
    done_after = 3.0

    def work() -> None:
        left = 2 if host.clock.now < done_after else 0
        assert left == 0 or signals(host) == []
        row = Deployment.objects.get()
        if row.phase == Phase.STOPPING and left and row.reason == "draining":
            assert row.reason_params["seconds"] <= 30
        tells(redis_server, "one", version_of_the_table(redis_server), **{f"d{run.pk}": left})

    host.clock.now = 0
    host.clock.at_nap = work
    tells(redis_server, "one", version_of_the_table(redis_server) + 1, **{f"d{run.pk}": 2})
    assert host.go_on(run).phase == Phase.STOPPED
    assert signals(host) == ["stop"]
    assert host.clock.now >= done_after


def test_what_is_under_way_is_told_with_the_time_that_is_left(host: Host, redis_server: redis.Redis) -> None:
    run = host.ready(grace_s=600)
    tells(redis_server, "one", 10**6, **{f"d{run.pk}": 3})
    stop(run)
    loop.reconcile(run.pk)
    run.refresh_from_db()
    assert (run.phase, run.reason, run.reason_params["count"]) == (Phase.STOPPING, "draining", 3)
    assert 580 < run.reason_params["seconds"] <= 600
    assert explain(run.reason, run.reason_params).sentence.startswith("3 ")


def test_the_grace_time_ends_the_waiting(host: Host, redis_server: redis.Redis) -> None:
    run = host.ready(grace_s=20)
    tells(redis_server, "one", 10**6, **{f"d{run.pk}": 1})
    stop(run)
    host.clock.now = 0
    assert host.go_on(run).phase == Phase.STOPPED
    assert 18 < host.clock.now < 21
    assert signals(host) == ["stop"]


def test_what_never_was_ready_is_not_waited_for(host: Host, redis_server: redis.Redis) -> None:
    host.engine.healthy = False
    run = host.start(load_timeout_s=600)
    loop.reconcile(run.pk)
    tells(redis_server, "late", 0)
    stop(run)
    host.clock.naps.clear()
    assert host.go_on(run).phase == Phase.STOPPED
    assert sum(host.clock.naps) < 1


# Memory


def of_run(deployment: Deployment, pid: int = 4242) -> GpuProcess:
    return GpuProcess(
        pid=pid,
        memory_bytes=40 * 1024**3,
        user="root",
        command="python3",
        run_name=deployment.run_name,
        attributed=True,
    )


def test_a_stopped_run_holds_its_gpu_until_the_memory_is_back(host: Host) -> None:
    add_gpus(host.node, 1)
    run = host.ready(gpus=1, memory_gib=40)
    measure(host.node, {0: [of_run(run)]})
    stop(run)
    seen: list[str] = []

    def give_back() -> None:
        row = Deployment.objects.get()
        seen.append(row.reason)
        assert row.phase == Phase.STOPPED or GpuLease.objects.count() == 1
        if len(seen) > 5:
            measure(host.node)

    host.clock.at_nap = give_back
    assert host.go_on(run).phase == Phase.STOPPED
    assert run.reason == "stopped"
    assert "memory_held" in seen
    assert not GpuLease.objects.exists()
    assert not host.runtime.owned()


@pytest.mark.parametrize("wish", [stop, restart])
def test_memory_that_does_not_return_is_told_and_the_gpu_is_shut_off(host: Host, wish: Any) -> None:
    add_gpus(host.node, 2)
    run = host.ready(gpus=1, memory_gib=40)
    lost = run.gpu_uuids[0]
    index = Gpu.objects.get(uuid=lost).index
    process = of_run(run)
    measure(host.node, {index: [process]})
    wish(run)
    loop.reconcile(run.pk)
    for _round in range(4):
        pass_time(10)
        measure(host.node, {index: [process]})
        host.go_on(run)
    assert Gpu.objects.get(quarantined_at__isnull=False).uuid == lost
    event = run.events.get(reason="memory_not_returned")
    assert "pid 4242 python3 (root) 40.0 GiB" in event.reason_params["holders"]
    assert run.phase == (Phase.STOPPED if wish is stop else Phase.READY)
    assert run.phase == Phase.STOPPED or run.gpu_uuids != [lost], "it is started again elsewhere"


def test_memory_that_nobody_can_see_ends_with_that_word(host: Host, redis_server: redis.Redis) -> None:
    add_gpus(host.node, 1)
    run = host.ready(gpus=1, memory_gib=40)
    redis_server.delete(f"berth:gpus:{host.node.name}")
    stop(run)
    host.go_on(run)
    assert (run.phase, run.reason) == (Phase.STOPPED, "memory_unconfirmed")
    assert "could not be confirmed" in explain(run.reason).sentence


def test_a_crash_leaves_the_routing_at_once_and_waits_for_its_memory_before_it_backs_off(host: Host) -> None:
    add_gpus(host.node, 1)
    run = host.ready(gpus=1, memory_gib=40)
    host.runtime.write(run.run_name, "RuntimeError: CUDA out of memory")
    host.runtime.end(run.run_name, 1)
    measure(host.node, {0: [of_run(run)]})
    loop.reconcile(run.pk)
    run.refresh_from_db()
    assert (run.phase, attempt(run).cause) == (Phase.STOPPING, "cuda_out_of_memory")
    measure(host.node)
    host.go_on(run)
    assert (run.phase, run.reason, run.failures) == (Phase.BACKOFF, "cuda_out_of_memory", 1)
    assert run.reason_params["last_line"].endswith("CUDA out of memory")
    assert entered(run) == [*WAY_UP, "stopping", "backoff"]
    assert GpuLease.objects.count() == 1, "its GPU is still its own"
    assert run.run_cleared_at is None


def test_a_crash_whose_memory_does_not_return_fails_for_good_and_names_the_holder(host: Host) -> None:
    add_gpus(host.node, 1)
    run = host.ready(gpus=1, memory_gib=40)
    host.runtime.end(run.run_name, 1)
    process = of_run(run)
    for _round in range(4):
        measure(host.node, {0: [process]})
        host.go_on(run)
        pass_time(10)
    assert (run.phase, run.reason) == (Phase.FAILED, "memory_not_returned")
    assert "pid 4242" in run.reason_params["holders"]
    assert attempt(run).cause == "exited_at_once", "the attempt keeps its own cause"
    assert Gpu.objects.get().quarantined_at is not None
    assert not GpuLease.objects.exists()


def test_the_foreigner_who_grows_meanwhile_is_not_our_memory(host: Host) -> None:
    add_gpus(host.node, 1)
    run = host.ready(gpus=1, memory_gib=40)
    foreign = GpuProcess(pid=1, memory_bytes=70 * 1024**3, user="eve", command="train", attributed=True)
    measure(host.node, {0: [foreign]})
    stop(run)
    assert host.go_on(run).reason == "stopped"
    assert not Gpu.objects.filter(quarantined_at__isnull=False).exists()


# Paused, and a clock that jumps


def test_a_paused_run_is_shown_and_its_silence_is_not_counted(host: Host) -> None:
    run = host.ready()
    host.runtime.pause(run.run_name)
    host.engine.healthy = False
    for _round in range(5):
        host.go_on(run)
    assert (run.phase, run.reason, run.failed_probes) == (Phase.READY, "paused", 0)
    host.runtime.pause(run.run_name, paused=False)
    host.engine.healthy = True
    assert host.go_on(run).reason == ""


def test_no_request_is_sent_to_a_paused_run_until_it_goes_on(host: Host, redis_server: redis.Redis) -> None:
    def routed() -> list[int]:
        table = redis_server.get(ROUTES)
        assert isinstance(table, bytes)
        return [route["deployment_id"] for route in json.loads(table)["routes"]]

    run = host.ready()
    publish_routes()
    assert routed() == [run.pk]
    host.runtime.pause(run.run_name)
    host.go_on(run)
    assert routed() == []
    host.runtime.pause(run.run_name, paused=False)
    host.go_on(run)
    assert routed() == [run.pk]


def test_a_paused_run_can_be_stopped(host: Host) -> None:
    run = host.ready()
    host.runtime.pause(run.run_name)
    stop(run)
    assert host.go_on(run).phase == Phase.STOPPED


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_jumps_while_it_stops_delays_the_end_by_no_more_than_the_grace(host: Host, jump_s: int) -> None:
    host.runtime.default_script = Script(ignores_sigterm=True)
    run = host.ready(grace_s=20)
    stop(run)
    loop.reconcile(run.pk)
    pass_time(jump_s)
    host.clock.now = 0
    assert host.go_on(run).phase == Phase.STOPPED
    assert host.clock.now < 30


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_jumps_ends_no_run_that_answers(host: Host, jump_s: int) -> None:
    run = host.ready()
    pass_time(jump_s)
    for _round in range(3):
        assert host.go_on(run).phase == Phase.READY


# Reached


def test_it_is_ready_once_a_gateway_reaches_it_too(host: Host, redis_server: redis.Redis) -> None:
    with gateway_that_reaches(redis_server) as asked:
        run = host.ready()
    assert asked == [{"deployment": run.pk, "endpoint": run.endpoint}]
    assert run.events.get(phase=Phase.READY).reason == ""


def test_without_a_gateway_it_is_ready_and_that_is_told(host: Host) -> None:
    run = host.ready()
    assert run.events.get(phase=Phase.READY).reason == "ready_without_gateway"


def test_what_no_gateway_reaches_is_not_ready_and_is_given_up_in_the_end(
    host: Host, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.gateway_states.ANSWERS_WITHIN_S", 0.02)
    tells(redis_server, "deaf", 1)
    run = host.start(load_timeout_s=60, max_attempts=1)
    loop.reconcile(run.pk)
    run.refresh_from_db()
    assert (run.phase, run.reason) == (Phase.LOADING, "gateway_cannot_reach")
    pass_time(60)
    host.go_on(run)
    assert (run.phase, run.reason) == (Phase.FAILED, "gateway_cannot_reach")


def test_an_answer_about_an_earlier_address_does_not_count(redis_server: redis.Redis) -> None:
    with gateway_that_reaches(redis_server, endpoint="http://127.0.0.1:1"):
        began = time.monotonic()
        assert is_reached(7, "http://127.0.0.1:2") is False
        assert time.monotonic() - began < 3
        assert is_reached(7, "http://127.0.0.1:1") is True
