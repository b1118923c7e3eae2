"""What each deployment was given and what it uses, the host beside the GPUs, and error events in the readings."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pytest_django import DjangoAssertNumQueries

from dashboard.telemetry import poller as poller_module
from dashboard.telemetry.attribution import Attribution
from dashboard.telemetry.host import Host
from dashboard.telemetry.nvml import Nvml
from dashboard.telemetry.poller import GpuPoller
from dashboard.telemetry.runs import EVERY_S, Runs
from dashboard.telemetry.source import DriverSource
from deployments.gpu_readings import GpuProcess, GpuReading, NodeReading, RunReading, latest_readings, publish_reading
from deployments.lifecycle import acting
from deployments.lifecycle.phases import Phase
from deployments.memory_expected import expected_bytes
from deployments.memory_progress import STEP, memory_progress
from deployments.models import Attempt, Deployment, Gpu, GpuLease, Node
from deployments.progress import Progress
from tests.deployments.editing import make_config, make_run
from tests.fakes.nvml import GIB, FakeGpu, FakeNvml, process

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def node() -> Node:
    return Node.objects.create(name="gpu-01")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def holding(uuid: str, *processes: tuple[str, int | None]) -> GpuReading:
    """A GPU with processes of these runs."""
    found = tuple(GpuProcess(pid=n, run_name=run, memory_bytes=size) for n, (run, size) in enumerate(processes, 1))
    return GpuReading(uuid=uuid, index=0, processes=found)


def leased(run: Deployment, node: Node, *uuids: str) -> None:
    for index, uuid in enumerate(uuids):
        gpu = Gpu.objects.create(
            node=node, uuid=uuid, index=index, name="x", memory_bytes=GIB, seen_at="2026-01-01T00:00Z"
        )
        GpuLease.objects.create(gpu=gpu, deployment=run)


def read(*gpus: GpuReading, **options: Any) -> tuple[RunReading, ...]:
    return Runs("gpu-01", expected=lambda _config: 20 * GIB, **options).read(gpus)


# Runs


def test_a_run_is_where_it_was_put_and_holds_the_sum_over_its_gpus(node: Node) -> None:
    run = make_run(make_config(), node=node)
    leased(run, node, "GPU-a", "GPU-b")
    (one,) = read(holding("GPU-a", (run.run_name, 10 * GIB)), holding("GPU-b", (run.run_name, 11 * GIB)))
    assert one == RunReading(
        run_name=run.run_name,
        deployment_id=run.pk,
        config="llama3-8b",
        phase="ready",
        assigned=("GPU-a", "GPU-b"),
        observed=("GPU-a", "GPU-b"),
        memory_bytes=21 * GIB,
        expected_bytes=20 * GIB,
    )


def test_a_part_that_is_not_known_makes_no_sum(node: Node) -> None:
    run = make_run(make_config(), node=node)
    leased(run, node, "GPU-a")
    (one,) = read(holding("GPU-a", (run.run_name, 10 * GIB), (run.run_name, None)))
    assert one.memory_bytes is None
    (one,) = read(GpuReading(uuid="GPU-a", index=0, processes=None))
    assert one.memory_bytes is None, "its processes may be there"
    (one,) = read(holding("GPU-a"))
    assert one.memory_bytes == 0


def test_a_run_on_a_gpu_that_it_was_not_given_is_elsewhere(node: Node) -> None:
    run = make_run(make_config(), node=node)
    leased(run, node, "GPU-a")
    (one,) = read(holding("GPU-a"), holding("GPU-b", (run.run_name, GIB)))
    assert (one.assigned, one.observed, one.flags) == (("GPU-a",), ("GPU-b",), ("elsewhere",))


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.FAILED, Phase.BACKOFF])
def test_what_ended_and_holds_memory_is_orphaned(node: Node, phase: Phase) -> None:
    run = make_run(make_config(), phase, node=node)
    (one,) = read(holding("GPU-a", (run.run_name, GIB)))
    assert (one.flags, one.memory_bytes, one.config) == (("orphaned",), GIB, "llama3-8b")


def test_an_earlier_attempt_that_holds_memory_is_orphaned_beside_the_run(node: Node) -> None:
    run = make_run(make_config(), node=node, attempt=2)
    earlier = run.run_name.removesuffix("-2") + "-1"
    first, second = read(holding("GPU-a", (earlier, GIB), (run.run_name, 2 * GIB)))
    assert (first.run_name, first.flags, first.assigned) == (earlier, ("orphaned",), ())
    assert (second.memory_bytes, second.flags) == (2 * GIB, ("elsewhere",))


def test_what_ended_and_holds_nothing_is_not_told(node: Node) -> None:
    make_run(make_config(), Phase.STOPPED, node=node)
    assert read(holding("GPU-a", ("berth-another-1-1", GIB), ("", GIB))) == ()


def test_a_run_on_an_instance_counts_on_its_gpu_and_once(node: Node) -> None:
    run = make_run(make_config(), node=node)
    leased(run, node, "GPU-a")
    instance = GpuReading(
        uuid="MIG-1",
        index=0,
        parent_uuid="GPU-a",
        processes=(GpuProcess(pid=1, run_name=run.run_name, memory_bytes=GIB),),
    )
    (one,) = read(holding("GPU-a", (run.run_name, GIB)), instance)
    assert (one.memory_bytes, one.observed, one.flags) == (GIB, ("GPU-a",), ())


def test_the_database_is_asked_every_two_seconds_and_for_a_new_run_at_once(
    node: Node, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    clock = Clock()
    run = make_run(make_config(), node=node)
    runs = Runs("gpu-01", clock=clock, expected=lambda _config: None)
    with django_assert_num_queries(1):
        runs.read((holding("GPU-a"),))
    clock.now += 1
    with django_assert_num_queries(0):
        runs.read((holding("GPU-a"),))
    with django_assert_num_queries(1):
        runs.read((holding("GPU-a", (run.run_name, GIB)),))
    with django_assert_num_queries(0):
        runs.read((holding("GPU-a", (run.run_name, GIB)),))
    clock.now += EVERY_S
    with django_assert_num_queries(1):
        runs.read((holding("GPU-a", (run.run_name, GIB)),))


def test_what_a_run_will_hold_is_what_an_earlier_one_held_else_the_estimate(
    node: Node, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    config = make_config()
    estimated = expected_bytes(config.pk)
    assert estimated == 19 * GIB
    earlier = make_run(config, Phase.STOPPED, node=node)
    Attempt.objects.create(
        deployment=earlier,
        number=1,
        started_at="2026-01-01T00:00Z",
        ready_at="2026-01-01T00:01Z",
        peak_memory_bytes=21 * GIB,
    )
    with django_assert_num_queries(2):
        assert expected_bytes(config.pk) == 21 * GIB
    assert expected_bytes(0) is None


# Loading


def published(run: Deployment, **values: Any) -> None:
    told = RunReading(run_name=run.run_name, deployment_id=run.pk, config="x", **values)
    publish_reading(NodeReading(node="gpu-01", at=time.time(), runs=(told,)))


def test_a_loading_model_is_as_far_as_its_memory(node: Node) -> None:
    run = make_run(make_config(), Phase.LOADING, node=node, gpu_uuids=["GPU-a"])
    assert memory_progress(run) is None, "nothing was measured"
    published(run, memory_bytes=5 * GIB)
    assert memory_progress(run) is None, "nobody knows how much it will be"
    published(run, memory_bytes=5 * GIB, expected_bytes=20 * GIB)
    told = memory_progress(run)
    assert told is not None
    assert (told.step, told.fraction, told.unit) == (STEP, 0.25, "B")
    run.gpu_uuids = []
    assert memory_progress(run) is None


def test_what_the_engine_says_of_its_loading_comes_first(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(make_config(), Phase.LOADING, node=node, gpu_uuids=["GPU-a"])
    published(run, memory_bytes=5 * GIB, expected_bytes=20 * GIB)
    situation: Any = SimpleNamespace(phase=Phase.LOADING, warming=None)
    said: list[Progress | None] = [None]
    engine = SimpleNamespace(load_progress=lambda _lines: said[0])
    monkeypatch.setattr(acting, "engine_named", lambda _name: engine)
    monkeypatch.setattr("deployments.lifecycle.acting.logs.tail", lambda _run, *, lines: [])
    assert acting._progress(run, situation)["step"] == STEP
    said[0] = Progress(step="weights")
    assert acting._progress(run, situation)["step"] == STEP, "a step alone is no measure"
    said[0] = Progress(step="weights", done=3, total=4, unit="shards")
    assert acting._progress(run, situation)["step"] == "weights"


# The host


class System:
    """As psutil, with what a test says."""

    def __init__(self) -> None:
        self.bytes = 0
        self.failing = False

    def cpu_percent(self, interval: float | None) -> float:
        return 12.5

    def cpu_count(self) -> int:
        return 16

    def getloadavg(self) -> tuple[float, float, float]:
        return (1.234, 2, 3)

    def virtual_memory(self) -> SimpleNamespace:
        if self.failing:
            raise OSError("no /proc")
        return SimpleNamespace(total=100, available=30, used=20)

    def disk_usage(self, _path: str) -> SimpleNamespace:
        return SimpleNamespace(free=5, total=50)

    def disk_io_counters(self, *, nowrap: bool) -> SimpleNamespace | None:
        return SimpleNamespace(read_bytes=self.bytes, write_bytes=2 * self.bytes)

    def net_io_counters(self, *, pernic: bool, nowrap: bool) -> dict[str, SimpleNamespace]:
        one = SimpleNamespace(bytes_recv=3 * self.bytes, bytes_sent=4 * self.bytes)
        return {"lo": one, "veth1": one, "eth0": one}


def test_the_host_is_told_with_rates_from_the_second_reading_on(tmp_path: Path) -> None:
    system, clock = System(), Clock()
    host = Host(tmp_path, system=system, clock=clock)
    first = host.read()
    assert (first.cpu_percent, first.disk_read_bytes_s, first.network_sent_bytes_s) == (None, None, None)
    assert (first.memory_used_bytes, first.memory_total_bytes, first.cpu_count, first.load_1m) == (70, 100, 16, 1.23)
    clock.now, system.bytes = clock.now + 2, 1000
    second = host.read()
    assert (second.cpu_percent, second.disk_read_bytes_s, second.disk_write_bytes_s) == (12.5, 500, 1000)
    assert (second.network_received_bytes_s, second.network_sent_bytes_s) == (1500, 2000)
    clock.now, system.bytes = clock.now + 1, 0
    assert host.read().disk_read_bytes_s is None, "the counter was reset"
    clock.now, system.bytes = clock.now + 60, 10**6
    assert host.read().disk_read_bytes_s is None, "a mean over a minute is not about now"


def test_a_part_that_the_host_does_not_tell_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    system = System()
    system.failing = True
    host = Host(tmp_path, system=system, clock=Clock())
    host.read()
    host.read()
    told = host.read()
    assert (told.memory_total_bytes, told.cpu_count, told.disk_free_bytes) == (None, 16, 5)
    assert caplog.text.count("no /proc") == 1


def test_this_host_is_read(tmp_path: Path) -> None:
    told = Host(tmp_path).read()
    assert told.cpu_count == psutil.cpu_count()
    assert told.memory_total_bytes == psutil.virtual_memory().total
    assert told.disk_total_bytes


# In the poller


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(poller_module, "mark", lambda node, kind, *, at, text, uuid: told.append((kind, text, uuid)))
    return told


def test_an_error_event_is_in_the_reading_and_marked_once(node: Node, marks: list[tuple[Any, ...]]) -> None:
    source = DriverSource(library=Nvml(module=FakeNvml(FakeGpu(uuid="GPU-a")), sysfs=Path("/nowhere")))
    poller = GpuPoller("gpu-01", source=source, attribution=Attribution("gpu-01", dict))
    poller.note_xid("GPU-a", 79, time.time())
    for _ in range(2):
        poller.tick()
    (gpu,) = latest_readings(["gpu-01"])["gpu-01"].gpus
    assert (gpu.xid, gpu.state) == (79, "degraded")
    assert marks == [("xid", "Xid 79", "GPU-a")]
    poller.stop()
    source.library.close()


def test_a_reading_has_runs_host_and_limiters(node: Node) -> None:
    run = make_run(make_config(), node=node)
    gpu = FakeGpu(uuid="GPU-a", compute=[process(50, 5 * GIB)], limiters=4)
    source = DriverSource(library=Nvml(module=FakeNvml(gpu), sysfs=Path("/nowhere")))
    poller = GpuPoller(
        "gpu-01", source=source, attribution=Attribution("gpu-01", lambda: {run.run_name: frozenset({50})})
    )
    poller.tick()
    told = latest_readings(["gpu-01"])["gpu-01"]
    assert [(one.run_name, one.memory_bytes) for one in told.runs] == [(run.run_name, 5 * GIB)]
    assert told.host is not None
    assert told.host.cpu_count
    assert (told.gpus[0].limiters, told.gpus[0].limited_s) == (("power_cap",), {"power_cap": 1})
    poller.stop()
    source.library.close()


def test_gpus_of_a_driver_that_hangs_are_stale_and_without_values(
    node: Node, marks: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = FakeGpu(uuid="MIG-1", name="NVIDIA H200 MIG 1g.18gb", instance=1)
    fake = FakeNvml(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b", mig=1, instances=(instance,)))
    source = DriverSource(library=Nvml(module=fake, sysfs=Path("/nowhere")))
    poller = GpuPoller("gpu-01", source=source, attribution=Attribution("gpu-01", dict))
    poller.tick()
    run = make_run(make_config(), node=node)
    GpuLease.objects.create(gpu=Gpu.objects.get(uuid="GPU-a"), deployment=run)
    monkeypatch.setattr(poller.measurer, "measure", lambda _timeout: None)
    poller.note_xid("GPU-a", 79, time.time())
    monkeypatch.setattr(poller.runs, "_asked_at", float("-inf"))
    poller.tick()
    told = latest_readings(["gpu-01"])["gpu-01"]
    gpu, *others = told.gpus
    assert [(one.uuid, one.parent_uuid, one.state) for one in others] == [
        ("GPU-b", "", "stale"),
        ("MIG-1", "GPU-b", "stale"),
    ]
    # The host, what runs were given, and the event that came with the hang need no driver.
    assert told.host is not None
    assert [(one.run_name, one.assigned, one.memory_bytes) for one in told.runs] == [(run.run_name, ("GPU-a",), None)]
    assert gpu.xid == 79
    assert marks == [("xid", "Xid 79", "GPU-a")]
    assert (gpu.state, gpu.memory_used_bytes, gpu.processes, gpu.missing["power_watts"]) == (
        "stale",
        None,
        None,
        "timeout",
    )
    poller.stop()
    source.library.close()
