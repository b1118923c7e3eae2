"""What most engines have in common: an HTTP server in an image, told apart by data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from deployments.exceptions import LaunchError
from deployments.progress import Progress
from deployments.spec import ServingSpec

from .base import CausePattern, ProbeResult
from .probes import Probe, health_only, probe

#: A progress bar of tqdm over whole things (shards, CUDA graphs); bytes and iterations without a total do not match.
BAR = re.compile(r"(?P<step>[^:|%]*[^:|%\s]):\s+\d+%(?: Completed)? ?\|[^|]*?\|? ?(?P<done>\d+)/(?P<total>\d+) \[")


@dataclass(kw_only=True)
class ServedEngine:
    """Implements :class:`deployments.engines.base.Engine`.

    ``ask`` is the tiny real request of the thorough probe. ``bar_unit`` names what the progress bars of its
    log count; empty when its log has none.
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

    def process_command(self, spec: ServingSpec) -> tuple[str, ...]:
        """Refused: see the Protocol."""
        message = _("%(engine)s runs in containers only. Choose the Docker runtime, or the engine custom.")
        raise LaunchError(message % {"engine": self.title}, code="no_process_command", engine=self.title)

    def probe(self, endpoint: str, spec: ServingSpec, *, thorough: bool) -> ProbeResult:
        """Ask the readiness path, and thoroughly ``ask`` too; see the Protocol."""
        return probe(endpoint, spec, ask=self.ask if thorough else None)

    def load_progress(self, lines: Sequence[str]) -> Progress | None:
        """The last progress bar; see the Protocol."""
        if not self.bar_unit:
            return None
        for line in reversed(lines):
            if match := BAR.search(line):
                done, total = int(match["done"]), int(match["total"])
                return Progress(step=match["step"].strip()[-60:], done=done, total=total, unit=self.bar_unit)
        return None
