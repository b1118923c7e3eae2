"""The host beside its GPUs: processors, memory, disk, network."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deployments.gpu_readings import HostReading

logger = logging.getLogger(__name__)
#: A rate over a longer gap would not be about now.
MOST_GAP_S = 3.0
DISK_EVERY_S = 10.0
#: Inner sides of what goes through another interface too.
INNER = ("lo", "veth", "docker", "br-", "virbr", "cni", "flannel")


@dataclass
class Host:
    """``folder`` is where Berth keeps its data: its disk is the one told. ``system`` stands in for psutil in tests."""

    folder: Path
    system: Any = psutil
    clock: Callable[[], float] = time.monotonic
    _before: tuple[float, dict[str, int]] | None = None
    _disk_at: float = float("-inf")
    _disk: dict[str, int] = field(default_factory=dict)
    _said: bool = False

    def read(self) -> HostReading:
        """Now. What the host does not tell is None; never raises."""
        values: dict[str, Any] = {}
        for part in (self._processor, self._memory, self._space, self._rates):
            try:
                values |= part()
            except (OSError, RuntimeError, ValueError, AttributeError, psutil.Error) as error:
                if not self._said:
                    logger.warning("A part of this host's load is not known: %s", error)
                self._said = True
        return HostReading(**values)

    def _processor(self) -> dict[str, Any]:
        # The first answer of psutil is about nothing.
        percent = self.system.cpu_percent(interval=None)
        return {
            "cpu_percent": None if self._before is None else percent,
            "cpu_count": self.system.cpu_count(),
            "load_1m": round(self.system.getloadavg()[0], 2),
        }

    def _memory(self) -> dict[str, Any]:
        memory = self.system.virtual_memory()
        # What can be had without swapping is not used, though the kernel keeps files in it.
        return {"memory_used_bytes": memory.total - memory.available, "memory_total_bytes": memory.total}

    def _space(self) -> dict[str, Any]:
        if self.clock() - self._disk_at >= DISK_EVERY_S:
            usage = self.system.disk_usage(str(self.folder))
            self._disk = {"disk_free_bytes": usage.free, "disk_total_bytes": usage.total}
            self._disk_at = self.clock()
        return self._disk

    def _rates(self) -> dict[str, Any]:
        """A second's; None at first, after a counter was reset, and after a gap."""
        now, counters = self.clock(), self._counters()
        before, self._before = self._before, (now, counters)
        if before is None or not 0 < now - before[0] <= MOST_GAP_S:
            return {}
        passed, earlier = now - before[0], before[1]
        return {
            name: round((value - earlier[name]) / passed, 1)
            for name, value in counters.items()
            if name in earlier and value >= earlier[name]
        }

    def _counters(self) -> dict[str, int]:
        found: dict[str, int] = {}
        disk = self.system.disk_io_counters(nowrap=False)
        if disk is not None:
            found |= {"disk_read_bytes_s": disk.read_bytes, "disk_write_bytes_s": disk.write_bytes}
        network = [
            counters
            for name, counters in (self.system.net_io_counters(pernic=True, nowrap=False) or {}).items()
            if not name.startswith(INNER)
        ]
        if network:
            found |= {
                "network_received_bytes_s": sum(one.bytes_recv for one in network),
                "network_sent_bytes_s": sum(one.bytes_sent for one in network),
            }
        return found
