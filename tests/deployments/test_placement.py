"""Placement of real rows: leases, readings, waiting, and two workers who want the same GPU."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from dashboard.telemetry.attribution import Attribution
from dashboard.telemetry.inventory import write_gpus
from dashboard.telemetry.poller import GpuPoller
from dashboard.telemetry.replay import Recording
from dashboard.telemetry.source import Measurement
from deployments.gpu_readings import GpuProcess
from deployments.lifecycle.phases import Phase
from deployments.models import Attempt, Config, Deployment, GpuLease, Node
from deployments.placement.leases import clear_orphans, take_leases
from deployments.placement.placing import place
from deployments.placement.views import GIB, Choice, Refusal, Why
from tests.deployments.editing import make_run
from tests.deployments.gpu_hosts import add_gpus, measure
from tests.deployments.hosts import (
    NODE,
    Host,
    closing_connections,
    database_of_threads,
    pass_time,
    scripted_host,
    small_config,
    stop,
)
from tests.fakes.runtime import Script

RECORDING = Path(__file__).parents[1] / "recordings" / "h200x4.jsonl"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


@pytest.fixture
def gpu_host(host: Host) -> Host:
    add_gpus(host.node, 2)
    return host


def wants(gpus: int = 1, gib: float = 40, name: str = "needs-gpus") -> dict[str, Any]:
    return {"gpus": gpus, "memory_gib": gib, "name": name}


def test_a_run_gets_its_gpus_by_lease_and_the_container_by_uuid(gpu_host: Host) -> None:
    deployment = gpu_host.ready(**wants(2, 100))
    assert deployment.gpu_uuids == ["GPU-gpu-01-0", "GPU-gpu-01-1"]
    assert GpuLease.objects.filter(deployment=deployment).count() == 2
    assert gpu_host.runtime.run(deployment.run_name).spec.gpu_uuids == tuple(deployment.gpu_uuids)
    assert gpu_host.runtime.run(deployment.run_name).spec.locked_memory


def test_the_end_gives_them_back_and_wakes_who_waits(gpu_host: Host) -> None:
    first = gpu_host.ready(**wants(2, 100, "first"))
    second = gpu_host.go_on(gpu_host.start(**wants(1, 40, "second")))
    assert (second.phase, second.reason) == (Phase.QUEUED, "gpus_held")
    assert f"first #{first.pk}" in second.reason_params["detail"]
    stop(first)
    assert gpu_host.go_on(first).phase == Phase.STOPPED
    assert not GpuLease.objects.exists()
    assert gpu_host.go_on(second).phase == Phase.READY


def test_a_crashed_run_keeps_its_gpus_while_it_backs_off_and_loses_them_when_it_has_failed(gpu_host: Host) -> None:
    gpu_host.runtime.default_script = Script(exits_with=1)
    deployment = gpu_host.go_on(gpu_host.start(max_attempts=2, **wants()))
    assert (deployment.phase, GpuLease.objects.count()) == (Phase.BACKOFF, 1)
    pass_time(60)
    deployment = gpu_host.go_on(deployment)
    assert (deployment.phase, GpuLease.objects.count()) == (Phase.FAILED, 0)


def test_a_foreign_process_changes_the_answer(gpu_host: Host) -> None:
    deployment = gpu_host.start(**wants(1, 40))
    answer = place(deployment)
    assert isinstance(answer, Choice)
    assert answer.gpu_uuids == ("GPU-gpu-01-0",)
    foreign = GpuProcess(pid=8123, memory_bytes=60 * GIB, user="root", command="python3")
    measure(gpu_host.node, {0: [foreign]})
    answer = place(deployment)
    assert isinstance(answer, Choice)
    assert answer.gpu_uuids == ("GPU-gpu-01-1",)
    measure(gpu_host.node, {0: [foreign], 1: [foreign]})
    refusal = place(deployment)
    assert isinstance(refusal, Refusal)
    assert "pid 8123 python3 (root)" in refusal.detail


def test_gpus_of_a_recording_are_never_given(host: Host) -> None:
    add_gpus(host.node, 2, replay=True)
    assert isinstance(place(host.start(**wants())), Refusal)


def test_memory_that_does_not_return_is_waited_for_and_then_quarantined(gpu_host: Host) -> None:
    deployment = gpu_host.ready(**wants(1, 40))
    stuck = GpuProcess(pid=77, memory_bytes=30 * GIB, user="root", command="python3", run_name=deployment.run_name)
    measure(gpu_host.node, {0: [stuck]})
    stop(deployment)
    deployment = gpu_host.go_on(deployment)
    gpu = gpu_host.node.gpus.get(index=0)
    assert (deployment.phase, deployment.reason) == (Phase.STOPPED, "memory_not_returned")
    assert "pid 77 python3 (root) 30.0 GiB" in deployment.reason_params["holders"]
    assert gpu.quarantined_at is not None
    assert not GpuLease.objects.exists()
    measure(gpu_host.node)
    other = gpu_host.start(**wants(2, 100, "other"))
    assert isinstance(place(other), Refusal)


def test_memory_that_returns_in_time_ends_it_as_asked(gpu_host: Host) -> None:
    deployment = gpu_host.ready(**wants(1, 40))
    stuck = GpuProcess(pid=77, memory_bytes=30 * GIB, run_name=deployment.run_name)
    measure(gpu_host.node, {0: [stuck]})
    gpu_host.clock.at_nap = lambda: measure(gpu_host.node) if gpu_host.clock.now > 2 else None
    stop(deployment)
    deployment = gpu_host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.STOPPED, "stopped")


def test_a_second_lease_of_a_gpu_is_refused_by_the_database(gpu_host: Host) -> None:
    first, second = gpu_host.start(**wants(name="a")), gpu_host.start(**wants(name="b"))
    take_leases(first, gpu_host.node.pk, ("GPU-gpu-01-0",))
    with pytest.raises(IntegrityError), transaction.atomic():
        take_leases(second, gpu_host.node.pk, ("GPU-gpu-01-0",))


def test_a_lease_that_a_crash_left_is_cleared(gpu_host: Host) -> None:
    deployment = gpu_host.ready(**wants())
    Deployment.objects.filter(pk=deployment.pk).update(phase=Phase.STOPPED)
    assert clear_orphans() == 1
    assert clear_orphans() == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_who_race_for_the_last_gpu_exactly_one_wins(host: Host, tmp_path: Path) -> None:
    add_gpus(host.node, 1)
    racers = [host.start(small_config(**wants(name=f"racer-{number}"))) for number in range(2)]
    with database_of_threads(tmp_path), ThreadPoolExecutor(2) as pool:
        barrier = threading.Barrier(2)

        def race(deployment: Deployment) -> str:
            barrier.wait(5)
            return host.go_on(deployment).phase

        results = [pool.submit(closing_connections(functools.partial(race, racer))) for racer in racers]
        phases = {result.result(timeout=60) for result in results}
        assert phases == {Phase.QUEUED, Phase.READY}
        assert GpuLease.objects.count() == 1


def test_stopping_twice_gives_back_once(gpu_host: Host) -> None:
    deployment = gpu_host.ready(**wants())
    stop(deployment)
    stop(deployment)
    assert gpu_host.go_on(deployment).phase == Phase.STOPPED
    assert not GpuLease.objects.exists()


def test_what_a_recording_shows_decides_when_it_comes_from_the_driver(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording.read(RECORDING)
    # Four H200: free; then foreign processes of up to 131 GiB on each; then on the second one alone.
    moments = iter((0, 3, 4))
    poller = GpuPoller(NODE, source=Driver(recording, moments), attribution=Foreign())
    write_gpus(NODE, recording.facts, replay=False)
    deployment = host.start(**wants(4, 4 * 100, "four-gpus"))
    single = host.start(**wants(1, 100, "one-gpu"))
    uuids = tuple(facts.uuid for facts in recording.facts)
    poller.tick()
    assert placed(deployment).gpu_uuids == uuids
    poller.tick()
    refusal = place(deployment)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "gpus_held"
    assert refusal.stops == (), "nobody of Berth's could make room"
    assert "pid 826 python3 (root) 130.8 GiB" in refusal.detail
    assert placed(single).gpu_uuids == uuids[:1]
    poller.tick()
    refusal = place(deployment)
    assert isinstance(refusal, Refusal)
    assert [(each.why, each.gpu and each.gpu.index) for each in refusal.obstacles] == [(Why.MEMORY_USED, 1)]


def test_the_same_recording_replayed_is_never_placeable(host: Host) -> None:
    recording = Recording.read(RECORDING)
    write_gpus(NODE, recording.facts, replay=True)
    GpuPoller(NODE, source=Driver(recording, iter((0,))), attribution=Foreign()).tick()
    assert isinstance(place(host.start(**wants())), Refusal)


def test_a_node_where_its_weights_were_loaded_is_preferred(gpu_host: Host) -> None:
    other = Node.objects.create(name="a-first-by-name", runtimes=["process"], heartbeat_at=Now())
    add_gpus(other, 2)
    config = small_config(**wants())
    Config.objects.filter(pk=config.pk).update(weights_repository="hub/weights", volumes=["hf-cache:/cache"])
    config.refresh_from_db()
    assert placed(gpu_host.start(config)).node == other.name
    sibling = small_config(**wants(name="sibling"))
    Config.objects.filter(pk=sibling.pk).update(weights_repository="hub/weights")
    earlier = make_run(sibling, Phase.STOPPED, node=gpu_host.node)
    Attempt.objects.create(deployment=earlier, number=1, started_at=timezone.now(), ready_at=timezone.now())
    choice = placed(Deployment.objects.get(config=config))
    assert (choice.node, choice.has_weights) == (NODE, True)


def placed(deployment: Deployment) -> Choice:
    answer = place(deployment)
    assert isinstance(answer, Choice), answer
    return answer


class Driver:
    """A recording's moments, as if the driver had told them now."""

    def __init__(self, recording: Recording, moments: Iterator[int]) -> None:
        self.recording = recording
        self.moments = moments

    def measure(self) -> Measurement:
        return Measurement(source="nvml", states=self.recording.at(next(self.moments)).states)


class Foreign(Attribution):
    """Whatever runs is root's."""

    def __init__(self) -> None:
        super().__init__(NODE, dict)

    def processes(self, pids: Iterable[int]) -> dict[int, GpuProcess]:
        return {pid: GpuProcess(pid=pid, user="root", command="python3") for pid in pids}
