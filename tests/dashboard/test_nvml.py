"""NVML as Berth asks it: what it reads, and each way in which a driver or a GPU fails."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from dashboard.telemetry.facts import DriverUnavailableError, GpuFacts
from dashboard.telemetry.nvml import Nvml
from dashboard.telemetry.refusals import ASK_AGAIN_S
from dashboard.telemetry.source import DriverSource
from deployments.gpu_readings import GpuReading
from tests.fakes.nvml import GIB, FakeGpu, FakeNvml, process

LOST, UNKNOWN, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 15, 999, 3, 4, 6
NO_LIBRARY, NO_DRIVER, MISMATCH, NO_FUNCTION, UNINITIALISED = 12, 9, 18, 13, 1


NOBODY = "No NVIDIA driver answers on this host (error 12)."


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def two_gpus() -> tuple[FakeGpu, FakeGpu]:
    return FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b", bus="00000000:02:00.0")


def found(fake: FakeNvml, sysfs: Path = Path("/nowhere")) -> tuple[GpuFacts, ...]:
    return Nvml(module=fake, sysfs=sysfs).inventory().gpus


def states(fake: FakeNvml) -> tuple[GpuReading, ...]:
    library = Nvml(module=fake)
    library.inventory()
    return library.states()


def holding(state: GpuReading) -> tuple[tuple[int, int | None], ...] | None:
    return None if state.processes is None else tuple((one.pid, one.memory_bytes) for one in state.processes)


# What is read


def test_a_gpu_is_known_by_its_uuid_with_what_placement_needs() -> None:
    inventory = Nvml(module=FakeNvml(FakeGpu(uuid="GPU-a", numa=1))).inventory()
    assert inventory.driver == "580.159.04"
    assert inventory.gpus == (
        GpuFacts(
            uuid="GPU-a",
            index=0,
            name="NVIDIA H200",
            memory_total_bytes=141 * GIB,
            pci_bus_id="00000000:01:00.0",
            numa_node=1,
            compute_capability="9.0",
        ),
    )


def test_used_memory_leaves_out_what_the_driver_reserves() -> None:
    (state,) = states(FakeNvml(FakeGpu(uuid="GPU-a", used=60 * GIB, reserved=GIB)))
    assert state.memory_total_bytes == 141 * GIB
    assert (state.memory_used_bytes, state.memory_free_bytes, state.memory_reserved_bytes) == (
        60 * GIB,
        80 * GIB,
        GIB,
    )


def test_a_driver_that_knows_only_version_1_is_asked_that() -> None:
    gpu = FakeGpu(uuid="GPU-a", used=60 * GIB, reserved=GIB, errors={"nvmlDeviceGetMemoryInfo_v2": NO_FUNCTION})
    (state,) = states(FakeNvml(gpu))
    assert (state.memory_used_bytes, state.memory_reserved_bytes, state.error) == (61 * GIB, None, "")


def test_a_process_that_computes_and_draws_counts_once() -> None:
    gpu = FakeGpu(uuid="GPU-a", compute=[process(7, 5 * GIB)], graphics=[process(7, 5 * GIB), process(8, GIB)])
    assert holding(states(FakeNvml(gpu))[0]) == ((7, 5 * GIB), (8, GIB))


def test_a_process_on_two_instances_of_a_gpu_holds_the_sum_of_both() -> None:
    gpu = FakeGpu(uuid="GPU-a", compute=[process(7, 5 * GIB, 1), process(7, GIB, 2)])
    assert holding(states(FakeNvml(gpu))[0]) == ((7, 6 * GIB),)


def test_memory_that_the_driver_does_not_tell_is_none_and_never_a_part_of_a_sum() -> None:
    gpu = FakeGpu(uuid="GPU-a", compute=[process(7, None, 1), process(7, GIB, 2), process(8, None)])
    assert holding(states(FakeNvml(gpu))[0]) == ((7, None), (8, None))


def test_nothing_is_zero_unless_the_driver_said_zero() -> None:
    gpu = FakeGpu(uuid="GPU-a")
    fake = FakeNvml(gpu)
    library = Nvml(module=fake)
    library.inventory()
    assert library.states()[0].memory_used_bytes == 0
    gpu.errors["*"] = UNKNOWN
    (state,) = library.states()
    assert (state.state, state.error, state.processes_error) == ("lost", "error 999", "error 999")
    assert (state.memory_used_bytes, state.power_watts, state.processes) == (None, None, None)
    assert set(state.missing.values()) == {"error"}


@pytest.mark.parametrize(("text", "node"), [("1\n", 1), ("-1\n", None), ("", None), (None, None)])
def test_the_kernel_knows_the_numa_node_where_the_driver_does_not(
    tmp_path: Path, text: str | None, node: int | None
) -> None:
    if text is not None:
        (tmp_path / "0000:01:00.0").mkdir()
        (tmp_path / "0000:01:00.0" / "numa_node").write_text(text)
    gpu = FakeGpu(uuid="GPU-a", errors={"nvmlDeviceGetNumaNodeId": NO_FUNCTION})
    assert found(FakeNvml(gpu), tmp_path)[0].numa_node == node


# NVLink


@pytest.mark.parametrize("pairs", [True, False])
def test_gpus_that_are_linked_directly_are_peers_and_others_are_not(pairs: bool) -> None:
    one, other = two_gpus()
    third = FakeGpu(uuid="GPU-c", bus="00000000:03:00.0")
    one.links, other.links = ("", other.bus), (one.bus,)
    assert [gpu.nvlink_peers for gpu in found(FakeNvml(one, other, third, pairs=pairs))] == [
        ("GPU-b",),
        ("GPU-a",),
        (),
    ]


@pytest.mark.parametrize("pairs", [True, False])
def test_gpus_on_nvswitches_are_one_island(pairs: bool) -> None:
    gpus = [FakeGpu(uuid=f"GPU-{n}", bus=f"00000000:0{n}:00.0", links=("switch",) * 4) for n in range(4)]
    for gpu in found(FakeNvml(*gpus, pairs=pairs)):
        assert set(gpu.nvlink_peers) == {other.uuid for other in gpus} - {gpu.uuid}


def test_a_gpu_without_links_has_no_peers() -> None:
    one, other = two_gpus()
    one.errors["nvmlDeviceGetNvLinkState"] = other.errors["nvmlDeviceGetNvLinkState"] = NOT_SUPPORTED
    assert [gpu.nvlink_peers for gpu in found(FakeNvml(one, other, pairs=False))] == [(), ()]


# Failing GPUs


@pytest.mark.parametrize("code", [LOST, UNKNOWN, NO_PERMISSION])
def test_a_gpu_that_is_lost_does_not_stop_the_others(code: int) -> None:
    one, other = two_gpus()
    library = Nvml(module=FakeNvml(one, other))
    library.inventory()
    one.errors["*"] = code
    lost, well = library.states()
    assert lost.memory_used_bytes is None
    assert lost.processes is None
    assert f"error {code}" in lost.error
    assert (well.uuid, well.error, well.memory_used_bytes) == ("GPU-b", "", 0)


def test_a_lost_gpu_keeps_its_uuid_when_gpus_are_looked_for_again() -> None:
    one, other = two_gpus()
    library = Nvml(module=FakeNvml(one, other))
    library.inventory()
    one.errors["*"] = LOST
    library.inventory()
    inventory = library.inventory()
    assert [gpu.uuid for gpu in inventory.gpus] == ["GPU-b"]
    assert inventory.failed == ((0, "GPU-a", "error 15"),)
    assert [(state.uuid, state.error) for state in library.states()] == [("GPU-a", "error 15"), ("GPU-b", "")]


def test_two_gpus_that_never_told_their_uuid_stay_two() -> None:
    one, other = two_gpus()
    one.errors["*"] = other.errors["*"] = LOST
    library = Nvml(module=FakeNvml(one, other))
    for _ in range(2):
        library.inventory()
        assert [(gpu.uuid, gpu.state) for gpu in library.states()] == [("unknown-0", "lost"), ("unknown-1", "lost")]
    other.errors.clear()
    library.inventory()
    assert [(gpu.uuid, gpu.state) for gpu in library.states()] == [("unknown-0", "lost"), ("GPU-b", "ok")]


def test_a_gpu_that_recovers_is_measured_again() -> None:
    one, other = two_gpus()
    one.errors["*"] = LOST
    library = Nvml(module=FakeNvml(one, other))
    assert len(library.inventory().gpus) == 1
    one.errors.clear()
    assert len(library.inventory().gpus) == 2


def test_an_index_that_is_not_found_is_passed_over_and_a_gpu_in_instances_is_marked() -> None:
    gap, whole, cut = FakeGpu(uuid=""), FakeGpu(uuid="GPU-b"), FakeGpu(uuid="GPU-c", mig=1)
    gap.errors["*"] = NOT_FOUND
    inventory = Nvml(module=FakeNvml(gap, whole, cut)).inventory()
    assert [(gpu.index, gpu.mig) for gpu in inventory.gpus] == [(1, False), (2, True)]
    assert inventory.failed == ()


def test_what_a_gpu_does_not_support_is_asked_again_after_an_hour() -> None:
    clock = Clock()
    gpu = FakeGpu(uuid="GPU-a", errors={"nvmlDeviceGetComputeRunningProcesses": NOT_SUPPORTED})
    library = Nvml(module=FakeNvml(gpu), clock=clock)
    library.inventory()
    for _ in range(3):
        state = library.states()[0]
        assert (state.processes, state.processes_error) == (None, "error 3")
        assert (state.error, state.memory_used_bytes) == ("", 0)
    assert gpu.asked.count("nvmlDeviceGetComputeRunningProcesses") == 1
    gpu.errors.clear()
    clock.now += ASK_AGAIN_S + 1
    assert library.states()[0].processes == ()


def test_a_card_without_graphics_processes_still_lists_those_that_compute() -> None:
    errors = {"nvmlDeviceGetGraphicsRunningProcesses": NOT_SUPPORTED}
    (state,) = states(FakeNvml(FakeGpu(uuid="GPU-a", compute=[process(7)], errors=errors)))
    assert (holding(state), state.error) == (((7, GIB),), "")


# A failing driver


@pytest.mark.parametrize("code", [NO_LIBRARY, NO_DRIVER, MISMATCH])
def test_without_a_driver_the_reason_is_told(code: int) -> None:
    fake = FakeNvml(FakeGpu(uuid="GPU-a"))
    fake.errors["nvmlInit"] = code
    with pytest.raises(DriverUnavailableError):
        Nvml(module=fake).inventory()


def test_the_real_library_is_missing_here_or_works() -> None:
    library = Nvml()
    reason, driver = "", ""
    try:
        driver = library.inventory().driver
    except DriverUnavailableError as error:
        reason = str(error)
    library.close()
    assert driver or reason


@pytest.mark.parametrize("code", [MISMATCH, UNINITIALISED, NO_DRIVER])
@pytest.mark.parametrize("function", ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses"])
def test_a_driver_that_changes_under_it_is_opened_again(function: str, code: int) -> None:
    fake = FakeNvml(FakeGpu(uuid="GPU-a"))
    clock = Clock()
    source = DriverSource(library=Nvml(module=fake), clock=clock)
    assert source.measure().states
    fake.gpus[0].errors[function] = code
    assert source.measure().reason
    fake.gpus[0].errors.clear()
    clock.now += 6
    again = source.measure()
    assert (fake.inits, len(again.states), again.facts is not None) == (2, 1, True)


def test_handles_are_not_used_in_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(FakeGpu(uuid="GPU-a"))
    library = Nvml(module=fake)
    library.inventory()
    parent = os.getpid()
    monkeypatch.setattr("dashboard.telemetry.nvml.os.getpid", lambda: parent + 1)
    with pytest.raises(DriverUnavailableError):
        library.states()
    library.inventory()
    assert fake.inits == 2


def test_without_a_driver_it_is_asked_again_after_5_to_60_seconds() -> None:
    fake = FakeNvml(FakeGpu(uuid="GPU-a"))
    fake.errors["nvmlInit"] = NO_LIBRARY
    clock = Clock()
    attempts: list[float] = []

    class Watched(Nvml):
        def open(self) -> None:
            attempts.append(clock.now)
            super().open()

    source = DriverSource(library=Watched(module=fake), clock=clock)
    for _second in range(200):
        measured = source.measure()
        assert (measured.source, measured.states, measured.reason) == ("", (), NOBODY)
        clock.now += 1
    waits = [int(later - earlier) for earlier, later in itertools.pairwise(attempts)]
    assert waits == [5, 10, 20, 40, 60, 60]
    fake.errors.clear()
    clock.now += 60
    assert source.measure().source == "nvml"


def test_gpus_are_looked_for_once_a_minute_and_measured_each_time() -> None:
    gpu = FakeGpu(uuid="GPU-a")
    clock = Clock()
    source = DriverSource(library=Nvml(module=FakeNvml(gpu)), clock=clock)
    found_at = []
    for second in range(121):
        if source.measure().facts is not None:
            found_at.append(second)
        clock.now += 1
    assert found_at == [0, 60, 120]
    assert gpu.asked.count("nvmlDeviceGetComputeRunningProcesses") == 121


def test_a_driver_without_gpus_says_so() -> None:
    measured = DriverSource(library=Nvml(module=FakeNvml())).measure()
    assert (measured.source, measured.reason) == ("nvml", "The driver runs and finds no GPU.")
