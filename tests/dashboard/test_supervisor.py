"""Children are started again when they die, with a back-off, and end together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dashboard.children import ChildSpec
from dashboard.supervisor import FIRST_BACKOFF_S, Child, Supervisor

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    for child in made.children:
        if child.process is not None and child.process.poll() is None:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait(5)


def pid_of(child: Child) -> int | None:
    return child.process.pid if child.process is not None else None


def test_what_dies_is_started_again_after_its_back_off(supervisor: Supervisor) -> None:
    child = supervisor.start(ChildSpec(name="sleeper", argv=SLEEPER))
    first = pid_of(child)
    assert child.process is not None
    child.process.kill()
    child.process.wait(5)
    supervisor.tend()
    assert pid_of(child) is None, "not at once"
    ends_at = time.monotonic() + 10 * FIRST_BACKOFF_S
    while pid_of(child) is None and time.monotonic() < ends_at:
        supervisor.tend()
        time.sleep(0.02)
    assert pid_of(child) not in {None, first}
    assert child.backoff_s == 2 * FIRST_BACKOFF_S


def test_what_a_dead_child_had_started_dies_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import os, subprocess, sys, time\n"
        "beat = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r} + '~', 'w').write(str(beat.pid)); os.rename({str(note)!r} + '~', {str(note)!r})\n"
        "time.sleep(60)"
    )
    child = supervisor.start(ChildSpec(name="worker", argv=(sys.executable, "-c", program)))
    ends_at = time.monotonic() + 10
    while not note.exists() and time.monotonic() < ends_at:
        time.sleep(0.02)
    beat = psutil.Process(int(note.read_text()))
    assert child.process is not None
    child.process.kill()
    child.process.wait(5)
    supervisor.tend()
    psutil.wait_procs([beat], timeout=5)
    assert not beat.is_running() or beat.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_cannot_be_started_is_tried_again(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    child = supervisor.start(ChildSpec(name="ghost", argv=("/no/such/program",)))
    supervisor.tend()
    assert child.process is None
    assert "ghost could not be started (No such file or directory)" in caplog.text


def test_stop_ends_redis_last(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "ends"
    program = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(note)!r}, 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(15, end)\n"
        f"open({str(note)!r} + sys.argv[1], 'w')\n"
        "time.sleep(60)"
    )
    for name in ("redis", "web"):
        supervisor.start(ChildSpec(name=name, argv=(sys.executable, "-c", program, name)))
    ends_at = time.monotonic() + 10
    while len(list(tmp_path.glob("ends*"))) < 2 and time.monotonic() < ends_at:
        time.sleep(0.02)
    supervisor.stop()
    assert note.read_text().split() == ["web", "redis"]


def test_what_ignores_sigterm_is_killed_after_its_grace(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    child = supervisor.start(ChildSpec(name="stubborn", argv=STUBBORN, grace_s=0.3))
    assert child.process is not None
    ends_at = time.monotonic() + 10
    while "SigIgn" not in _ignored(child.process.pid) and time.monotonic() < ends_at:
        time.sleep(0.02)
    supervisor.stop()
    assert not psutil.pid_exists(child.process.pid)
    assert "it is killed" in caplog.text


def _ignored(pid: int) -> str:
    """“SigIgn” once the process ignores SIGTERM (bit 14 of the mask in /proc)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigIgn:") and int(line.split()[1], 16) & (1 << (signal.SIGTERM - 1)):
            return "SigIgn"
    return ""
