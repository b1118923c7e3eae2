"""What a placement is decided upon: the nodes and their GPUs as they are now. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deployments.gpu_readings import GpuProcess

GIB = 1024**3
#: Foreign processes with less than this, a monitor or a display, disturb nobody.
DISTURBS_BYTES = GIB


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The live deployment that has the lease of a GPU."""

    deployment_id: int
    config: str


@dataclass(frozen=True, kw_only=True)
class GpuView:
    """One GPU. Bytes as measured; ``free_bytes`` None means that no fresh reading tells.

    ``returned_bytes`` is what its holder's own processes have: free once that has stopped.
    ``foreign`` are the processes on it that are not its holder's. ``trouble`` says why it is not measured.
    ``island`` is equal for GPUs that reach each other fast (NVLink, else one NUMA node).
    """

    uuid: str
    index: int
    memory_bytes: int
    free_bytes: int | None
    name: str = ""
    returned_bytes: int = 0
    island: str = ""
    trouble: str = ""
    holder: Holder | None = None
    foreign: tuple[GpuProcess, ...] = ()
    quarantined: bool = False
    replay: bool = False

    @property
    def is_placeable(self) -> bool:
        """Whether it may be given to anybody at all, now or later."""
        return not self.replay and not self.quarantined and self.free_bytes is not None

    @property
    def is_shared(self) -> bool:
        """Whether it would be shared with somebody's work, which takes its time and may grow."""
        return sum(process.memory_bytes or 0 for process in self.foreign) >= DISTURBS_BYTES

    def fits(self, wanted_bytes: int) -> bool:
        """Whether it can be given away now."""
        return self.is_placeable and self.holder is None and (self.free_bytes or 0) >= wanted_bytes

    def would_fit(self, wanted_bytes: int) -> bool:
        """Whether it could be given away once its holder has stopped."""
        return self.is_placeable and (self.free_bytes or 0) + self.returned_bytes >= wanted_bytes


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """One node. ``live`` counts the deployments that it has now."""

    name: str
    gpus: tuple[GpuView, ...] = ()
    runtimes: frozenset[str] = frozenset()
    is_fresh: bool = True
    in_maintenance: bool = False
    has_image: bool = False
    has_weights: bool = False
    live: int = 0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a config asks for: so many whole GPUs, each with so much free memory."""

    runtime: str
    gpus: int = 0
    memory_bytes: int = 0
    node: str = ""
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where it goes. ``one_island`` tells whether its GPUs reach each other fast."""

    node: str
    gpu_uuids: tuple[str, ...] = ()
    one_island: bool = True
    has_image: bool = False
    has_weights: bool = False


class Why(StrEnum):
    """What keeps one node, or one GPU, from being given."""

    OTHER_NODE = "other_node"
    SILENT = "silent"
    NO_RUNTIME = "no_runtime"
    MAINTENANCE = "maintenance"
    TOO_FEW = "too_few"
    OTHER_GPU = "other_gpu"
    REPLAY = "replay"
    HELD = "held"
    QUARANTINED = "quarantined"
    UNMEASURED = "unmeasured"
    TOO_SMALL = "too_small"
    MEMORY_USED = "memory_used"


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """One thing in the way: of a whole node where ``gpu`` is None, else of that GPU."""

    node: str
    why: Why
    gpu: GpuView | None = None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why it goes nowhere now. ``stops`` are the fewest deployments whose end would make room; empty: none would.

    ``detail`` is short, in names and numbers, to be kept with the run; ``obstacles`` tell it of every node and GPU.
    """

    code: str
    detail: str = ""
    stops: tuple[Holder, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
