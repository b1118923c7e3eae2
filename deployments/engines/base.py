"""What an engine module says about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployments.progress import Progress
from deployments.spec import ServingSpec

from .argument_style import ArgumentStyle
from .metrics import EngineMetrics
from .traces import Traces

Report = Callable[[Progress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Whether the server answers requests. ``detail`` is its own words when it does not."""

    answering: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class CausePattern:
    """A regular expression over the last log lines that names the cause of a failure."""

    pattern: str
    cause: str


class Engine(Protocol):
    """An inference server: default image and port, command, readiness, progress, causes of failure."""

    name: str
    title: str
    default_image: str
    default_port: int
    default_readiness_path: str
    protocols: Sequence[str]
    grace_s: int
    causes: Sequence[CausePattern]
    key_variable: str
    """The variable through which it takes the key that requests must carry; empty when it knows none."""
    arguments: ArgumentStyle
    traces: Traces
    """By what it is recognised in a Compose file."""
    prepares: bool
    """Whether the model comes to the server only after it is up, through :meth:`prepare`."""

    def process_command(self, spec: ServingSpec) -> tuple[str, ...]:
        """The argv before the config's arguments in the process runtime. Raises LaunchError if it has none."""
        ...

    def probe(self, endpoint: str, spec: ServingSpec, *, thorough: bool, key: str = "") -> ProbeResult:
        """Ask the server; ``thorough`` means one real, tiny request. Never raises; at most 5 s (30 s thorough).

        ``key`` is the deployment's own, sent as a bearer token where the engine was given it.
        """
        ...

    def load_progress(self, lines: Sequence[str]) -> Progress | None:
        """How far loading is, from the last log lines; None when they do not say."""
        ...

    def prepare(self, endpoint: str, spec: ServingSpec, *, report: Report, cancelled: Cancelled, key: str = "") -> None:
        """Bring the model into the running server; may take hours. Repeatable: what is there already stays.

        Calls ``cancelled`` at least every second. Raises FetchCancelledError once that says yes, or FetchError.
        """
        ...

    def read_metrics(self, endpoint: str, *, key: str = "") -> EngineMetrics | None:
        """What the server tells about its load; None when it does not answer or tells nothing. Never raises."""
        ...
