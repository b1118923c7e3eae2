"""Processes without the start of a Python for each: a nursery has imported everything, and forks.

A process that kills itself at a named step is followed by another one, dozens of times a test; importing Django, Celery
and their own was most of what that cost. What is forked is a process like any other: in a session of its own, killed by
SIGKILL, with no thread, connection or state of the nursery, which has none.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

#: What the roles import at their start, or at their first task.
MODULES = {
    "worker": (
        "celery.apps.worker",
        "celery.beat",
        "celery.bin.celery",
        "celery.concurrency.thread",
        "celery.worker.components",
        "celery.worker.consumer",
        "deployments.lifecycle.reconcile",
        "deployments.runtimes.process",
        "kombu.transport.redis",
    ),
    "agent": ("dashboard.agent", "dashboard.management.commands.agent"),
    "web": ("dashboard.asgi", "dashboard.urls", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl"),
}


class Forked:
    """A process of a nursery, with the part of ``subprocess.Popen`` that its owner needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)

    def poll(self) -> int | None:
        """None while it lives."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._process is not None and self._process.is_running():
                return None if self._process.status() != psutil.STATUS_ZOMBIE else -1
        return -1

    def wait(self, timeout: float) -> int:
        """Return once it is gone. Raises subprocess.TimeoutExpired."""
        ends_at = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > ends_at:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return -1


class Nursery:
    """Forks processes of one environment."""

    def __init__(self, environment: Mapping[str, str], folder: Path, *, roles: list[str], log: Path) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.process", "nursery", *roles],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
            )

    def fork(self, arguments: list[str], log: Path) -> Forked:
        """Begin a process with these arguments of :mod:`tests.chaos.process`, which writes to ``log``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([arguments, str(log)]) + "\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()))

    def close(self) -> None:
        """End the nursery; what it has forked lives on."""
        self._process.kill()
        self._process.communicate(timeout=10)


def serve(roles: list[str], run: Callable[[list[str]], None]) -> None:
    """Be a nursery: for each line of standard input, a JSON list of arguments and log, fork and ``run`` them."""
    from dashboard.celery import app

    app.loader.import_default_modules()
    for role in roles:
        for module in MODULES[role]:
            importlib.import_module(module)
    assert threading.active_count() == 1, "a thread would be missing in what is forked"
    signal.signal(signal.SIGCHLD, _reap)
    while line := sys.stdin.readline():
        arguments, log = json.loads(line)
        if os.fork() == 0:
            _leave_home(Path(log))
            run(arguments)
            return


def _leave_home(log: Path) -> None:
    """The child's first steps: a session of its own, then its pid for who asked, then its own streams."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(1, f"{os.getpid()}\n".encode())
    out, nothing = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), os.open(os.devnull, os.O_RDONLY)
    for taken, given in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(taken, given)
    os.close(out)
    os.close(nothing)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            """One of the dead."""
