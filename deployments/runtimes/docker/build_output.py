"""Reads what `docker build --progress=plain` prints: steps, their times, what failed; and keeps a bounded log.

The format is BuildKit's plain display (moby/buildkit, util/progress/progressui): each line begins with the number of
its vertex; a vertex names itself first and ends with DONE, CACHED, CANCELED or ERROR.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import ngettext

from deployments.secret_references import covered

#: Of the log's beginning and of its end, in characters; what lies between is left out, and said so.
HEAD_CHARACTERS = 32_000
TAIL_CHARACTERS = 96_000
MOST_LINE = 2_000

_LINE = re.compile(r"#(\d+) (.*)", re.DOTALL)
_STEP = re.compile(r"\[(?!internal\])[^\]]*\] |exporting to |ERROR")
_DONE = re.compile(r"DONE (\d+(?:\.\d+)?)s$")
_DIGEST = re.compile(r"#\d+ sha256:[0-9a-f]{64}$")
_FROM_DIGEST = re.compile(r"\] FROM \S+@(sha256:[0-9a-f]{64})")
_NOT_TEXT = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(kw_only=True)
class BuildStep:
    """One step as the page lists it. ``state`` is running, done, cached, cancelled or failed."""

    number: int
    text: str
    state: str = "running"
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object, as ImageBuild.steps holds it."""
        return asdict(self)


class BoundedLog:
    """The first and the last lines of a long text; ``lines`` counts all."""

    def __init__(self) -> None:
        self.lines = 0
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._left_out = 0

    def add(self, line: str) -> None:
        """Take one line, without its end."""
        self.lines += 1
        line = line[:MOST_LINE]
        size = len(line) + 1
        if not self._tail and self._head_size + size <= HEAD_CHARACTERS:
            self._head.append(line)
            self._head_size += size
            return
        self._tail.append(line)
        self._tail_size += size
        while self._tail_size > TAIL_CHARACTERS:
            self._tail_size -= len(self._tail.popleft()) + 1
            self._left_out += 1

    def last(self) -> list[str]:
        """The newest lines, oldest first."""
        return [*self._head[-20:], *list(self._tail)[-20:]][-20:]

    def text(self) -> str:
        """All that is kept; a line of its own tells how many were left out between."""
        gap = []
        if self._left_out:
            told = ngettext("%(count)d line is left out here", "%(count)d lines are left out here", self._left_out)
            gap = [f"… {told % {'count': self._left_out}} …"]
        return "\n".join([*self._head, *gap, *self._tail])


class BuildOutput:
    """What the client has printed so far. ``secrets`` are values that must not appear anywhere."""

    def __init__(self, *, secrets: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.log = BoundedLog()
        self.error = ""
        self.failed_step: BuildStep | None = None
        self.base_digest = ""
        parts = {_NOT_TEXT.sub("", part) for value in secrets for part in value.split("\n")}
        self._hidden = {part for part in parts if len(part) > 3}
        self._clock = clock
        self._steps: dict[int, BuildStep] = {}
        self._began: dict[int, float] = {}
        self._said: dict[int, str] = {}

    def take(self, line: str) -> None:
        """Read one line, without its end."""
        # In this order: an escape in the middle of a secret would hide it from the search and then be taken out.
        line = self._without_secrets(_NOT_TEXT.sub("", line)).rstrip()
        if _DIGEST.match(line):
            return
        self.log.add(line)
        match = _LINE.match(line)
        if match:
            self._take_vertex(int(match[1]), match[2])
        elif line.startswith(("failed to solve", "ERROR: ", "error ", "Error ")):
            self.error = line

    def steps(self) -> list[BuildStep]:
        """In the order of their beginning; those that run have the seconds until now."""
        for number, step in self._steps.items():
            if step.state == "running":
                step.seconds = round(self._clock() - self._began[number], 1)
        return list(self._steps.values())

    def last_words(self) -> str:
        """What the failed step printed last; empty when nothing failed or nothing was printed."""
        return self._said.get(self.failed_step.number, "") if self.failed_step else ""

    def _take_vertex(self, number: int, said: str) -> None:
        step = self._steps.get(number)
        if step is None and said.startswith(("[internal] ", "ERROR")):
            # Internal ones are shown only when they fail, with the name that they gave before.
            if said.startswith("[internal] "):
                self._said[number] = said
                return
            step = self._begin(number, self._said.get(number, said))
        elif step is None:
            if _STEP.match(said):
                self._begin(number, said)
            return
        if done := _DONE.match(said):
            step.state, step.seconds = "done", float(done[1])
        elif said == "CACHED":
            step.state, step.seconds = "cached", 0.0
        elif said in ("CANCELED", "CANCELLED"):
            step.state = "cancelled"
        elif said.startswith("ERROR"):
            step.state, self.failed_step = "failed", step
            step.seconds = round(self._clock() - self._began[number], 1)
            self.error = said.removeprefix("ERROR:").strip()
        elif said.strip():
            self._said[number] = re.sub(r"^\d+\.\d+ ", "", said)

    def _begin(self, number: int, text: str) -> BuildStep:
        if digest := _FROM_DIGEST.search(text):
            self.base_digest = digest[1]
        self._began[number] = self._clock()
        step = self._steps[number] = BuildStep(number=number, text=text[:500])
        return step

    def _without_secrets(self, line: str) -> str:
        return covered(line, self._hidden)
