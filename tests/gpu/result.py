"""What a check found: rows printed as they come, and written as JSON and Markdown."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .smi import Row

MARKS = {True: "ok", False: "WRONG", None: "-"}


class Check:
    """Collects rows, prints them as they come, and knows how much time is left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows: list[Row] = []
        self.facts: dict[str, Any] = {"host": platform.platform(), "python": platform.python_version()}
        self.began = time.monotonic()

    @property
    def left_s(self) -> float:
        """Until the budget is used up."""
        return float(self.options.budget_s - (time.monotonic() - self.began))

    def say(self, text: str) -> None:
        """A line with the time."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def add(self, *rows: Row) -> None:
        """Print and keep."""
        for row in rows:
            self.rows.append(row)
            note = f"  ({row.note})" if row.note else ""
            print(
                f"  {MARKS[row.ok]:<6}{row.what:<44} {row.expected:<24} {row.seen:<30} {row.allowed}{note}", flush=True
            )

    def holds(self, what: str, expected: object, seen: object, *, ok: bool | None = None, allowed: str = "") -> None:
        """A row; without ``ok`` both have to be equal."""
        verdict = expected == seen if ok is None else ok
        self.add(Row(what=what, expected=str(expected), seen=str(seen), allowed=allowed, ok=verdict))

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What goes wrong inside is a row, and the next part is tried."""
        self.say(name)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one part's fault must not hide the others' results
            self.add(Row(what=name, expected="no fault", seen=f"{type(error).__name__}: {error}"[:400], ok=False))


def write(check: Check) -> None:
    """JSON and Markdown, whatever happened."""
    folder = Path(check.options.out)
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [row for row in check.rows if row.ok is False]
    rows = [asdict(row) for row in check.rows]
    (folder / "gpu-check.json").write_text(json.dumps({**check.facts, "wrong": len(wrong), "rows": rows}, indent=1))
    lines = [
        "# GPU check",
        "",
        *(f"- {name}: {check.facts[name]}" for name in ("host", "python", "driver", "gpu") if name in check.facts),
        f"- {len(check.rows)} rows, {len(wrong)} wrong, {time.monotonic() - check.began:.0f} s",
        "",
        "| | what | expected | seen | allowed | |",
        "|---|---|---|---|---|---|",
    ]
    for row in check.rows:
        cells = (MARKS[row.ok], row.what, row.expected, row.seen, row.allowed, row.note)
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    (folder / "gpu-check.md").write_text("\n".join(lines) + "\n")
