"""Samples become buckets, and buckets coarser ones, without anything being invented."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.gpu_history.blocks import (
    first_of,
    pack,
    pack_sample,
    to_buckets,
    to_columns,
    unpack,
    unpack_sample,
    with_gaps,
)
from deployments.gpu_history.buckets import FOREIGN, MASK, Bucket, RunMemory, in_order, roll_up, sample
from deployments.gpu_readings import LIMITERS, GpuProcess, GpuReading, RunReading
from tests.deployments.gpu_past import NOON, recorded, recorded_runs

RUNS = (
    RunReading(run_name="berth-x-7-1", deployment_id=7, config="llama3-8b"),
    RunReading(run_name="berth-x-8-1", deployment_id=8, config="qwen2-7b"),
)
#: They write and read a lot; more examples find no more.
few = settings(max_examples=50)
percents = st.none() | st.integers(0, 1000).map(lambda tenths: tenths / 10)
sizes = st.none() | st.integers(0, 2**40)


@st.composite
def processes(draw: st.DrawFn) -> tuple[GpuProcess, ...] | None:
    names = draw(st.none() | st.lists(st.sampled_from(["berth-x-7-1", "berth-x-8-1", ""]), max_size=4))
    if names is None:
        return None
    return tuple(GpuProcess(pid=pid, run_name=name, memory_bytes=draw(sizes)) for pid, name in enumerate(names))


@st.composite
def samples(draw: st.DrawFn) -> list[Bucket]:
    """Some seconds of up to ten minutes, of which many are missing."""
    seconds = sorted(draw(st.sets(st.integers(0, 600), min_size=1, max_size=25)))
    found = []
    for second in seconds:
        gpu = GpuReading(
            uuid="GPU-a",
            index=0,
            memory_used_bytes=draw(sizes),
            utilization_gpu_percent=draw(percents),
            temperature_gpu_celsius=41,
            limiters=tuple(draw(st.sets(st.sampled_from(LIMITERS)))),
            processes=draw(processes()),
        )
        one = sample(gpu, RUNS, at=NOON + second)
        assert one is not None
        found.append(one)
    return found


def within(buckets: Sequence[Bucket], coarse: Bucket, step_s: int) -> list[Bucket]:
    return [bucket for bucket in buckets if coarse.at <= bucket.at < coarse.at + step_s]


@pytest.mark.parametrize("step_s", [10, 60])
@few
@given(fine=samples())
def test_a_bucket_has_count_mean_and_extremes_of_exactly_its_samples(fine: list[Bucket], step_s: int) -> None:
    coarse = roll_up(fine, step_s=step_s)
    assert sum(bucket.samples for bucket in coarse) == len(fine)
    assert {bucket.at for bucket in coarse} == {one.at // step_s * step_s for one in fine}
    for bucket in coarse:
        inside = within(fine, bucket, step_s)
        assert bucket.samples == len(inside)
        for name in ("memory_used_bytes", "utilization_gpu_percent", FOREIGN):
            known = [one.values[name].mean for one in inside if name in one.values]
            if not known:
                assert name not in bucket.values
                continue
            value = bucket.values[name]
            assert (value.samples, value.min, value.max) == (len(known), min(known), max(known))
            assert value.min <= value.mean <= value.max
            assert value.mean == pytest.approx(math.fsum(known) / len(known), abs=0.51 if "bytes" in name else 0.051)


@few
@given(fine=samples())
def test_minutes_from_tens_are_minutes_from_seconds(fine: list[Bucket]) -> None:
    direct, stepwise = roll_up(fine, step_s=60), roll_up(roll_up(fine, step_s=10), step_s=60)
    for one, other in zip(direct, stepwise, strict=True):
        assert (one.at, one.samples, one.known, one.values.keys()) == (
            other.at,
            other.samples,
            other.known,
            other.values.keys(),
        )
        for name, value in one.values.items():
            assert (value.samples, value.min, value.max) == (
                other.values[name].samples,
                other.values[name].min,
                other.values[name].max,
            )
            assert value.mean == pytest.approx(other.values[name].mean, abs=1.1 if "bytes" in name else 0.11)


@few
@given(fine=samples())
def test_the_mask_says_what_ever_held_and_what_held_throughout(fine: list[Bucket]) -> None:
    for bucket in roll_up(fine, step_s=60):
        masks = [int(one.values[MASK].mean) for one in within(fine, bucket, 60)]
        ever, always = 0, ~0
        for mask in masks:
            ever, always = ever | mask, always & mask
        value = bucket.values[MASK]
        assert (value.mean, value.min, value.max) == (ever, always, ever)


@few
@given(fine=samples())
def test_what_is_written_is_read_again(fine: list[Bucket]) -> None:
    assert [unpack_sample(pack_sample(one)) for one in fine] == fine
    for step_s in (10, 60):
        coarse = roll_up(fine, step_s=step_s)
        columns = to_columns(coarse, step_s=step_s)
        packed = pack(columns)
        assert first_of(packed) == coarse[0].at
        again = unpack(packed)
        assert again == columns.__class__(**{**vars(columns), "fields": list(columns.fields)})
        # A run that held nothing is as good as absent.
        assert to_buckets(again) == [
            Bucket(**{**vars(bucket), "runs": {pk: run for pk, run in bucket.runs.items() if run.mean_bytes != 0}})
            for bucket in coarse
        ]


@few
@given(fine=samples())
def test_each_gap_is_marked_once_and_nothing_else_is_added(fine: list[Bucket]) -> None:
    coarse = roll_up(fine, step_s=10)
    marked = with_gaps(coarse, step_s=10)
    assert [bucket for bucket in marked if bucket.samples] == coarse
    gaps = sum(after.at - before.at > 10 for before, after in pairwise(coarse))
    assert sum(not bucket.samples for bucket in marked) == gaps
    assert all(before.samples or after.samples for before, after in pairwise(marked))


@few
@given(fine=samples(), data=st.data())
def test_after_the_clock_was_set_back_the_later_measurement_counts(fine: list[Bucket], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(fine) - 1))
    again = [Bucket(at=one.at, samples=1, known=1) for one in fine[cut:]]
    assert in_order([*fine, *again]) == [*fine[:cut], *again]


def test_a_gpu_of_which_nothing_is_known_is_a_gap() -> None:
    assert sample(GpuReading(uuid="GPU-a", index=0, state="lost", processes=()), (), at=NOON) is None


def test_what_is_no_number_is_not_kept() -> None:
    found = sample(GpuReading(uuid="GPU-a", index=0, power_watts=math.nan, temperature_gpu_celsius=40), (), at=NOON)
    assert found is not None
    assert "power_watts" not in found.values


# Whose the memory is


def memory(*on_it: GpuProcess) -> tuple[dict[int, float | None], float | None]:
    found = sample(GpuReading(uuid="GPU-a", index=0, memory_used_bytes=1, processes=on_it), RUNS, at=NOON)
    assert found is not None
    foreign = found.values.get(FOREIGN)
    return {pk: run.mean_bytes for pk, run in found.runs.items()}, foreign.mean if foreign else None


def test_memory_is_told_by_deployment_and_foreign_apart() -> None:
    ours = (
        GpuProcess(pid=1, memory_bytes=10, run_name="berth-x-7-1"),
        GpuProcess(pid=2, memory_bytes=5, run_name="berth-x-7-1"),
        GpuProcess(pid=3, memory_bytes=7, run_name="berth-x-8-1"),
    )
    assert memory(*ours, GpuProcess(pid=4, memory_bytes=3)) == ({7: 15, 8: 7}, 3)
    assert memory() == ({}, 0)


def test_a_sum_is_known_only_when_every_part_is() -> None:
    parts = (
        GpuProcess(pid=1, memory_bytes=None, run_name="berth-x-7-1"),
        GpuProcess(pid=2, memory_bytes=5, run_name="berth-x-7-1"),
    )
    assert memory(*parts) == memory(*reversed(parts)) == ({7: None}, 0)
    assert memory(GpuProcess(pid=1), GpuProcess(pid=2, memory_bytes=3)) == ({}, None)


def test_while_nobody_can_tell_whose_a_process_is_it_is_not_called_foreign() -> None:
    silent = GpuProcess(pid=1, memory_bytes=9, attributed=False)
    assert memory(silent, GpuProcess(pid=2, memory_bytes=3)) == ({}, None)


def test_a_run_of_ours_that_is_not_listed_is_not_foreign() -> None:
    assert memory(GpuProcess(pid=1, memory_bytes=9, run_name="berth-x-99-1")) == ({}, 0)


def test_before_it_came_and_after_it_went_a_run_held_nothing() -> None:
    def second(at: int, *on_it: GpuProcess) -> Bucket:
        found = sample(GpuReading(uuid="GPU-a", index=0, memory_used_bytes=1, processes=on_it), RUNS, at=NOON + at)
        assert found is not None
        return found

    holding = GpuProcess(pid=1, memory_bytes=100, run_name="berth-x-7-1")
    (bucket,) = roll_up([second(0), second(1, holding), second(2, holding), second(3)], step_s=10)
    assert bucket.runs == {7: RunMemory(config="llama3-8b", mean_bytes=50)}


def test_the_recording_keeps_its_peak_through_every_resolution() -> None:
    """130 GiB were held on the second GPU; a week later its chart still has that peak."""
    seconds = [
        found
        for second, gpus in enumerate(recorded())
        if (found := sample(gpus[1], recorded_runs(), at=NOON + second)) is not None
    ]
    assert len(seconds) == 150
    minutes = roll_up(roll_up(seconds, step_s=10), step_s=60)
    assert [bucket.samples for bucket in minutes] == [60, 60, 30]
    for name in ("memory_used_bytes", "power_watts", "temperature_gpu_celsius"):
        assert max(bucket.values[name].max for bucket in minutes) == max(one.values[name].mean for one in seconds)
    assert max(run.mean_bytes or 0 for bucket in minutes for run in bucket.runs.values()) > 100 * 2**30
