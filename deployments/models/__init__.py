from .audit import AuditEntry
from .catalogue import CatalogueModel, Config, ConfigRevision
from .deployment import Attempt, Deployment, DeploymentEvent
from .fetch import Fetch
from .gpu import Gpu, GpuLease
from .node import Node

__all__ = [
    "Attempt",
    "AuditEntry",
    "CatalogueModel",
    "Config",
    "ConfigRevision",
    "Deployment",
    "DeploymentEvent",
    "Fetch",
    "Gpu",
    "GpuLease",
    "Node",
]
