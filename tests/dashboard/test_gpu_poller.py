"""The poller publishes what the GPUs hold, writes what they are, and survives drivers that hang and hosts that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.db import OperationalError
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard.telemetry import poller as poller_module
from dashboard.telemetry.attribution import Attribution
from dashboard.telemetry.facts import GpuFacts
from dashboard.telemetry.measuring import Measurer
from dashboard.telemetry.nvml import Nvml
from dashboard.telemetry.poller import EVERY_S, MOST_BACKOFF_S, GpuPoller, members_of_runs
from dashboard.telemetry.replay import Recording
from dashboard.telemetry.source import DriverSource, GpuSource, Measurement, ReplaySource, source_for
from deployments.gpu_memory import observed_peak, quarantine
from deployments.gpu_readings import GpuReading, NodeReading, latest_readings
from deployments.lifecycle.phases import Phase
from deployments.models import Gpu, Node
from deployments.runtimes import use_runtime
from deployments.runtimes.base import RunSpec
from tests.deployments.editing import make_config, make_run
from tests.deployments.hosts import small_config
from tests.fakes.nvml import GIB, FakeGpu, FakeNvml, process
from tests.fakes.runtime import FakeRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
RECORDING = Path(__file__).parent.parent / "recordings" / "h200x4.jsonl"


@pytest.fixture
def node() -> Node:
    return Node.objects.create(name="gpu-01")


def polling(source: GpuSource, owners: dict[str, frozenset[int]] | None = None) -> GpuPoller:
    return GpuPoller("gpu-01", source=source, attribution=Attribution("gpu-01", lambda: owners or {}))


def driver(*gpus: FakeGpu) -> DriverSource:
    return DriverSource(library=Nvml(module=FakeNvml(*gpus), sysfs=Path("/nowhere")))


def reading() -> NodeReading:
    return latest_readings(["gpu-01"])["gpu-01"]


# What everybody is told


def test_a_reading_says_what_each_gpu_holds_and_whose_it_is(node: Node) -> None:
    gpu = FakeGpu(uuid="GPU-a", used=61 * GIB, compute=[process(50, 60 * GIB), process(60, None)])
    polling(driver(gpu), {"berth-x-1-1": frozenset({50})}).tick()
    told = reading()
    assert (told.source, told.driver, told.reason) == ("nvml", "580.159.04", "")
    (one,) = told.gpus
    assert (one.memory_total_bytes, one.memory_used_bytes, one.memory_free_bytes) == (
        141 * GIB,
        61 * GIB,
        141 * GIB - 61 * GIB - GIB // 2,
    )
    assert one.processes is not None
    assert [(found.pid, found.memory_bytes, found.run_name) for found in one.processes] == [
        (50, 60 * GIB, "berth-x-1-1"),
        (60, None, ""),
    ]


def test_one_process_on_two_gpus_holds_on_each_what_it_holds_there(node: Node) -> None:
    gpus = [FakeGpu(uuid=f"GPU-{n}", compute=[process(50, (n + 1) * GIB)]) for n in range(2)]
    polling(driver(*gpus)).tick()
    assert [gpu.processes[0].memory_bytes for gpu in reading().gpus if gpu.processes] == [GIB, 2 * GIB]


def test_without_a_driver_the_reading_says_why(node: Node) -> None:
    fake = FakeNvml()
    fake.errors["nvmlInit"] = 12
    polling(DriverSource(library=Nvml(module=fake))).tick()
    assert (reading().source, reading().reason, reading().gpus) == (
        "",
        "No NVIDIA driver answers on this host (error 12).",
        (),
    )
    assert not Gpu.objects.exists()


def test_a_gpu_that_is_cut_into_instances_says_that_it_cannot_be_given_whole(node: Node) -> None:
    polling(driver(FakeGpu(uuid="GPU-a", mig=1), FakeGpu(uuid="GPU-b"))).tick()
    assert [gpu.error[:9] for gpu in reading().gpus] == ["MIG is on", ""]
    assert list(Gpu.objects.values_list("name", flat=True)) == ["NVIDIA H200 (MIG)", "NVIDIA H200"]


class Hanging:
    """A driver whose calls return when a test lets them."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0

    def measure(self) -> Measurement:
        self.calls += 1
        self.release.wait(30)
        return Measurement(source="nvml", driver="1")


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.release.set()


def test_a_driver_that_hangs_is_told_and_nothing_old_is_repeated(
    node: Node, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "PATIENCE_S", 0.02)
    poller = polling(hanging)
    for _ in range(3):
        poller.tick()
    assert reading().gpus == ()
    assert reading().reason.startswith("The driver has not answered for")
    assert hanging.calls == 1, "nothing else is asked of a driver that hangs"
    hanging.release.set()
    monkeypatch.setattr(poller_module, "PATIENCE_S", 5)
    poller.tick()
    assert reading().reason == ""
    poller.stop()


