"""Where readings come from: the driver, opened again as often as needed, or a recording."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deployments.gpu_readings import REPLAY, GpuReading
from deployments.gpu_reasons import NONE_FOUND, NOT_PLAYED, SWITCHED_OFF

from .facts import DriverUnavailableError, GpuFacts
from .nvml import Nvml
from .replay import Recording

FACTS_EVERY_S = 60.0
LEAST_RETRY_S = 5.0
MOST_RETRY_S = 60.0
#: Recordings that come with Berth, by the name that is their file's.
RECORDINGS = Path(__file__).parent / "recordings"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One look at all GPUs. ``source`` is "nvml", "replay:FILE", or "" when there are none, and ``reason`` why.

    ``facts`` is None unless the GPUs were looked for anew.
    """

    source: str = ""
    driver: str = ""
    reason: str = ""
    states: tuple[GpuReading, ...] = ()
    facts: tuple[GpuFacts, ...] | None = None


class GpuSource(Protocol):
    """Something that can be measured every second."""

    def measure(self) -> Measurement:
        """What is there now. Never raises for what a driver or a GPU may do; may hang when the driver does."""
        ...


@dataclass
class DriverSource:
    """NVML, asked for facts once a minute and for states each time; without a driver asked again after 5 to 60 s."""

    library: Nvml = field(default_factory=Nvml)
    clock: Callable[[], float] = time.monotonic
    _retry_at: float = float("-inf")
    _retry_s: float = LEAST_RETRY_S
    _facts_at: float = float("-inf")
    _driver: str = ""
    _absent: Measurement = field(default_factory=Measurement)

    def measure(self) -> Measurement:
        """See the Protocol."""
        now = self.clock()
        if now < self._retry_at:
            return self._absent
        try:
            facts = None
            if now - self._facts_at >= FACTS_EVERY_S:
                inventory = self.library.inventory()
                facts, self._driver, self._facts_at = inventory.gpus, inventory.driver, now
            states = self.library.states()
        except DriverUnavailableError as error:
            self._retry_at = now + self._retry_s
            self._retry_s = min(MOST_RETRY_S, self._retry_s * 2)
            self._facts_at = float("-inf")
            self._absent = Measurement(reason=str(error))
            return self._absent
        self._retry_s, self._retry_at = LEAST_RETRY_S, float("-inf")
        reason = "" if states else NONE_FOUND
        return Measurement(source="nvml", driver=self._driver, reason=reason, states=states, facts=facts)


@dataclass
class ReplaySource:
    """A recording, played at the speed at which it was made, again and again. Its GPUs are never placeable."""

    recording: Recording
    name: str
    clock: Callable[[], float] = time.monotonic
    _began: float | None = None

    def measure(self) -> Measurement:
        """See the Protocol."""
        now = self.clock()
        began = self._began
        facts = self.recording.facts if began is None else None
        self._began = began = now if began is None else began
        moment = self.recording.at(now - began)
        return Measurement(source=REPLAY + self.name, driver=self.recording.driver, states=moment.states, facts=facts)


@dataclass
class BrokenSource:
    """A recording that cannot be read: no GPUs, and the reason."""

    reason: str

    def measure(self) -> Measurement:
        """See the Protocol."""
        return Measurement(reason=self.reason)


@dataclass
class NoSource:
    """A host that is to be taken for one without GPUs: nothing is asked."""

    def measure(self) -> Measurement:
        """See the Protocol."""
        return Measurement(reason=SWITCHED_OFF)


def source_for(setting: str) -> GpuSource:
    """What BERTH_GPU_SOURCE names: ``replay:NAME`` or ``replay:FILE``, ``none``, or the driver: ``nvml`` or empty."""
    if setting == "none":
        return NoSource()
    if not setting.startswith(REPLAY):
        return DriverSource()
    path = recording_named(setting.removeprefix(REPLAY))
    try:
        return ReplaySource(recording=Recording.read(path), name=path.name)
    except (OSError, ValueError) as error:
        return BrokenSource(reason=NOT_PLAYED % {"path": path, "error": error})


def recording_named(name: str) -> Path:
    """One that comes with Berth when it is named without folder and ending, else the file itself."""
    own = RECORDINGS / f"{name}.jsonl"
    return own if "/" not in name and own.is_file() else Path(name)
