"""Snapshots and deltas: a page that applies them holds what was measured last."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gpu_frames import Fleet, reading_of
from deployments.gpu_readings import GpuProcess, GpuReading, HostReading, NodeReading, RunReading
from tests.deployments.gpu_pages import Mirror

NODES = ("gpu-01", "gpu-02", "gpu-03")
numbers = st.none() | st.integers(0, 3)
processes = st.builds(GpuProcess, pid=st.integers(1, 3), memory_bytes=numbers)
gpus = st.builds(
    GpuReading,
    uuid=st.sampled_from(("GPU-a", "GPU-b", "GPU-c")),
    index=st.integers(0, 2),
    state=st.sampled_from(("ok", "lost")),
    memory_used_bytes=numbers,
    utilization_gpu_percent=numbers,
    limiters=st.sampled_from(((), ("power_cap",), ("idle", "sync"))),
    limited_s=st.dictionaries(st.just("power_cap"), st.integers(0, 2)),
    missing=st.dictionaries(st.sampled_from(("fan_percent", "xid")), st.just("not_supported")),
    processes=st.none() | st.lists(processes, max_size=2).map(tuple),
)
runs = st.builds(
    RunReading,
    run_name=st.sampled_from(("berth-1", "berth-2")),
    deployment_id=st.integers(1, 2),
    config=st.sampled_from(("llama3-8b", "qwen2-72b_4")),
    memory_bytes=numbers,
)
readings = st.builds(
    NodeReading,
    node=st.sampled_from(NODES),
    at=st.integers(0, 3).map(float),
    source=st.sampled_from(("", "nvml", "replay:h200x4")),
    reason=st.sampled_from(("", "No driver.")),
    gpus=st.lists(gpus, max_size=3, unique_by=lambda gpu: gpu.uuid).map(tuple),
    runs=st.lists(runs, max_size=2).map(tuple),
    host=st.none() | st.builds(HostReading, cpu_percent=numbers, cpu_count=numbers),
)


@given(st.lists(st.lists(readings, min_size=1, max_size=3, unique_by=lambda reading: reading.node), max_size=6))
def test_what_a_page_applies_is_the_newest_reading_of_each_node(rounds: list[list[NodeReading]]) -> None:
    fleet, page = Fleet(), Mirror()
    newest: dict[str, dict[str, Any]] = {}
    page.take(fleet.load([], stale={}).text)
    for together in rounds:
        taken = [reading_of(reading.to_json()) for reading in together]
        newest |= {reading["node"]: reading for reading in taken}
        page.take(fleet.update(taken).text)
        assert page.nodes == newest
        assert Mirror().take(fleet.snapshot().text).nodes == newest


def test_a_delta_has_only_what_changed() -> None:
    def taken(at: float, used: int, **others: Any) -> dict[str, Any]:
        both = tuple(GpuReading(uuid=f"GPU-{n}", index=n, memory_used_bytes=used * n, name="H200") for n in (0, 1))
        return reading_of(NodeReading(node="gpu-01", at=at, source="nvml", gpus=both, **others).to_json())

    fleet = Fleet()
    fleet.load([taken(1, 10)], stale={})
    assert json.loads(fleet.update([taken(2, 20)]).text) == {
        "type": "delta",
        "nodes": [{"node": "gpu-01", "at": 2.0, "gpus": {"GPU-1": {"memory_used_bytes": 20}}}],
        "seq": 2,
    }
    run = RunReading(run_name="berth-1", deployment_id=1, config="llama3-8b")
    changed = json.loads(fleet.update([taken(3, 20, runs=(run,), host=HostReading(load_1m=1.5))]).text)["nodes"][0]
    assert changed["gpus"] == {}
    assert changed["runs"][0]["config"] == "llama3-8b"
    assert changed["runs"][0]["hue"].startswith("hue-")
    assert changed["host"]["load_1m"] == 1.5


def test_a_silent_node_is_stale_until_it_says_something() -> None:
    fleet = Fleet()
    reading = reading_of(NodeReading(node="gpu-01", at=1).to_json())
    fleet.load([reading], stale={})
    page = Mirror().take(fleet.snapshot().text)
    page.take(fleet.mark_stale("gpu-01", since=5).text)
    assert page.stale == {"gpu-01": 5} == Mirror().take(fleet.snapshot().text).stale
    page.take(fleet.update([reading]).text)
    assert page.stale == {} == Mirror().take(fleet.snapshot().text).stale


def test_a_node_that_is_forgotten_is_in_no_snapshot() -> None:
    fleet = Fleet()
    both = [reading_of(NodeReading(node=node, at=1).to_json()) for node in NODES[:2]]
    fleet.load(both, stale={"gpu-01": 2.0, "gpu-02": 3.0})
    page = Mirror().take(fleet.forget("gpu-01").text)
    assert list(page.nodes) == ["gpu-02"]
    assert page.stale == {"gpu-02": 3.0}


def test_a_snapshot_is_encoded_once_for_each_frame() -> None:
    fleet = Fleet()
    fleet.load([reading_of(NodeReading(node="gpu-01", at=1).to_json())], stale={})
    assert fleet.snapshot() is fleet.snapshot()
    marked = json.loads(fleet.snapshot().with_dropped(7).text)
    assert marked == {**json.loads(fleet.snapshot().text), "dropped": 7}


@pytest.mark.parametrize(
    "text", ["", "3", "[]", "{}", '{"node":3,"at":1,"gpus":[]}', '{"node":"n","at":"x","gpus":[]}']
)
def test_what_is_no_reading_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        reading_of(text)


def test_not_a_number_is_nothing_to_a_browser() -> None:
    fleet = Fleet()
    fleet.load([reading_of('{"node":"n","at":1,"gpus":[{"uuid":"a","power_watts":NaN}]}')], stale={})
    assert "NaN" not in fleet.snapshot().text
