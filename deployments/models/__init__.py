from .audit import AuditEntry
from .catalogue import CatalogueModel, Config, ConfigRevision
from .delivery import Delivery
from .deployment import Attempt, Deployment, DeploymentEvent
from .fetch import Fetch
from .gpu import Gpu, GpuLease
from .job import Job
from .node import Node

__all__ = [
    "Attempt",
    "AuditEntry",
    "CatalogueModel",
    "Config",
    "ConfigRevision",
    "Delivery",
    "Deployment",
    "DeploymentEvent",
    "Fetch",
    "Gpu",
    "GpuLease",
    "Job",
    "Node",
]
