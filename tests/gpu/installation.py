"""A Berth of its own for a check, with a temporary data folder, and configs that hold GPU memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import psutil

    from dashboard.children import ChildSpec

ROOT = Path(__file__).parents[2]
LOAD = Path(__file__).with_name("load.py")
NODE = "gpu-check"


class Berth:
    """Redis, worker and agent while the block lasts; no pages. Django is set up for its data, so that services work."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="berth-check-"))
        self.verbose = verbose
        self.said: list[str] = []
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for name in [name for name in os.environ if name.startswith("BERTH_") and name != "BERTH_FAKE_DRIVER"]:
            del os.environ[name]
        os.environ.pop("DATABASE_URL", None)
        os.environ |= {
            "BERTH_DATA_DIR": str(self.folder / "data"),
            "BERTH_NODE_NAME": NODE,
            "REDIS_URL": f"unix://{self.folder / 'redis.sock'}",
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def ended(self) -> list[str]:
        """The processes that are gone though nobody ended them."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def down(self) -> None:
        """End Berth, then whatever runs it left, then its data."""
        for name in reversed(self.processes):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
        self._end_runs()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        import django

        django.setup()
        from dashboard import installing
        from dashboard.children import berth_processes, embedded_redis
        from dashboard.settings import ENVIRONMENT
        from deployments.redis import client

        self._run(embedded_redis(self.folder / "redis.sock", self.folder / "data" / "redis"))
        if not await_true(lambda: _answers(client), 15):
            raise RuntimeError(f"Redis did not start: {''.join(self.said)}")
        installing.install("check-check-check")
        for spec in berth_processes(ENVIRONMENT, redis_url=os.environ["REDIS_URL"], node=NODE):
            if spec.name in {"worker", "agent"}:
                self._run(spec)

    def _run(self, spec: ChildSpec) -> None:
        process = subprocess.Popen(
            spec.argv,
            cwd=ROOT,
            env={**os.environ, **spec.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes[spec.name] = process
        threading.Thread(target=self._listen, args=(spec.name, process), daemon=True).start()

    def agent(self) -> psutil.Process:
        """The process that measures."""
        import psutil

        return psutil.Process(self.processes["agent"].pid)

    def _listen(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.said.append(f"{name}: {line}")
            if self.verbose:
                print(f"   {name}: {line.rstrip()}", flush=True)

    def _end_runs(self) -> None:
        """Runs outlive Berth by design; those of a check that broke off must not keep the GPU."""
        import psutil

        for process in psutil.process_iter(["cmdline", "environ"]):
            command = process.info["cmdline"] or []
            mine = any(str(self.folder) in part for part in command)
            if mine or (
                str(LOAD) in command and (process.info["environ"] or {}).get("BERTH_CHECK") == str(self.folder)
            ):
                try:
                    process.kill()
                except psutil.Error:
                    continue


def make_config(name: str, *, gpus: int, gib: int, folder: Path, pretend: str = "") -> None:
    """A config whose server takes ``gib`` on each of its GPUs and then computes."""
    from deployments.models import CatalogueModel, Config

    # A run gets a clean environment; where the driver's folder is known by this alone it needs that.
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if os.environ.get(name)}
    model, _made = CatalogueModel.objects.get_or_create(name="GPU check")
    arguments = [sys.executable, str(LOAD), "--port", "{port}", "--gib", str(gib)]
    Config.objects.create(
        name=name,
        model=model,
        protocol="openai-image",
        engine="custom",
        runtime="process",
        image="none",
        served_name=name,
        arguments=[*arguments, *(["--pretend", pretend] if pretend else [])],
        environment={"BERTH_CHECK": str(folder), **libraries},
        port=8000,
        readiness_path="/health",
        gpus=gpus,
        memory_gib=(gib + 1) * gpus,
        load_timeout_s=90,
        grace_s=5,
        max_attempts=1,
        revision=1,
    )


def _answers(client: Callable[[], Any]) -> bool:
    from deployments.redis import RedisError

    try:
        return bool(client().ping())
    except RedisError:
        return False


def await_true(condition: Callable[[], Any], timeout_s: float, every_s: float = 0.2) -> bool:
    """Whether it came true in time."""
    ends_at = time.monotonic() + timeout_s
    while time.monotonic() < ends_at:
        if condition():
            return True
        time.sleep(every_s)
    return bool(condition())
