"""Keeps a host's processes running: starts them, restarts what dies, ends them together."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from .children import ChildSpec
from .environment import BASE_DIR

logger = logging.getLogger(__name__)
FIRST_BACKOFF_S = 0.5
MOST_BACKOFF_S = 30.0
#: A child that lived this long has its back-off forgiven.
STABLE_S = 60.0
PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A supervised process and its history."""

    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    due_at: float = 0.0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class Supervisor:
    """Starts children in the order given and ends them in the reverse one."""

    children: list[Child] = field(default_factory=list)

    def start(self, spec: ChildSpec) -> Child:
        """Start a process and keep it running from now on."""
        child = Child(spec=spec)
        self.children.append(child)
        self._spawn(child)
        return child

    def tend(self) -> None:
        """Restart what died, each with its own back-off: 0.5 s doubling to 30 s. Call it often."""
        now = time.monotonic()
        for child in self.children:
            if child.running:
                continue
            if child.process is not None:
                self._report_death(child, child.process.returncode)
            elif now >= child.due_at:
                self._spawn(child)

    def stop(self) -> None:
        """SIGTERM to all but Redis, SIGKILL after each one's grace, then Redis the same way."""
        redis = [child for child in self.children if child.spec.name == "redis"]
        others = [child for child in self.children if child.spec.name != "redis"]
        for group in (others, redis):
            for child in group:
                _signal(child, signal.SIGTERM)
            for child in group:
                _await_end(child)

    def _spawn(self, child: Child) -> None:
        child.started_at = time.monotonic()
        try:
            child.process = subprocess.Popen(
                child.spec.argv,
                env=dict(child.spec.environment) or None,
                cwd=BASE_DIR,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads here
            )
        except OSError as error:
            self._schedule(child, f"could not be started ({error.strerror})")

    def _report_death(self, child: Child, status: int) -> None:
        # What it started itself, the worker's beat for one, must not live on beside the next one's.
        _signal(child, signal.SIGKILL)
        if time.monotonic() - child.started_at > STABLE_S:
            child.backoff_s = FIRST_BACKOFF_S
        child.process = None
        self._schedule(child, f"ended with status {status}")

    def _schedule(self, child: Child, what: str) -> None:
        logger.warning("%s %s; it is started again in %.1f s", child.spec.name, what, child.backoff_s)
        child.due_at = time.monotonic() + child.backoff_s
        child.backoff_s = min(MOST_BACKOFF_S, child.backoff_s * 2)


def _die_with_parent() -> None:
    # Only async-signal-safe work is allowed here; the supervisor has no threads, so this is enough.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(child: Child, number: signal.Signals) -> None:
    if child.process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, number) if number is signal.SIGKILL else child.process.send_signal(number)


def _await_end(child: Child) -> None:
    if child.process is None:
        return
    try:
        child.process.wait(timeout=child.spec.grace_s)
    except subprocess.TimeoutExpired:
        logger.warning("%s did not end within %.0f s: it is killed", child.spec.name, child.spec.grace_s)
    _signal(child, signal.SIGKILL)
    child.process.wait()
