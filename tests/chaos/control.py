"""Runs commands of ``manage.py``, one after another, in one process: a Python need not start for each."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
ANSWERS_WITHIN_S = 180


class Control:
    """The other end of ``tests.chaos.process control``, begun at the first command."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None

    def answer(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Run a command: its exit ``status`` and what it said, as ``out`` and ``err``."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.process", "control"],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], ANSWERS_WITHIN_S)[0]:
            raise TimeoutError(f"{arguments} gave no answer within {ANSWERS_WITHIN_S} s")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def run(self, *arguments: str) -> str:
        """Run a command that succeeds; returns its standard output."""
        answer = self.answer(arguments)
        assert answer["status"] == 0, f"{arguments}: {answer}"
        return str(answer["out"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=10)