def test_what_was_read_before_a_hang_is_not_told_after_it() -> None:
    release = threading.Event()

    class Held:
        """The first answer takes long: what it says was read before."""

        answers = 0

        def measure(self) -> Measurement:
            self.answers += 1
            first = self.answers == 1
            if first:
                release.wait(30)
            old = GpuReading(uuid="GPU-a", index=0, memory_used_bytes=1 if first else 2)
            facts = (GpuFacts(uuid="GPU-a", index=0, name="H200", memory_total_bytes=GIB),) if first else None
            return Measurement(source="nvml", states=(old,), facts=facts)

    held = Held()
    measurer = Measurer(held)
    assert measurer.measure(0.01) is None
    release.set()
    found = measurer.measure(5)
    assert found is not None
    assert [gpu.memory_used_bytes for gpu in found.states] == [2]
    assert held.answers == 2
    assert [facts.uuid for facts in found.facts or ()] == ["GPU-a"], "what the GPUs are is told once a minute"
    measurer.stop()


def test_a_fault_while_measuring_is_a_reason_and_not_the_end(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def measure(self) -> Measurement:
            raise RuntimeError("a fault of ours")

    poller = polling(Broken())
    for _ in range(2):
        poller.tick()
    assert reading().reason == "The GPUs could not be measured: a fault of ours"
    assert "Traceback" in caplog.text


# Rows


def test_gpus_get_a_row_that_follows_them(node: Node) -> None:
    one, other = FakeGpu(uuid="GPU-a", links=("switch",)), FakeGpu(uuid="GPU-b", links=("switch",), numa=1)
    source = driver(one, other)
    polling(source).tick()
    first, second = Gpu.objects.all()
    assert (first.uuid, first.index, first.memory_bytes, first.nvlink_peers) == ("GPU-a", 0, 141 * GIB, ["GPU-b"])
    assert (second.numa_node, second.compute_capability, second.replay) == (1, "9.0", False)
    source.library.module.gpus.reverse()
    polling(driver(other, one)).tick()
    assert [(row.index, row.pk) for row in Gpu.objects.all()] == [(0, second.pk), (1, first.pk)]


def test_rows_are_written_when_something_changed_and_marked_once_a_minute(
    node: Node, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    poller = polling(driver(FakeGpu(uuid="GPU-a")))
    poller.tick()
    Gpu.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    with django_assert_num_queries(0):
        poller.tick()
    poller.rows_at = float("-inf")
    with django_assert_num_queries(3):
        poller.tick()
    assert timezone.now() - Gpu.objects.get().seen_at < timedelta(seconds=5)


def test_a_gpu_that_is_gone_keeps_its_row_and_is_not_seen_any_more(node: Node) -> None:
    polling(driver(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b"))).tick()
    before = timezone.now() - timedelta(hours=1)
    Gpu.objects.update(seen_at=before)
    polling(driver(FakeGpu(uuid="GPU-b"))).tick()
    assert Gpu.objects.get(uuid="GPU-a").seen_at == before
    assert Gpu.objects.get(uuid="GPU-b").seen_at > before


def test_a_node_that_has_no_row_yet_gets_its_gpus_at_the_next_tick() -> None:
    poller = polling(driver(FakeGpu(uuid="GPU-a")))
    poller.tick()
    assert not Gpu.objects.exists()
    Node.objects.create(name="gpu-01")
    poller.tick()
    assert Gpu.objects.count() == 1


# A recording


def test_a_recording_is_played_again_and_again_and_marked(node: Node) -> None:
    now = [0.0]
    poller = polling(ReplaySource(recording=Recording.read(RECORDING), name="h200x4.jsonl", clock=lambda: now[0]))
    used = []
    for second in (0, 1, 2, 3, 4, 5, 6, 7):
        now[0] = float(second)
        poller.tick()
        used.append(round((reading().gpus[1].memory_used_bytes or 0) / GIB))
    assert used == [0, 21, 89, 131, 131, 0, 0, 21]
    assert (reading().source, reading().driver) == ("replay:h200x4.jsonl", "580.159.04")
    assert [row.replay for row in Gpu.objects.all()] == [True] * 4
    assert all(not found.run_name for gpu in reading().gpus for found in gpu.processes or ())


def test_rows_of_a_recording_go_when_the_driver_is_asked_again(node: Node) -> None:
    polling(ReplaySource(recording=Recording.read(RECORDING), name="x")).tick()
    polling(driver(FakeGpu(uuid="GPU-a"))).tick()
    assert [(row.uuid, row.replay) for row in Gpu.objects.all()] == [("GPU-a", False)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("", "it is empty"),
        ("[]", "line 1: AttributeError"),
        ('{"t": 0, "gpus": [{}]}', "line 1: KeyError: 'uuid'"),
        ("\n{", "line 2: JSONDecodeError"),
    ],
)
def test_a_recording_that_cannot_be_played_is_a_reason(
    node: Node, tmp_path: Path, text: str | None, reason: str
) -> None:
    path = tmp_path / "trace.jsonl"
    if text is not None:
        path.write_text(text)
    polling(source_for(f"replay:{path}")).tick()
    assert reason in reading().reason
    assert str(path) in reading().reason


def test_the_setting_chooses_the_source(settings: Settings) -> None:
    settings.BERTH_GPU_SOURCE = f"replay:{RECORDING}"
    assert isinstance(GpuPoller("gpu-01").measurer.source, ReplaySource)
    settings.BERTH_GPU_SOURCE = ""
    assert isinstance(GpuPoller("gpu-01").measurer.source, DriverSource)


# Peaks and quarantine


def test_the_most_memory_that_a_run_held_over_all_its_gpus_is_kept(node: Node) -> None:
    run = make_run(make_config(), node=node)
    gpus = [FakeGpu(uuid=f"GPU-{n}", compute=[process(50 + n, 10 * GIB), process(60, GIB)]) for n in range(2)]
    owners = {run.run_name: frozenset({50, 51})}
    poller = polling(driver(*gpus), owners)
    poller.tick()
    assert observed_peak(run) == 20 * GIB
    gpus[0].compute[0].usedGpuMemory = 30 * GIB
    poller.tick()
    gpus[0].compute[0].usedGpuMemory = 5 * GIB
    poller.tick()
    assert observed_peak(run) == 40 * GIB
    polling(driver(*gpus), owners).tick()
    assert observed_peak(run) == 40 * GIB, "a new agent goes on from there"
    gpus[0].compute[0].usedGpuMemory = None
    gpus[1].compute[0].usedGpuMemory = 90 * GIB
    poller.tick()
    assert observed_peak(run) == 40 * GIB, "no sum of what is only partly known"


def test_a_run_that_was_never_seen_on_a_gpu_has_no_peak(node: Node) -> None:
    assert observed_peak(make_run(make_config(), node=node)) is None


def test_a_quarantine_ends_when_the_memory_has_returned(node: Node, settings: Settings) -> None:
    run = make_run(make_config(), Phase.STOPPED, node=node, gpu_uuids=["GPU-a"])
    gpu = FakeGpu(uuid="GPU-a", used=10 * GIB, compute=[process(50, 10 * GIB)])
    poller = polling(driver(gpu), {run.run_name: frozenset({50})})
    poller.tick()
    quarantine(["GPU-a"], node, {"deployment": run.pk})
    poller.quarantine_at = float("-inf")
    poller.tick()
    assert Gpu.objects.get().quarantined_at is not None
    gpu.compute, gpu.used = [], 0
    poller.quarantine_at = float("-inf")
    poller.tick()
    assert Gpu.objects.get().quarantined_at is None


# The thread


def test_the_runs_of_this_node_are_asked_for_their_pids(node: Node) -> None:
    runtime = FakeRuntime("process", images=("none",))
    use_runtime("process", runtime)
    try:
        here = make_run(small_config("here"), Phase.READY, node=node)
        ended = make_run(small_config("ended"), Phase.STOPPED, node=node)
        elsewhere = make_run(small_config("there"), Phase.READY, node=Node.objects.create(name="gpu-02"))
        for run in (here, ended, elsewhere):
            runtime.create(RunSpec(name=run.run_name, image="none", argv=()))
            runtime.start(run.run_name)
        assert members_of_runs("gpu-01") == {here.run_name: frozenset({1})}
    finally:
        use_runtime("process", None)


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("refused"), OperationalError("gone"), RuntimeError("a fault of ours")]
)
def test_an_outage_is_waited_out_with_growing_patience(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    poller = polling(driver())
    failures = iter([error] * 6)
    waited: list[float] = []

    def tick() -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        if len(waited) == 8:
            poller.stopping.set()
        return poller.stopping.is_set()

    monkeypatch.setattr(poller, "tick", tick)
    monkeypatch.setattr(poller.stopping, "wait", wait)
    monkeypatch.setattr(poller_module, "connection", type("Connection", (), {"close": staticmethod(lambda: None)}))
    monkeypatch.setattr(poller_module, "close_old_connections", lambda: None)
    poller.run()
    assert waited[:6] == [1, 2, 4, 8, MOST_BACKOFF_S, MOST_BACKOFF_S]
    assert 0 < waited[6] <= EVERY_S


def test_it_starts_measures_every_second_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    poller = polling(driver())
    monkeypatch.setattr(poller_module, "EVERY_S", 0.01)
    monkeypatch.setattr(poller, "tick", lambda: ticks.append(time.monotonic()))
    poller.start()
    deadline = time.monotonic() + 10
    while len(ticks) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    poller.stop()
    assert len(ticks) >= 5
    assert not poller.thread.is_alive()


def test_stopping_does_not_wait_for_a_driver_that_hangs(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "publish_reading", lambda _reading: None)
    poller = polling(hanging)
    poller.start()
    began = time.monotonic()
    poller.stop(timeout_s=0.05)
    assert time.monotonic() - began < 1
    hanging.release.set()
    poller.thread.join(10)
    assert not poller.thread.is_alive()


def test_stopping_what_never_started_is_nothing() -> None:
    polling(driver()).stop()
