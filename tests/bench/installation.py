"""A clean clone that is set up and run as the README says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
ADMIN_PASSWORD = "bench-bench-bench"


class Installation:
    """``up`` and ``down`` as often as needed; a figure is wall time in seconds."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "berth"
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        #: Settings of the next ``up``.
        self.settings: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "DJANGO_"))}
        for name in ("REDIS_URL", "DATABASE_URL", "MAKEFLAGS", "MAKELEVEL", "VIRTUAL_ENV"):
            kept.pop(name, None)
        return {**kept, "BERTH_PORT": str(self.port), "BERTH_ADMIN_PASSWORD": ADMIN_PASSWORD, **self.settings}

    def clone(self) -> None:
        """What is committed now, and nothing else."""
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.home)], check=True)

    def up(self) -> float:
        """``make run`` until it says that it is ready."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            ["make", "run"],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("Berth is ready"):
                return time.monotonic() - began
        raise RuntimeError("".join(said))

    def down(self) -> None:
        """Ctrl-C, as a terminal sends it: to the whole foreground group."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def up_and_down(self) -> float:
        """One start when everything is set up."""
        seconds = self.up()
        self.down()
        return seconds

    def manage(self, *arguments: str) -> str:
        """Run a command as the ``berth`` script does."""
        done = subprocess.run(
            [str(self.home / "scripts" / "berth"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            sys.stderr.write(done.stderr)
            done.check_returncode()
        return done.stdout


def memory_by_process(pid: int, *, settle_s: float = 8.0) -> dict[str, float]:
    """Proportional set size in MB of each process below ``pid``, once they have come to rest."""
    time.sleep(settle_s)
    found: dict[str, float] = {}
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        command = " ".join(process.cmdline())
        name = _name(command, process)
        if name:
            found[name] = found.get(name, 0) + process.memory_full_info().pss / 1e6
    return found


def _name(command: str, process: psutil.Process) -> str:
    if "uvicorn" in command:
        return process.environ().get("BERTH_ROLE", "web")
    for word, name in (("celery", "worker and beat"), ("valkey", "redis"), (" agent", "agent"), (" up", "supervisor")):
        if word in command:
            return name
    return "" if "make" in command else command[:30]
