from .audit import AuditEntry
from .catalogue import CatalogueModel, Config, ConfigRevision
from .delivery import Delivery
from .deployment import Attempt, Deployment, DeploymentEvent
from .fetch import Fetch
from .gpu import Gpu, GpuLease
from .image_build import ContextArchive, ImageBuild
from .image_transfer import ImageTransfer
from .job import Job
from .node import Node
from .registry import Registry

__all__ = [
    "Attempt",
    "AuditEntry",
    "CatalogueModel",
    "Config",
    "ConfigRevision",
    "ContextArchive",
    "Delivery",
    "Deployment",
    "DeploymentEvent",
    "Fetch",
    "Gpu",
    "GpuLease",
    "ImageBuild",
    "ImageTransfer",
    "Job",
    "Node",
    "Registry",
]
