"""Two workers, each a process of its own, want the last GPU: exactly one gets it, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = 6
LIMIT_S = 60

pytestmark = pytest.mark.usefixtures("redis_server")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of the workers, with an empty database of their own."""
    found = {**os.environ, "BERTH_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    found.pop("DATABASE_URL", None)
    if request.param == "sqlite":
        yield found
        return
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE lease_race")
        yield {**found, "DATABASE_URL": f"{url.rsplit('/', 1)[0]}/lease_race"}
        connection.execute("DROP DATABASE lease_race WITH (FORCE)")


def racer(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.deployments.lease_racer", *arguments]


def test_of_two_workers_exactly_one_gets_the_last_gpu(environment: dict[str, str]) -> None:
    environment["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
    prepared = subprocess.run(
        racer("prepare", str(ROUNDS)),
        check=False,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert prepared.returncode == 0, prepared.stderr
    pairs = json.loads(prepared.stdout.splitlines()[-1])
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    racer("race"),
                    env=environment,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    bufsize=1,
                )
            )
            for _ in range(2)
        ]
        for worker in workers:
            stack.callback(worker.kill)
            assert told_by(worker) == "at the line"
        for pair in pairs:
            for worker, deployment in zip(workers, pair, strict=True):
                assert worker.stdin is not None
                worker.stdin.write(f"{deployment}\n")
            assert sorted(map(told_by, workers)) == ["preparing 1 1", "queued 0 0"]


def told_by(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()
