"""What the command line itself says, before any command runs."""

from __future__ import annotations

import subprocess
import sys

from dashboard.environment import BASE_DIR


def berth(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False, timeout=60)


def test_an_unknown_command_is_wrong_usage() -> None:
    done = berth("frobnicate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "There is no command “frobnicate”. List them with: berth help"


def test_time_bounds_only_waiting() -> None:
    assert berth("start", "smollm2-135m", "--timeout", "5").returncode == 2
    assert berth("start", "smollm2-135m", "--wait", "--timeout", "-5").returncode == 2
