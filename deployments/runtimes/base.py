"""The port that every runtime implements; nothing outside ``deployments.runtimes`` knows more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from deployments.progress import Progress


class RunState(StrEnum):
    """What a runtime saw. ``UNKNOWN`` never justifies deleting or doubling anything."""

    RUNNING = "running"
    EXITED = "exited"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One attempt, ready to be launched.

    ``entrypoint`` replaces the image's own unless empty; ``locked_memory`` lifts the limit of pinned memory.

    ``name`` is deterministic, so that a second launch adopts the first. ``argv`` and environment values
    may contain ``{port}`` and ``{image}``; the runtime fills in the port that it chose and, in the process
    runtime, the folder of the bundle. ``port`` is the port that the server listens on inside a container.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    port: int = 8000
    shared_memory: str = ""
    locked_memory: bool = False
    gpu_uuids: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunObservation:
    """What is there now. ``exit_code`` is negative for a signal, as in :mod:`subprocess`.

    ``endpoint`` is the base URL, known while it runs. ``detail`` says why the state is unknown.
    ``paused`` means that somebody froze it: it runs, holds its memory, and answers nothing.
    """

    state: RunState
    exit_code: int | None = None
    out_of_memory: bool = False
    endpoint: str = ""
    pid: int | None = None
    detail: str = ""
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of output. ``cursor`` orders lines of one attempt and never repeats."""

    cursor: int
    at: float
    stream: str
    text: str


@dataclass(frozen=True, kw_only=True)
class LogChunk:
    """Lines from a cursor on. ``skipped_lines`` counts what was dropped before the first of them.

    ``newest`` is the cursor of the last line that there is by now.
    """

    lines: Sequence[LogLine]
    next_cursor: int
    skipped_lines: int = 0
    newest: int = 0


Report = Callable[[Progress], None]
Cancelled = Callable[[], bool]


class Runtime(Protocol):
    """Runs attempts on this node. Every method may be repeated and may be killed after any line.

    All raise RuntimeUnavailableError when the host or engine does not answer.
    """

    name: str

    def is_offered(self) -> bool:
        """Whether it can run anything on this host now. Never raises; may ask the engine."""
        ...

    def version(self) -> str:
        """Of the engine behind it, such as ``27.1.1``; empty where there is none."""
        ...

    def has_image(self, image: str) -> bool:
        """Whether ``image`` is complete and verified on this node. Cheap."""
        ...

    def ensure_image(self, image: str, *, report: Report, cancelled: Cancelled) -> None:
        """Bring ``image`` here. Blocks for minutes; polls ``cancelled`` at least once a second.

        Raises FetchError (a wrong hash is permanent, a lost connection is not) or FetchCancelledError.
        """
        ...

    def create(self, run: RunSpec) -> None:
        """Make the run without starting it; adopts one of the same name. Raises LaunchError."""
        ...

    def start(self, name: str) -> None:
        """Start a created run; nothing if it runs or has ended. Raises LaunchError."""
        ...

    def observe(self, name: str) -> RunObservation:
        """What is there now; never raises for a missing run (GONE) or a silent host (UNKNOWN)."""
        ...

    def stop(self, name: str, *, force: bool) -> None:
        """Send SIGTERM, or SIGKILL to the whole group with ``force``. Returns at once."""
        ...

    def remove(self, name: str) -> None:
        """Delete an ended run and its log. Raises RuntimeFaultError while it still runs."""
        ...

    def logs(self, name: str, *, cursor: int = 0, limit: int = 1000, fetch: bool = True) -> LogChunk:
        """Up to ``limit`` lines after ``cursor`` (0: from the first one kept).

        Without ``fetch`` only what :meth:`follow` has brought: no question to the host, so it may be asked often.
        """
        ...

    def follow(self, name: str, *, ended: Callable[[], bool]) -> None:
        """Bring the run's output to where :meth:`logs` reads it, as it comes; returns at the run's end.

        Returns at once where that happens by itself. Raises RuntimeUnavailableError.
        """
        ...

    def owned(self) -> Mapping[str, RunState]:
        """All runs of this installation on this node by name, with RUNNING, EXITED or (created only) GONE.

        One question to the host, however many there are.
        """
        ...

    def members(self, name: str) -> frozenset[int]:
        """Host pids of the run's processes; empty when it does not run or they cannot be seen."""
        ...

    def changes(self, *, ended: Callable[[], bool]) -> Iterator[str]:
        """Names of runs that changed, as they change; ends soon after ``ended`` says so, at most after 1 s.

        A runtime that cannot tell yields nothing and waits. Raises RuntimeUnavailableError when the host falls
        silent: whoever reads must list everything again, for what happened in between was lost.
        """
        ...
