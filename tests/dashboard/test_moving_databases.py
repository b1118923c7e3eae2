"""An installation that moves from SQLite to PostgreSQL and back, by the commands that people type.

Each installation has one process that runs its commands, so that a Python need not start for each of them.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.chaos.control import Control
from tests.installed import PASSWORD, copy_installed

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(400)]

#: What people did: a role, a key, an edited config, runs with logs.
USE = """
from django.contrib.auth.models import Group, User
from django.utils import timezone
from deployments.models import Attempt, Config, Deployment, DeploymentEvent, Node
ann = User.objects.create_user("ann", password="correct horse")
ann.groups.add(Group.objects.get(name="operator"))
node = Node.objects.create(name="gpu-7", runtimes=["docker", "process"], facts={"memory": 2**40})
config = Config.objects.get(name="smollm2-135m")
spec = config.serving_spec()
for phase in ("failed", "stopped"):
    run = Deployment.objects.create(config=config, spec=spec.to_json(), spec_digest=spec.digest, node=node, phase=phase,
        revision=config.revision, started_by="ann", phase_since=timezone.now(), progress={"done": 1.5, "step": "読"},
        supersedes=Deployment.objects.first())
    DeploymentEvent.objects.create(deployment=run, at=timezone.now(), phase=phase, reason_params={"n": [1, None]})
    Attempt.objects.create(deployment=run, number=1, started_at=timezone.now(), exit_code=-9, log="x\\n" * 300_000)
"""
#: Every row of every table that moves, apart from what the moving itself noted.
DUMP = """
import json
from django.core import serializers
from django.db.models import QuerySet
from dashboard.moving.tables import moved_models
for model in moved_models():
    rows = QuerySet(model).order_by("pk")
    if model._meta.label == "deployments.AuditEntry":
        rows = rows.exclude(action="installation.import")
    for row in serializers.serialize("python", rows, use_natural_foreign_keys=True):
        if row["model"] == "auth.group":
            row["pk"] = None
            row["fields"]["permissions"].sort()
        print("ROW", json.dumps(row, default=str, sort_keys=True))
"""
#: The next run has a number of its own.
NEXT = """
from deployments.models import AuditEntry, Deployment, Node
node, entry = Node.objects.create(name="new"), AuditEntry.objects.create(actor="a", via="cli", action="x")
print("NEXT", node.pk > 1, entry.pk > 1)
"""


class Installation:
    """A data folder and a database."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "DATABASE_"))}
        kept.pop("DJANGO_SETTINGS_MODULE", None)
        environment = kept | {"BERTH_DATA_DIR": str(folder), "BERTH_ADMIN_PASSWORD": PASSWORD}
        if database_url:
            environment["DATABASE_URL"] = database_url
        self.control = Control({**environment, "DJANGO_SETTINGS_MODULE": "dashboard.settings"})

    def berth(self, *arguments: str, status: int = 0) -> str:
        done = self.control.answer(arguments)
        assert done["status"] == status, done["err"]
        return str(done["out"] + done["err"])

    def rows(self) -> list[Any]:
        told = self.berth("shell", "--no-imports", "-c", DUMP).splitlines()
        return [json.loads(line.removeprefix("ROW ")) for line in told if line.startswith("ROW ")]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Makes an installation in a folder of that name; its process ends with the test."""
    made: list[Installation] = []

    def make(name: str, database_url: str = "") -> Installation:
        made.append(Installation(tmp_path / name, database_url))
        return made[-1]

    yield make
    for each in made:
        each.control.close()


@pytest.fixture
def empty_database(postgres_url: str) -> str:
    name = f"moving_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_url.rsplit('/', 1)[0]}/{name}"


def test_everything_is_the_same_on_postgresql_and_back_on_sqlite(
    tmp_path: Path, empty_database: str, at: Callable[..., Installation]
) -> None:
    made_by_run = at("sqlite")
    made_by_run.berth("install")
    made_by_run.berth("shell", "--no-imports", "-c", USE)
    made_by_run.berth("key", "create", "laptop")
    file = tmp_path / "berth.export"
    assert "rows exported" in made_by_run.berth("export", str(file))
    before = made_by_run.rows()
    assert {row["model"] for row in before} >= {"auth.user", "deployments.attempt", "playground.gatewaykey"}

    composed = at("composed", empty_database)
    assert "Run “berth install” first" in composed.berth("import", str(file), status=1)
    composed.berth("install")
    assert "rows imported" in composed.berth("import", str(file))
    assert composed.rows() == before
    assert "NEXT True True" in composed.berth("shell", "--no-imports", "-c", NEXT), "sequences go on"
    composed.berth("install")  # as at every start: the catalogue stays as it came
    assert "in use (2 deployments" in composed.berth("import", str(file), status=1)
    composed.berth("import", str(file), "--replace")
    assert composed.rows() == before

    second = tmp_path / "second.export"
    composed.berth("export", str(second))
    before = composed.rows()
    copy_installed(tmp_path / "back")
    back = at("back")
    back.berth("import", str(second))
    assert back.rows() == before


def test_an_agent_that_reports_meanwhile_waits_for_the_import(
    tmp_path: Path, empty_database: str, at: Callable[..., Installation]
) -> None:
    copy_installed(tmp_path / "old")
    old = at("old")
    old.berth("shell", "--no-imports", "-c", USE)
    old.berth("export", str(tmp_path / "berth.export"))
    fresh = at("fresh", empty_database)
    fresh.berth("install")
    ended = threading.Event()

    def report() -> None:
        """As an agent does at its first heartbeat: its node gets the number that the file has for another."""
        with psycopg.connect(empty_database, autocommit=True) as connection:
            while not ended.is_set():
                connection.execute("DELETE FROM deployments_node WHERE name = 'fresh'")
                connection.execute(
                    "INSERT INTO deployments_node"
                    " (id, name, runtimes, facts, address, maintenance_by, maintenance_note, created_at)"
                    " VALUES (1, 'fresh', '[]', '{}', '', '', '', now()) ON CONFLICT DO NOTHING"
                )

    agent = threading.Thread(target=report)
    agent.start()
    try:
        assert "rows imported" in fresh.berth("import", str(tmp_path / "berth.export"))
    finally:
        ended.set()
        agent.join(20)
