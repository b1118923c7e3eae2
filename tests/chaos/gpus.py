"""GPUs for a host that has none: idle ones for the agent to measure. Imported once Django is set up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dashboard.telemetry import poller
from dashboard.telemetry.facts import GpuFacts
from dashboard.telemetry.source import GpuSource, Measurement
from deployments.gpu_readings import GpuReading
from deployments.lifecycle import acting
from deployments.lifecycle.launching import run_spec
from deployments.models import Deployment
from deployments.runtimes.base import RunSpec

MEMORY_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class IdleGpus:
    """So many GPUs of 8 GiB that nobody uses."""

    count: int

    def measure(self) -> Measurement:
        """See GpuSource."""
        uuids = [f"GPU-chaos-{index}" for index in range(self.count)]
        return Measurement(
            source="nvml",
            driver="chaos",
            states=tuple(
                GpuReading(
                    uuid=uuid,
                    index=index,
                    memory_total_bytes=MEMORY_BYTES,
                    memory_used_bytes=0,
                    memory_free_bytes=MEMORY_BYTES,
                    processes=(),
                )
                for index, uuid in enumerate(uuids)
            ),
            facts=tuple(
                GpuFacts(uuid=uuid, index=index, name="Idle", memory_total_bytes=MEMORY_BYTES)
                for index, uuid in enumerate(uuids)
            ),
        )


def stand_in(count: int) -> None:
    """Let this process measure ``count`` idle GPUs instead of asking a driver.

    Its runs lock no memory: raising that limit needs a right that the machines of continuous integration lack.
    """

    def source(_setting: str) -> GpuSource:
        return IdleGpus(count)

    def spec(deployment: Deployment) -> RunSpec:
        return dataclasses.replace(run_spec(deployment), locked_memory=False)

    setattr(poller, "source_for", source)  # noqa: B010  # neither module means to be changed
    setattr(acting, "run_spec", spec)  # noqa: B010
