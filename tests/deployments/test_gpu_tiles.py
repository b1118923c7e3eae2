"""GPUs as they are drawn: whose the memory is, small lines with gaps, sums."""

from __future__ import annotations

from dataclasses import replace

from deployments.gpu_readings import GpuProcess, GpuReading, NodeReading, RunReading
from deployments.presentation.gpu_tiles import (
    KnownGpu,
    Told,
    fleet_sums,
    memory_parts,
    percent,
    process_rows,
    shown_node,
    spark_path,
)

TOTAL = 100 << 30
RUN = RunReading(run_name="berth-x-5-1", deployment_id=5, config="llama3-8b", observed=("GPU-a",))
PROCESSES = (
    GpuProcess(pid=1, memory_bytes=10 << 30, run_name=RUN.run_name),
    GpuProcess(pid=2, memory_bytes=20 << 30, run_name=RUN.run_name),
    GpuProcess(pid=3, memory_bytes=5 << 30),
    GpuProcess(pid=4, memory_bytes=4 << 30, attributed=False),
    GpuProcess(pid=5, memory_bytes=3 << 30, run_name="berth-x-6-1"),
)
GPU = GpuReading(
    uuid="GPU-a",
    index=0,
    memory_total_bytes=TOTAL,
    memory_used_bytes=50 << 30,
    memory_reserved_bytes=2 << 30,
    power_watts=300,
    processes=PROCESSES,
)
NODE = NodeReading(node="gpu-01", at=1000.0, source="nvml", gpus=(GPU,), runs=(RUN,))


def test_memory_is_shared_out_by_owner() -> None:
    parts = {part.key: part for part in memory_parts(GPU, (RUN,))}
    assert {key: part.size_bytes >> 30 for key, part in parts.items()} == {
        "run:berth-x-5-1": 30,
        "run:berth-x-6-1": 3,
        "foreign": 5,
        "unknown": 4,
        "used": 8,
        "reserved": 2,
    }
    assert (parts["run:berth-x-5-1"].config, parts["run:berth-x-5-1"].deployment_id) == ("llama3-8b", 5)
    assert parts["run:berth-x-6-1"].deployment_id is None, "its node tells nothing of that run"


def test_parts_lie_side_by_side_and_the_reserved_one_ends_the_bar() -> None:
    *others, reserved = memory_parts(GPU, (RUN,))
    end = 0.0
    for part in others:
        assert part.start == end
        end = part.start + part.width
    assert reserved.start + reserved.width == 100
    assert end <= reserved.start


def test_processes_that_claim_more_than_there_is_do_not_leave_the_bar() -> None:
    greedy = replace(GPU, processes=(GpuProcess(pid=1, memory_bytes=3 * TOTAL),), memory_used_bytes=TOTAL)
    assert max(part.start + part.width for part in memory_parts(greedy, ())) <= 100


def test_without_a_size_there_is_no_bar_and_without_processes_use_is_nobodys() -> None:
    assert memory_parts(replace(GPU, memory_total_bytes=None), ()) == []
    parts = {part.key: part.size_bytes for part in memory_parts(replace(GPU, processes=None), ())}
    assert parts["used"] == 50 << 30


def test_crumbs_are_not_named() -> None:
    small = replace(GPU, processes=(), memory_used_bytes=1 << 20)
    assert not any(part.is_named for part in memory_parts(small, ()) if part.kind != "reserved")


def test_a_small_line_keeps_its_gaps() -> None:
    assert spark_path([0, 50, None, 100]) == "M86 20.0L87 10.0M89 0.0h.5"
    assert spark_path([]) == ""
    assert spark_path([None] * 90) == ""
    assert spark_path([500.0] * 2) == "M88 0.0L89 0.0", "above 100 it stays in the picture"


def test_the_fleet_is_summed_once_for_each_gpu() -> None:
    part = replace(GPU, uuid="MIG-a", parent_uuid="GPU-a")
    silent = replace(GPU, uuid="GPU-b", power_watts=None)
    sums = fleet_sums([replace(NODE, gpus=(GPU, part, silent))], nodes=3)
    assert (sums.nodes, sums.gpus, sums.power_watts) == (3, 2, 300)
    assert sums.memory_total_bytes == 2 * TOTAL
    assert fleet_sums([], nodes=0).power_watts is None


def test_processes_are_listed_largest_first_with_their_run() -> None:
    rows = process_rows(NODE)
    assert [row.process.pid for row in rows] == [2, 1, 3, 4, 5]
    assert rows[0].run == RUN
    assert rows[2].run is None


def test_a_silent_node_shows_the_gpus_that_it_had() -> None:
    shown = shown_node(Told(name="gpu-02", known=[KnownGpu(uuid="GPU-z", index=3, name="NVIDIA H200")]), now=0)
    assert shown.silent
    (tile,) = shown.tiles
    assert (tile.verdict.key, tile.short_name, tile.parts, tile.power_percent) == ("silent", "H200", (), None)


def test_a_share_is_known_only_with_both_numbers() -> None:
    assert percent(300, 600) == 50
    assert percent(900, 600) == 100
    assert percent(None, 600) is None
    assert percent(300, None) is None
