"""What the load generator itself can do: ``python -m tests.bench.load_generator``.

It has one core for itself; the server, which costs next to nothing or has known latencies, has another. Medians.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

from tests.fakes.paced_server import spread_first_s

Row = tuple[str, str, str]
ROOT = Path(__file__).parents[2]
ROUNDS = 3
#: Of the paced server: 25 tokens a second, as a model at work.
TOKEN_MS = 40.0
TOKENS = 50
STREAMS = (128, 512)
GENERATOR_CORE, SERVER_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def load_generator_rows(*, rounds: int = ROUNDS) -> list[Row]:
    """Every figure with its target, as rows of the bench's table."""
    before = os.sched_getaffinity(0)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    django.setup()
    # Threads begin with the core of whoever starts them.
    os.sched_setaffinity(0, {GENERATOR_CORE})
    try:
        return [*_speed(rounds), *_agreement(rounds), *_streams(rounds)]
    finally:
        os.sched_setaffinity(0, before)


def _speed(rounds: int) -> list[Row]:
    with _server("tests.bench.gateway_upstream") as url:
        whole = [_level(url, concurrency=(32,), requests=5000, stream=False) for _round in range(rounds)]
        streams = [_level(url, concurrency=(32,), requests=600) for _round in range(rounds)]
    rate = statistics.median(level["requests_per_s"] for level in whole)
    # The server sends 100 pieces of text in each stream.
    frames = statistics.median(level["requests_per_s"] * 100 for level in streams)
    return [
        ("load generator: requests/s, one process", f"{rate:,.0f}", ""),
        ("load generator: tokens/s in streams, one process", f"{frames:,.0f}", ""),
    ]


def _agreement(rounds: int) -> list[Row]:
    """200 requests of 20 users, each latency of a hundred twice."""
    known = {
        "first_token_ms": [1000 * spread_first_s(number) for number in range(200)],
        "per_token_ms": [5.0] * 200,
        "total_ms": [1000 * spread_first_s(number) + 19 * 5 for number in range(200)],
    }
    with _server("tests.fakes.paced_server", "5", "20") as url:
        levels = [_level(url, concurrency=(20,), requests=200) for _round in range(rounds)]
    rows = []
    for name, values in known.items():
        worst = statistics.median(max(_deviations(level[name], values)) for level in levels)
        rows.append((f"load generator: {name} from what is known, worst percentile", f"{100 * worst:.2f} %", "5 %"))
    return rows


def _deviations(measured: dict[str, float], values: list[float]) -> Iterator[float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (50, 95, 99):
        yield abs(measured[f"p{percent}"] / cuts[percent - 1] - 1)


def _streams(rounds: int) -> list[Row]:
    rows: list[Row] = []
    with _server("tests.fakes.paced_server", f"{TOKEN_MS:g}", str(TOKENS)) as url:
        for streams in STREAMS:
            levels = [_level(url, concurrency=(streams,), requests=streams) for _round in range(rounds)]
            cpu = statistics.median(level["cpu_percent"] for level in levels)
            late = statistics.median(level["late_ms"] for level in levels)
            off = statistics.median(level["per_token_ms"]["p95"] / TOKEN_MS - 1 for level in levels)
            name = f"load generator: {streams} streams of 25 tokens/s: CPU of a core"
            rows += [(name, f"{cpu:.0f} %", ""), ("  its own lateness, p95", f"{late:.1f} ms", "20 ms")]
            rows.append(("  time per token p95 from what is known", f"{100 * off:.2f} %", "5 %"))
    return rows


def _level(url: str, *, concurrency: tuple[int, ...], requests: int, stream: bool = True) -> dict[str, Any]:
    """One level of a ramp."""
    from playground.loadtests.settings import LoadSettings
    from playground.loadtests.target import Target
    from playground.loadtests.thread import LoadRun

    target = Target(url=url, model="served", config="served", engine="vllm", direct=True)
    settings = LoadSettings(
        concurrency=concurrency, requests=requests, stream=stream, warm_up=0, prompt_tokens=64, output_tokens=100
    )
    with LoadRun(target, settings) as run:
        while not run.wait(1):
            pass
    level = run.levels[0]
    if level["done"] != requests:
        raise RuntimeError(f"{level['done']} of {requests} requests were answered: {level['errors']}")
    return dict(level)


@contextmanager
def _server(module: str, *arguments: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", module, str(port), *arguments], cwd=ROOT)
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    try:
        _until_listening(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _until_listening(port: int, *, within_s: float = 20.0) -> None:
    ends_at = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    for row, measured, wanted in load_generator_rows():
        print(f"{row:70}  {measured:>14}  {wanted}")
