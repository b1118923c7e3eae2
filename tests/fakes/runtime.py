"""A runtime that does what a test scripts: no processes, no time passes by itself."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deployments.exceptions import LaunchError, RuntimeFaultError, RuntimeUnavailableError
from deployments.progress import Progress
from deployments.runtimes.base import (
    Cancelled,
    LogChunk,
    LogLine,
    Report,
    RunObservation,
    RunSpec,
    RunState,
)


@dataclass(frozen=True, kw_only=True)
class Script:
    """What one run does: its first lines, and whether it ends by itself (`exits_with`) as soon as it started.

    With `ignores_sigterm` only a forced stop ends it; with `ignores_sigkill` nothing but `FakeRuntime.end`.
    """

    lines: Sequence[str] = ()
    exits_with: int | None = None
    out_of_memory: bool = False
    ignores_sigterm: bool = False
    ignores_sigkill: bool = False
    endpoint: str = "http://127.0.0.1:1"


@dataclass(kw_only=True)
class FakeRun:
    """A run as the fake holds it."""

    spec: RunSpec
    script: Script
    state: RunState = RunState.GONE
    exit_code: int | None = None
    starts: int = 0
    paused: bool = False
    cursor: int = 0
    lines: list[LogLine] = field(default_factory=list)

    def write(self, text: str, stream: str) -> None:
        self.cursor += 1
        self.lines.append(LogLine(cursor=self.cursor, at=float(self.cursor), stream=stream, text=text))


class FakeRuntime:
    """Implements the Protocol. Put it in its seat with `deployments.runtimes.use_runtime`.

    `scripts` are used by the next runs, in order, then `default_script`. `calls` lists every change that was
    asked for, as ("start", "name"). `fail` makes a method raise. While `silent`, nothing answers.
    """

    def __init__(self, name: str = "process", *, images: Iterable[str] = ("smollm2-135m",)) -> None:
        self.name = name
        self.images = set(images)
        self.default_script = Script()
        self.scripts: deque[Script] = deque()
        self.fetch_steps: Sequence[Progress] = (
            Progress(step="weights", done=1, total=2),
            Progress(step="weights", done=2, total=2),
        )
        self.silent = False
        self.changed: deque[str] = deque()
        self.fetched: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self._faults: dict[str, deque[Exception]] = {}
        self._runs: dict[str, FakeRun] = {}
        self._lock = threading.RLock()

    # What tests do to it

    def fail(self, method: str, *errors: Exception) -> None:
        """Let the next calls of `method` raise `errors`, one each."""
        self._faults.setdefault(method, deque()).extend(errors)

    def run(self, name: str) -> FakeRun:
        """The run itself, to look at."""
        return self._runs[name]

    def write(self, name: str, *lines: str, stream: str = "out") -> None:
        """Let a run print `lines`."""
        with self._lock:
            for line in lines:
                self._runs[name].write(line, stream)

    def drop_lines(self, name: str, count: int) -> None:
        """Forget the first `count` kept lines, as a bounded log does."""
        del self._runs[name].lines[:count]

    def end(self, name: str, exit_code: int | None = 0) -> None:
        """Let a run end by itself; None is a lost exit code."""
        with self._lock:
            run = self._runs[name]
            run.state, run.exit_code = RunState.EXITED, exit_code

    def pause(self, name: str, *, paused: bool = True) -> None:
        """Somebody froze the run behind Berth's back, or let it go on."""
        self._runs[name].paused = paused

    def vanish(self, name: str) -> None:
        """Somebody removed the run behind Berth's back."""
        del self._runs[name]

    # The Protocol

    def is_offered(self) -> bool:
        return not self.silent

    def version(self) -> str:
        self._answer("version")
        return "27.1.1"

    def has_image(self, image: str) -> bool:
        self._answer("has_image")
        return image in self.images

    def ensure_image(self, image: str, *, report: Report, cancelled: Cancelled) -> None:
        self._answer("ensure_image", image)
        if image in self.images:
            return
        for step in self.fetch_steps:
            report(step)
        self.images.add(image)

    def create(self, run: RunSpec) -> None:
        with self._lock:
            self._answer("create", run.name)
            if run.name in self._runs:
                return
            if run.image not in self.images:
                raise LaunchError(f"There is no image {run.image}.", code="image_missing", image=run.image)
            script = self.scripts.popleft() if self.scripts else self.default_script
            self._runs[run.name] = FakeRun(spec=run, script=script)

    def start(self, name: str) -> None:
        with self._lock:
            self._answer("start", name)
            run = self._runs.get(name)
            if run is None:
                raise RuntimeFaultError(f"The run {name} does not exist.", code="vanished")
            if run.starts:
                return
            run.starts += 1
            run.state = RunState.RUNNING
            for line in run.script.lines:
                run.write(line, "out")
            if run.script.exits_with is not None:
                run.state, run.exit_code = RunState.EXITED, run.script.exits_with

    def observe(self, name: str) -> RunObservation:
        with self._lock:
            if self.silent:
                return RunObservation(state=RunState.UNKNOWN, detail="The host does not answer.")
            run = self._runs.get(name)
            if run is None:
                return RunObservation(state=RunState.GONE)
            if run.state is RunState.RUNNING:
                return RunObservation(state=run.state, endpoint=run.script.endpoint, pid=1, paused=run.paused)
            out_of_memory = run.state is RunState.EXITED and run.script.out_of_memory
            return RunObservation(state=run.state, exit_code=run.exit_code, out_of_memory=out_of_memory)

    def stop(self, name: str, *, force: bool) -> None:
        with self._lock:
            self._answer("kill" if force else "stop", name)
            run = self._runs.get(name)
            if run is None or run.state is not RunState.RUNNING:
                return
            if not (run.script.ignores_sigkill if force else run.script.ignores_sigterm):
                run.state, run.exit_code = RunState.EXITED, -9 if force else -15

    def remove(self, name: str) -> None:
        with self._lock:
            self._answer("remove", name)
            run = self._runs.get(name)
            if run is not None and run.state is RunState.RUNNING:
                raise RuntimeFaultError(f"{name} still runs.", code="still_running")
            self._runs.pop(name, None)

    def logs(self, name: str, *, cursor: int = 0, limit: int = 1000, fetch: bool = True) -> LogChunk:
        self._answer("logs")
        if fetch:
            self.fetched.append(name)
        run = self._runs.get(name)
        lines = [line for line in run.lines if line.cursor > cursor][:limit] if run else []
        skipped = lines[0].cursor - cursor - 1 if lines else 0
        return LogChunk(
            lines=lines,
            next_cursor=lines[-1].cursor if lines else cursor,
            skipped_lines=skipped,
            newest=run.lines[-1].cursor if run and run.lines else 0,
        )

    def follow(self, name: str, *, ended: Callable[[], bool]) -> None:
        self._answer("follow", name)

    def owned(self) -> Mapping[str, RunState]:
        self._answer("owned")
        with self._lock:
            return {name: self._runs[name].state for name in sorted(self._runs)}

    def members(self, name: str) -> frozenset[int]:
        run = self._runs.get(name)
        return frozenset({1}) if run is not None and run.state is RunState.RUNNING else frozenset()

    def changes(self, *, ended: Callable[[], bool]) -> Iterator[str]:
        """What a test puts into `changed`, as it comes."""
        while not ended():
            self._answer("changes")
            while self.changed:
                yield self.changed.popleft()
            time.sleep(0.005)

    def _answer(self, method: str, name: str = "") -> None:
        if name:
            self.calls.append((method, name))
        if self.silent:
            raise RuntimeUnavailableError("The host does not answer.")
        if faults := self._faults.get(method):
            raise faults.popleft()
