"""``berth up``: what it refuses, with a sentence, and that nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
READY_WITHIN_S = 60

pytestmark = pytest.mark.slow


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A short path: the embedded Valkey's socket lies in a folder below it."""
    folder = Path(tempfile.mkdtemp(prefix="bu-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def environment(tmp_path: Path, temporary: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
    for name in ("REDIS_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE"):
        kept.pop(name, None)
    return kept | {
        "BERTH_DATA_DIR": str(tmp_path / "data"),
        "BERTH_PORT": str(port),
        "BERTH_ADMIN_PASSWORD": "up-up-up",
        "TMPDIR": str(temporary),
    }


def up(environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and standard error of an ``up`` that ends by itself."""
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Berth is ready" not in done.stdout
    return done.returncode, done.stderr


def leftovers(environment: dict[str, str]) -> list[str]:
    """Command lines of the processes that belong to this test's data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BERTH_DATA_DIR") == environment["BERTH_DATA_DIR"]:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def assert_nothing_is_left(environment: dict[str, str]) -> None:
    ends_at = time.monotonic() + 10
    while (found := leftovers(environment)) and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert found == []
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    assert not (Path(environment["BERTH_DATA_DIR"]) / "run" / "redis.url").exists()


@pytest.mark.parametrize(("offset", "variable"), [(0, "BERTH_PORT"), (1, "BERTH_GATEWAY_PORT")])
def test_a_port_in_use_is_named_before_anything_starts(
    environment: dict[str, str], port: int, tmp_path: Path, offset: int, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", port + offset)):
        status, said = up(environment)
    assert status == 1
    assert f"Port {port + offset} cannot be used (Address already in use): set {variable} to a free port" in said
    assert not (tmp_path / "data" / "berth.sqlite3").exists()
    assert_nothing_is_left(environment)


def test_a_second_up_with_the_same_data_folder_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    lock = tmp_path / "data" / "run" / "up.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        held.write("4711")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        status, said = up(environment)
        assert lock.read_text() == "4711", "the first one's note stays"
    assert status == 1
    assert "Berth runs already with this data folder (process 4711). Stop it first" in said


def test_a_malformed_catalogue_is_named_by_file_and_line(environment: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "data" / "catalogue" / "own.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("configs:\n  - name: [unclosed\n")
    status, said = up(environment)
    assert status == 1
    assert "The catalogue was not loaded:" in said
    assert "own.yaml:" in said
    assert_nothing_is_left(environment)


def test_a_database_that_does_not_answer_is_a_sentence(environment: dict[str, str]) -> None:
    environment["DATABASE_URL"] = "postgres://berth@127.0.0.1:1/berth"
    status, said = up(environment)
    assert status == 1
    assert "The database cannot be used (" in said
    assert "check DATABASE_URL" in said
    assert_nothing_is_left(environment)


def test_a_wrong_setting_is_a_sentence(environment: dict[str, str]) -> None:
    environment["BERTH_PORT"] = "eighty"
    status, said = up(environment)
    assert status == 1
    assert "The setting BERTH_PORT is wrong" in said


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", "manage.py", "up"], cwd=ROOT, env=environment, stdout=log, stderr=log, text=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def test_it_gets_ready_and_ends_with_everything_it_started(
    running: subprocess.Popen[str], environment: dict[str, str], port: int, tmp_path: Path
) -> None:
    log = tmp_path / "up.log"
    ends_at = time.monotonic() + READY_WITHIN_S
    while f"Berth is ready at http://127.0.0.1:{port}" not in log.read_text():
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, log.read_text()
        time.sleep(0.05)
    assert len(leftovers(environment)) >= 6, "up, redis, web, gateway, worker and agent"
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGINT)
    assert running.wait(40) == 0, log.read_text()
    assert "Berth stops. Running models go on." in log.read_text()
    assert "Traceback" not in log.read_text()
    assert_nothing_is_left(environment)
