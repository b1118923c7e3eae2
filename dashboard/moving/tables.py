"""What moves with an installation and what stays: each table is in one of the two lists, and a test holds that."""

from __future__ import annotations

from typing import Final

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import connection, models
from django.db.migrations.recorder import MigrationRecorder

#: In the order of writing: what refers comes after what it refers to.
MOVED: Final = (
    "auth.Group",
    "auth.User",
    "deployments.Node",
    "deployments.CatalogueModel",
    "deployments.Config",
    "deployments.ConfigRevision",
    "deployments.Registry",
    "deployments.Delivery",
    "deployments.ImageTransfer",
    "deployments.ImageBuild",
    "deployments.Deployment",
    "deployments.DeploymentEvent",
    "deployments.Attempt",
    "deployments.AuditEntry",
    "playground.GatewayKey",
    "playground.UsageSeries",
    "playground.UsageDay",
    "playground.Conversation",
    "playground.Message",
    "playground.Answer",
    "playground.Picture",
    "playground.Preset",
    "playground.ShareLink",
    "playground.Comparison",
    "playground.ComparisonColumn",
    "playground.ComparisonBatch",
    "playground.ComparisonRound",
    "playground.ComparisonCell",
    "playground.LoadTest",
    "playground.ImageTest",
    "admin.LogEntry",
)
#: Table -> why it stays.
STAYS: Final = {
    "deployments.Gpu": "each node's own finding, made anew by its own",
    "deployments.GpuLease": "held by live deployments only",
    "deployments.Fetch": "what is on the disks of the old nodes",
    "deployments.ContextArchive": "files of up to 32 MiB each; they are uploaded again",
    "playground.UsageHour": "many rows for a month; the days say the same",
    "playground.UsageRequest": "kept for days only",
    "playground.UsageBatch": "names of what waits in the old installation's Redis",
    "sessions.Session": "signed with the old installation's key",
    "auth.Permission": "made by the migrations",
    "contenttypes.ContentType": "made by the migrations",
    "axes.AccessAttempt": "throttles sign-in at the old address",
    "axes.AccessAttemptExpiration": "the same",
    "axes.AccessFailureLog": "the same",
    "axes.AccessLog": "the same",
}
#: Emptied before an import, since their rows hang on what is replaced.
EMPTIED: Final = (
    "deployments.GpuLease",
    "deployments.Gpu",
    "deployments.Fetch",
    "playground.UsageHour",
    "sessions.Session",
)
#: Known by their names, since each database numbers them itself.
BY_NAME: Final = (Group,)


def moved_models() -> tuple[type[models.Model], ...]:
    """The models of MOVED, in its order."""
    return tuple(apps.get_model(label) for label in MOVED)


def schema() -> dict[str, str]:
    """The newest migration of each app that has moved tables: a file fits where these are the same."""
    labels = {label.partition(".")[0] for label in MOVED}
    applied = MigrationRecorder(connection).applied_migrations()
    return {app: max((name for label, name in applied if label == app), default="") for app in sorted(labels)}
