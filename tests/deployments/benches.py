"""One bench for each runtime: how the conformance suite has it run a few small programs."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.test import override_settings

from deployments.runtimes.base import LogLine, RunObservation, RunSpec, RunState, Runtime
from deployments.runtimes.docker import DockerRuntime
from deployments.runtimes.docker.labels import INSTALLATION
from deployments.runtimes.docker.options import Reach
from deployments.runtimes.process import ProcessRuntime
from tests.docker_engine import test_image
from tests.fakes.runtime import FakeRuntime, Script


class Behaviour(StrEnum):
    """The programs of the suite; each first prints `one`, `two`, `three` to stdout."""

    SERVES = "serves"
    EXITS_WITH_3 = "exits with 3"
    IGNORES_SIGTERM = "ignores SIGTERM"


def wait_for(condition: Callable[[], bool], what: str, *, within_s: float = 15) -> None:
    """Return as soon as `condition` holds; fail after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}"
        time.sleep(0.01)


class Bench(Protocol):
    """A runtime with the means to try it."""

    @property
    def runtime(self) -> Runtime:
        """What is tried."""
        ...

    def spec(self, behaviour: Behaviour) -> RunSpec:
        """A run that behaves so, under a new name."""
        ...

    def another_worker(self) -> Runtime:
        """The same runtime as another process of Berth sees it."""
        ...

    def close(self) -> None:
        """End and remove everything."""
        ...


def launch(bench: Bench, behaviour: Behaviour) -> str:
    """Create and start a run, wait for its three lines, and return its name."""
    run = bench.spec(behaviour)
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    wait_for(lambda: len(bench.runtime.logs(run.name).lines) >= 3, f"the output of {run.name}")
    return run.name


def wait_for_state(runtime: Runtime, name: str, state: RunState) -> RunObservation:
    """Wait until the run is in `state`; return that observation."""
    wait_for(lambda: runtime.observe(name).state is state, f"{name} to be {state}")
    return runtime.observe(name)


def all_lines(runtime: Runtime, name: str) -> list[LogLine]:
    """Every kept line, read chunk by chunk."""
    lines: list[LogLine] = []
    while chunk := runtime.logs(name, cursor=lines[-1].cursor if lines else 0).lines:
        lines.extend(chunk)
    return lines


def python(code: str) -> tuple[str, ...]:
    """The argv of a small and quick Python program."""
    return (sys.executable, "-I", "-S", "-c", code)


def is_alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class FakeBench:
    """The scripted runtime."""

    SCRIPTS = {
        Behaviour.SERVES: Script(lines=("one", "two", "three")),
        Behaviour.EXITS_WITH_3: Script(lines=("one", "two", "three"), exits_with=3),
        Behaviour.IGNORES_SIGTERM: Script(lines=("one", "two", "three"), ignores_sigterm=True),
    }

    def __init__(self, _folder: Path) -> None:
        self.runtime = FakeRuntime(images=("none",))
        self._numbers = itertools.count(1)

    def spec(self, behaviour: Behaviour) -> RunSpec:
        self.runtime.scripts.append(self.SCRIPTS[behaviour])
        return RunSpec(name=f"run-{next(self._numbers)}", image="none", argv=("fake",))

    def another_worker(self) -> Runtime:
        return self.runtime

    def close(self) -> None:
        return


class ProcessBench:
    """Real processes of this host, below a folder of their own."""

    SPEAK = "print('one', 'two', 'three', sep='\\n', flush=True);"
    SLEEP = "import time; time.sleep(600)"
    CODE = {
        Behaviour.SERVES: SPEAK + SLEEP,
        Behaviour.EXITS_WITH_3: SPEAK + "raise SystemExit(3)",
        Behaviour.IGNORES_SIGTERM: "import signal; signal.signal(15, signal.SIG_IGN);" + SPEAK + SLEEP,
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = ProcessRuntime(folder)
        self._numbers = itertools.count(1)

    def spec(self, behaviour: Behaviour) -> RunSpec:
        return self.program(self.CODE[behaviour])

    def program(self, code: str, **environment: str) -> RunSpec:
        """A run of the Python program `code`."""
        name = f"run-{next(self._numbers)}"
        return RunSpec(name=name, image="none", argv=python(code), environment=tuple(environment.items()))

    def another_worker(self) -> Runtime:
        return ProcessRuntime(self.folder)

    def close(self) -> None:
        for name in self.runtime.owned():
            wait_for(lambda name=name: self._removed(name), f"{name} to be removed")  # type: ignore[misc]

    def _removed(self, name: str) -> bool:
        self.runtime.stop(name, force=True)
        if self.runtime.observe(name).state is RunState.RUNNING:
            return False
        self.runtime.remove(name)
        return True


class DockerBench:
    """Real containers of this machine's engine, under a label of their own."""

    SPEAK = "echo one; echo two; echo three; "
    CODE = {
        Behaviour.SERVES: SPEAK + "sleep 600 & wait",
        Behaviour.EXITS_WITH_3: SPEAK + "exit 3",
        Behaviour.IGNORES_SIGTERM: "trap '' TERM; " + SPEAK + "while true; do sleep 1; done",
    }

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "logs"
        self.image = test_image()
        self.runtime = DockerRuntime(Reach(), logs=self._folder)
        self._mark = secrets.token_hex(4)
        # The engine is everybody's; as an installation of its own this bench sees only what it made.
        self._installation = override_settings(BERTH_INSTALLATION=self._mark)
        self._installation.enable()
        self._numbers = itertools.count(1)

    def spec(self, behaviour: Behaviour) -> RunSpec:
        return self.program(self.CODE[behaviour])

    def program(self, code: str, **options: Any) -> RunSpec:
        """A run of the shell program `code`; `options` are further fields of the RunSpec."""
        name = f"berth-test-{self._mark}-{next(self._numbers)}"
        labels = ((INSTALLATION, settings.BERTH_INSTALLATION), ("berth.deployment", "0"))
        return RunSpec(**{"name": name, "image": self.image, "argv": ("sh", "-c", code), "labels": labels, **options})

    def another_worker(self) -> Runtime:
        return DockerRuntime(Reach(), logs=self._folder)

    def close(self) -> None:
        for name in self.runtime.owned():
            self.runtime.stop(name, force=True)
            wait_for_state_other_than_running(self.runtime, name)
            self.runtime.remove(name)
        self._installation.disable()


def wait_for_state_other_than_running(runtime: Runtime, name: str) -> None:
    """Wait until the run has ended or is gone."""
    wait_for(lambda: runtime.observe(name).state is not RunState.RUNNING, f"{name} to end")


def kill(pid: int) -> None:
    """SIGKILL one process, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), f"{pid} to be gone")


#: Every runtime that a bench exists for. A new runtime takes its seat here.
BENCHES: dict[str, Callable[[Path], Bench]] = {"fake": FakeBench, "process": ProcessBench, "docker": DockerBench}
