"""The history of GPUs: written second by second, read as charts, over restarts, gaps, outages and clocks set back."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
import redis

from deployments import gpu_history
from deployments.exceptions import InvalidInputError
from deployments.gpu_history import mark, series, sparklines, streams
from deployments.gpu_history import writer as writer_module
from deployments.gpu_history.blocks import Columns, to_buckets
from deployments.gpu_history.buckets import FIELDS, Bucket
from deployments.gpu_history.streams import MINUTES, SECONDS, TENS, key_of
from deployments.gpu_history.writer import HistoryWriter
from deployments.gpu_readings import GpuProcess, NodeReading, RunReading
from deployments.redis import RedisError
from tests.deployments.gpu_past import NODE, NOON, UUID, one_gpu, recorded, recorded_runs

pytestmark = pytest.mark.usefixtures("redis_server")
USED = "utilization_gpu_percent"
RUN = RunReading(run_name="berth-x-7-1", deployment_id=7, config="llama3-8b")


def write(seconds: Iterable[float], *, writer: HistoryWriter | None = None, used: float = 50.0) -> HistoryWriter:
    """A reading at each of these seconds after noon."""
    writer = writer or HistoryWriter()
    for second in seconds:
        writer.record(one_gpu(NOON + second, utilization_gpu_percent=used))
    return writer


def drawn(range_name: str, *, after: float) -> dict[str, Any]:
    """The chart so many seconds after noon."""
    return series(UUID, node=NODE, range_name=range_name, now=NOON + after)


def columns(chart: dict[str, Any]) -> list[tuple[int, int, float | None]]:
    """Second after noon, samples and mean of the utilisation of each column."""
    return [
        (int(at - NOON), samples, mean)
        for at, samples, mean in zip(chart["at"], chart["samples"], chart["fields"][USED]["mean"], strict=True)
    ]


# What is kept


def test_each_second_stands_in_the_chart_at_once() -> None:
    write(range(3))
    chart = drawn("15m", after=3)
    assert (chart["range"], chart["step_s"], chart["from"], chart["to"]) == ("15m", 1, NOON - 897, NOON + 3)
    assert columns(chart) == [(0, 1, 50), (1, 1, 50), (2, 1, 50)]
    assert chart["fields"].keys() == FIELDS.keys()
    assert chart["fields"][USED].keys() == {"mean"}


def test_the_coarse_charts_have_what_is_in_no_block_yet() -> None:
    writer = write(range(45), used=10)
    write([45], writer=writer, used=90)
    assert columns(drawn("6h", after=46)) == [(0, 10, 10), (10, 10, 10), (20, 10, 10), (30, 10, 10), (40, 6, 23.3)]
    (minute,) = columns(drawn("24h", after=46))
    assert minute == (0, 46, 11.7)
    value = drawn("24h", after=46)["fields"][USED]
    assert (value["min"], value["max"]) == ([10], [90])


@pytest.mark.slow
def test_the_charts_go_on_over_the_ends_of_blocks() -> None:
    write(range(1, 3 * 3600, 7))
    now = 3 * 3600
    tens, minutes = columns(drawn("6h", after=now)), columns(drawn("24h", after=now))
    assert [at for at, _samples, _mean in tens] == list(range(0, now, 10))
    assert [at for at, _samples, _mean in minutes] == list(range(0, now, 60))
    for found in (tens, minutes):
        assert sum(samples for _at, samples, _mean in found) == len(range(1, now, 7))
        assert {mean for _at, _samples, mean in found} == {50}


def test_a_block_is_taken_apart_once_however_often_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    write(range(1, 1500, 10), used=37.5)
    taken: list[float] = []

    def take_apart(block: Columns) -> list[Bucket]:
        taken.append(block.first)
        return to_buckets(block)

    monkeypatch.setattr(streams, "to_buckets", take_apart)
    first = columns(drawn("24h", after=1500))
    assert len(taken) == len(set(taken)) == 12  # of two minutes each
    assert columns(drawn("24h", after=1501)) == first
    assert len(taken) == 12


def test_the_recording_is_drawn_as_it_was_measured() -> None:
    writer = HistoryWriter()
    for second, gpus in enumerate(recorded()):
        writer.record(NodeReading(node=NODE, at=NOON + second, gpus=gpus, runs=recorded_runs()))
    for index, gpu in enumerate(recorded()[0]):
        chart = series(gpu.uuid, node=NODE, range_name="15m", now=NOON + 150)
        watts = [round(gpus[index].power_watts or 0, 1) for gpus in recorded()]
        assert chart["fields"]["power_watts"]["mean"] == watts
        assert chart["fields"]["sm_active_percent"]["mean"] == [None] * 150, "the recording has none"
        coarse = series(gpu.uuid, node=NODE, range_name="24h", now=NOON + 150)
        assert coarse["samples"] == [60, 60, 30]
        assert max(coarse["fields"]["power_watts"]["max"]) == max(watts)
        (run,) = coarse["runs"].items()
        assert (run[0], run[1]["config"]) == (str(index + 1), f"config-{index + 1}")


@pytest.mark.slow
def test_each_stream_is_bounded(redis_server: redis.Redis) -> None:
    write(range(1200))
    assert redis_server.xlen(key_of(NODE, UUID, SECONDS)) <= SECONDS.entries + 100  # whole nodes are dropped
    write(range(1200, 9 * 3600, 60))
    assert redis_server.xlen(key_of(NODE, UUID, TENS)) <= TENS.entries + 100
    for level in (SECONDS, TENS, MINUTES):
        assert 0 < int(redis_server.ttl(key_of(NODE, UUID, level))) <= 8 * 86_400
    assert len(columns(drawn("6h", after=9 * 3600))) <= 6 * 360 + 2
    assert columns(drawn("6h", after=9 * 3600))[0][0] >= 3 * 3600 - 10


def test_gpus_and_nodes_are_kept_apart() -> None:
    writer = HistoryWriter()
    writer.record(one_gpu(NOON, utilization_gpu_percent=1))
    writer.record(one_gpu(NOON, utilization_gpu_percent=2, uuid="GPU-b"))
    assert columns(drawn("15m", after=1)) == [(0, 1, 1)]
    assert series(UUID, node="gpu-02", range_name="15m", now=NOON + 1)["at"] == []


# Gaps


def test_a_gap_stays_a_gap_at_every_resolution() -> None:
    write([*range(60), *range(300, 360), *range(7200, 7260)])
    now = 7260
    assert [at for at, samples, mean in columns(drawn("6h", after=now)) if not samples and mean is None] == [60, 360]
    assert columns(drawn("24h", after=now)) == [
        (0, 60, 50),
        (60, 0, None),
        (300, 60, 50),
        (360, 0, None),
        (7200, 60, 50),
    ]


def test_one_late_reading_is_no_gap_and_three_missing_are_one() -> None:
    write([0, 1, 3, 4, 8])
    assert columns(drawn("15m", after=9)) == [(0, 1, 50), (1, 1, 50), (3, 1, 50), (4, 1, 50), (5, 0, None), (8, 1, 50)]


def test_what_the_driver_did_not_say_is_null_and_not_zero() -> None:
    writer = HistoryWriter()
    writer.record(one_gpu(NOON, power_watts=100.0))
    writer.record(one_gpu(NOON + 1))
    assert drawn("15m", after=2)["fields"]["power_watts"]["mean"] == [100, None]
    assert drawn("6h", after=2)["fields"]["power_watts"] == {"mean": [100], "min": [100], "max": [100]}
    assert drawn("6h", after=2)["fields"]["sm_active_percent"]["mean"] == [None]


# Restarts


@pytest.mark.slow
@pytest.mark.parametrize("ends", [[5], [117], [120], [130], [3590], [3600], [3610], [50, 130, 140, 3000, 3650]])
def test_a_new_agent_completes_what_was_half_made(ends: list[int], redis_server: redis.Redis) -> None:
    seconds = range(0, 4000, 9)
    write(seconds)
    uninterrupted = [drawn(name, after=4000) for name in ("6h", "24h")]
    redis_server.flushall()
    for begin, end in zip([0, *ends], [*ends, 4000], strict=True):
        write(second for second in seconds if begin <= second < end)
    assert [drawn(name, after=4000) for name in ("6h", "24h")] == uninterrupted


def test_what_was_measured_before_a_night_without_an_agent_is_completed_after_it() -> None:
    write(range(90))
    write(range(10 * 3600, 10 * 3600 + 30))
    assert columns(drawn("24h", after=10 * 3600 + 30)) == [
        (0, 60, 50),
        (60, 30, 50),
        (120, 0, None),
        (10 * 3600, 30, 50),
    ]


# Clocks


def test_a_clock_that_is_set_back_breaks_nothing_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    writer = write(range(130), used=10)
    with caplog.at_level(logging.WARNING):
        write(range(90, 400), writer=writer, used=90)
    assert [record.getMessage() for record in caplog.records] == [
        "The clock was set back by 39 s: the GPU history of that time is written again"
    ]
    assert columns(drawn("15m", after=400)) == [(at, 1, 10 if at < 90 else 90) for at in range(400)]
    assert columns(drawn("6h", after=400)) == [(at, 10, 10 if at < 90 else 90) for at in range(0, 400, 10)]


@pytest.mark.slow
def test_after_an_hour_back_the_hour_is_there_once() -> None:
    writer = write(range(0, 4200, 5), used=10)
    write(range(600, 4200, 5), writer=writer, used=90)
    for name, step in (("6h", 10), ("24h", 60), ("7d", 600), ("7d-minutes", 60)):
        assert columns(drawn(name, after=4200)) == [
            (at, step // 5, 10 if at < 600 else 90) for at in range(0, 4200, step)
        ]


@pytest.mark.slow
def test_a_clock_that_was_years_ahead_leaves_nothing_in_the_way() -> None:
    years = 10 * 365 * 86_400
    writer = write(range(years, years + 600))
    write(range(600), writer=writer)
    for name in gpu_history.RANGES:
        assert {at < 600 for at, _samples, _mean in columns(drawn(name, after=600))} == {True}
    assert sum(samples for _at, samples, _mean in columns(drawn("6h", after=600))) == 600


def test_a_clock_that_is_wrong_for_a_moment_costs_only_that_moment() -> None:
    writer = write(range(300))
    writer.record(one_gpu(5.0))
    write(range(301, 500), writer=writer)
    found = columns(drawn("6h", after=500))
    assert [at for at, _samples, _mean in found] == list(range(0, 500, 10))
    assert sum(samples for _at, samples, _mean in found) == 499


# Redis


def test_while_redis_is_away_readings_are_dropped_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = write(range(100))

    def gone() -> None:
        raise RedisError("gone")

    with monkeypatch.context() as away, caplog.at_level(logging.INFO):
        away.setattr(writer_module, "client", gone)
        write(range(100, 130), writer=writer)
        assert [record.getMessage() for record in caplog.records] == [
            "The GPU history has a gap while Redis is away: gone"
        ]
    with caplog.at_level(logging.INFO):
        write(range(130, 140), writer=writer)
    assert caplog.records[-1].getMessage() == "The GPU history goes on; 30 readings were dropped"
    assert columns(drawn("6h", after=140))[-2:] == [(100, 0, None), (130, 10, 50)]


def test_a_redis_that_lost_everything_is_begun_anew(redis_server: redis.Redis) -> None:
    writer = write(range(200))
    redis_server.flushall()
    write(range(200, 400), writer=writer)
    found = columns(drawn("6h", after=400))
    assert [at for at, _samples, _mean in found] == list(range(200, 400, 10))


def test_what_cannot_be_read_is_left_out(redis_server: redis.Redis) -> None:
    write(range(250))
    for level in (SECONDS, TENS, MINUTES):
        for broken in ("", "x", "1 2 3", "[1,2]", "[1800000000,[],1,{}]"):
            redis_server.xadd(key_of(NODE, UUID, level), {"b": broken})
    assert len(columns(drawn("6h", after=250))) == 25
    write(range(250, 4000, 10))
    assert sum(samples for _at, samples, _mean in columns(drawn("24h", after=4000))) == 250 + 375


# Whose memory


def test_the_chart_stacks_memory_by_deployment() -> None:
    writer = HistoryWriter()
    holding = GpuProcess(pid=1, memory_bytes=100, run_name=RUN.run_name)
    foreign = GpuProcess(pid=2, memory_bytes=30)
    for second in range(4):
        on_it = (holding, foreign) if second >= 2 else (foreign,)
        writer.record(one_gpu(NOON + second, *on_it, runs=(RUN,) if second >= 2 else ()))
    chart = drawn("15m", after=4)
    assert chart["runs"] == {"7": {"config": "llama3-8b", "mean": [0, 0, 100, 100]}}
    assert chart["fields"]["memory_foreign_bytes"]["mean"] == [30] * 4
    assert drawn("6h", after=4)["runs"]["7"]["mean"] == [50]


def test_a_run_held_nothing_in_the_blocks_that_it_is_not_in() -> None:
    holding = GpuProcess(pid=1, memory_bytes=100, run_name=RUN.run_name)
    writer = write(range(120))
    for second in range(125, 150):
        writer.record(one_gpu(NOON + second, holding, runs=(RUN,)))
    chart = drawn("6h", after=150)
    assert chart["runs"]["7"]["mean"] == [0] * 12 + [100] * 3
    assert len(chart["runs"]["7"]["mean"]) == len(chart["at"])


def test_while_processes_cannot_be_listed_nobody_knows_what_a_run_held() -> None:
    writer = HistoryWriter()
    holding = GpuProcess(pid=1, memory_bytes=100, run_name=RUN.run_name)
    writer.record(one_gpu(NOON, holding, runs=(RUN,)))
    writer.record(one_gpu(NOON + 1, processes=None))
    chart = drawn("15m", after=2)
    assert chart["runs"]["7"]["mean"] == [100, None]
    assert chart["fields"]["memory_foreign_bytes"]["mean"] == [0, None]


# Ranges, small lines and marks


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="15m, 6h, 24h, 7d, 7d-minutes"):
        drawn("1y", after=0)


def test_small_lines_have_a_place_for_each_ten_seconds() -> None:
    write([*range(300), *range(400, 600)])
    lines = sparklines([UUID, "GPU-none"], node=NODE, now=NOON + 595)
    assert lines["GPU-none"] == [None] * 90
    line = lines[UUID]
    assert line == [None] * 30 + [50] * 30 + [None] * 10 + [50] * 20


def test_marks_are_drawn_on_their_gpu(redis_server: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    mark(NODE, "start", at=NOON - 1000, text="too long ago", uuid=UUID)
    mark(NODE, "xid", at=NOON + 2, text="Xid 79", uuid=UUID)
    mark(NODE, "ready", at=NOON + 1, uuid=UUID, deployment_id=7, config="llama3-8b")
    mark(NODE, "stop", at=NOON + 1, uuid="GPU-b", deployment_id=8)
    mark(NODE, "xid", at=NOON + 3, text="all GPUs")
    mark("gpu-02", "xid", at=NOON + 3, uuid=UUID)
    redis_server.xadd(f"berth:gpu-marks:{NODE}", {"m": "{"})
    with caplog.at_level(logging.WARNING):
        found = drawn("15m", after=10)["markers"]
    assert [(each["kind"], each["at"] - NOON, each["text"]) for each in found] == [
        ("ready", 1, ""),
        ("xid", 2, "Xid 79"),
        ("xid", 3, "all GPUs"),
    ]
    assert (found[0]["deployment_id"], found[0]["config"], found[0]["uuid"]) == (7, "llama3-8b", UUID)
    assert len(drawn("6h", after=10)["markers"]) == 4
    assert {record.name for record in caplog.records} == {"deployments.gpu_history.marks"}


def test_a_reason_is_put_into_words_when_it_is_shown() -> None:
    mark(NODE, "crash", at=NOON, uuid=UUID, reason="vanished")
    (found,) = drawn("15m", after=1)["markers"]
    assert found["text"] not in {"", "vanished"}
    assert "reason" not in found


def test_a_mark_of_an_unknown_kind_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="party"):
        mark(NODE, "party", at=NOON)


def test_names_cannot_break_the_answer() -> None:
    odd = RunReading(run_name='r"\n,', deployment_id=9, config='a"b\\,\n')
    writer = HistoryWriter()
    for second in range(130):
        writer.record(one_gpu(NOON + second, GpuProcess(pid=1, memory_bytes=5, run_name=odd.run_name), runs=(odd,)))
    for name in gpu_history.RANGES:
        assert drawn(name, after=130)["runs"]["9"]["config"] == odd.config


def test_the_agents_record_is_one_writer(redis_server: redis.Redis) -> None:
    gpu_history.record(one_gpu(NOON))
    entries: Any = redis_server.xrange(key_of(NODE, UUID, SECONDS))
    assert json.loads(entries[0][1][b"b"])[0] == NOON
