"""What has to be true before the processes start: schema, catalogue, a first admin. Repeatable and quick."""

from __future__ import annotations

import secrets

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.catalogue.loading import LoadReport, load_catalogue
from deployments.exceptions import CatalogueError
from deployments.models import Config

ADMIN_NAME = "admin"


def missing_migrations() -> bool:
    """Whether the schema is behind. Raises DatabaseError when the database is away."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrate() -> bool:
    """Bring the schema up to date; returns whether there was anything to do. Makes the role groups."""
    if not missing_migrations():
        return False
    call_command("migrate", verbosity=0, interactive=False)
    return True


def load() -> LoadReport:
    """Load the catalogue files. Raises CatalogueError listing every problem."""
    return load_catalogue(actor=Actor.berth())


def first_admin(password: str) -> str | None:
    """Make the first admin unless there is one, or somebody has that name.

    Returns the password if it was made up, to print once.
    """
    if User.objects.filter(Q(is_superuser=True) | Q(username=ADMIN_NAME)).exists():
        return None
    chosen = password or secrets.token_urlsafe(12)
    with transaction.atomic():
        admin = User.objects.create_superuser(ADMIN_NAME, password=chosen)
        admin.groups.add(Group.objects.get(name="admin"))
        record_audit(Actor.berth(), "person.create", ADMIN_NAME, role="admin")
    return None if password else chosen


def install(admin_password: str) -> list[str]:
    """All of it, in order; returns what there is to tell. Raises CatalogueError when there is no catalogue yet."""
    migrate()
    told = []
    try:
        report = load()
    except CatalogueError as error:
        # One wrong line must not keep what ran yesterday from running today.
        if not Config.objects.exists():
            raise
        told.append(f"The catalogue files were not loaded; every config stays as it was. Correct this:\n{error}")
    else:
        if report.created or report.updated:
            told.append(f"Catalogue: {len(report.created)} configs new, {len(report.updated)} updated.")
    password = first_admin(admin_password)
    if password:
        told.append(f"Sign in as “{ADMIN_NAME}” with the password {password} (shown only now).")
    return told
