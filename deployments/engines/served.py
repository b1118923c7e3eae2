"""What most engines have in common: an HTTP server in an image, told apart by data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from deployments.exceptions import LaunchError
from deployments.progress import Progress
from deployments.spec import ServingSpec

from .argument_style import ArgumentStyle
from .base import Cancelled, CausePattern, ProbeResult, Report
from .http import ModelServer
from .metrics import EngineMetrics, Reading, read_metrics
from .probes import Probe, health_only, probe
from .traces import Traces

#: A progress bar of tqdm over whole things (shards, CUDA graphs); bytes and iterations without a total do not match.
BAR = re.compile(r"(?P<step>[^:|%]*[^:|%\s]):\s+\d+%(?: Completed)? ?\|[^|]*?\|? ?(?P<done>\d+)/(?P<total>\d+) \[")


@dataclass(kw_only=True)
class ServedEngine:
    """Implements :class:`deployments.engines.base.Engine`.

    ``ask`` is the tiny real request of the thorough probe. ``bar_unit`` names what the progress bars of its
    log count; empty when its log has none. ``progress_line`` is another pattern with ``done`` and ``total``,
    or ``percent``, and perhaps ``step``. ``metrics`` reads what it tells about its load.
    """

    name: str
    title: str
    default_image: str
    default_port: int
    default_readiness_path: str
    protocols: Sequence[str]
    grace_s: int = 20
    causes: Sequence[CausePattern] = ()
    ask: Probe = health_only
    bar_unit: str = ""
    progress_line: str = ""
    key_variable: str = ""
    arguments: ArgumentStyle = field(default_factory=ArgumentStyle)
    traces: Traces = field(default_factory=Traces)
    metrics: Reading | None = None
    prepares = False

    def process_command(self, spec: ServingSpec) -> tuple[str, ...]:
        """Refused: see the Protocol."""
        message = _("%(engine)s runs in containers only. Choose the Docker runtime, or the engine custom.")
        raise LaunchError(message % {"engine": self.title}, code="no_process_command", engine=self.title)

    def probe(self, endpoint: str, spec: ServingSpec, *, thorough: bool, key: str = "") -> ProbeResult:
        """Ask the readiness path, and thoroughly ``ask`` too; see the Protocol."""
        return probe(ModelServer(endpoint=endpoint, key=key), spec, ask=self.ask if thorough else None)

    def load_progress(self, lines: Sequence[str]) -> Progress | None:
        """The last progress bar or line; see the Protocol."""
        for line in reversed(lines):
            if self.bar_unit and (match := BAR.search(line)):
                # SGLang tells the batch size and the free memory of each step in parentheses.
                step = re.sub(r"\s*\([^)]*\)$", "", match["step"].strip())
                return Progress(step=step[-60:], done=int(match["done"]), total=int(match["total"]), unit=self.bar_unit)
            if self.progress_line and (match := re.search(self.progress_line, line)):
                return _told(match.groupdict())
        return None

    def prepare(self, endpoint: str, spec: ServingSpec, *, report: Report, cancelled: Cancelled, key: str = "") -> None:
        """Nothing: the server loads its model by itself."""

    def read_metrics(self, endpoint: str, *, key: str = "") -> EngineMetrics | None:
        """See the Protocol."""
        return read_metrics(ModelServer(endpoint=endpoint, key=key), self.metrics)


def _told(found: dict[str, str | None]) -> Progress:
    step = (found.get("step") or "").strip()[-60:]
    if percent := found.get("percent"):
        return Progress(step=step, done=float(percent), total=100, unit="%")
    if dots := found.get("dots"):
        return Progress(step=step, done=len(dots), total=100, unit="%")
    return Progress(step=step, done=int(found["done"] or 0), total=int(found["total"] or 0), unit="steps")
