"""Gateways as processes of their own, as `berth up` starts them, beside the database and the Redis of the test."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60


@dataclass
class GatewayProcess:
    """One process in the role ``gateway``, which listens on ``url``."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(10)


def write_database(path: Path) -> None:
    """Copy what the test has committed to a file that other processes open.

    In WAL already, as an installation's is: processes that race for the switch find the database locked.
    """
    from django.db import connection

    connection.ensure_connection()
    with sqlite3.connect(path) as copy:
        connection.connection.backup(copy)
        copy.execute("PRAGMA journal_mode=WAL")
    copy.close()


@asynccontextmanager
async def gateway_processes(count: int, database: Path) -> AsyncIterator[list[GatewayProcess]]:
    """So many processes, started at once; given once each of them answers, and gone at the end."""
    async with AsyncExitStack() as undo:
        started = []
        for _each in range(count):
            started.append(_start(database))
            undo.callback(_end, started[-1].process)
        await asyncio.gather(*(_until_answering(each) for each in started))
        yield started


def _start(database: Path) -> GatewayProcess:
    port = free_port()
    environment = {
        **os.environ,
        "BERTH_ROLE": "gateway",
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "DATABASE_URL": f"sqlite:///{database}",
    }
    argv = [sys.executable, "-m", "uvicorn", "dashboard.asgi:application", "--port", str(port), "--no-access-log"]
    return GatewayProcess(f"http://127.0.0.1:{port}", subprocess.Popen(argv, cwd=ROOT, env=environment))


async def _until_answering(gateway: GatewayProcess) -> None:
    async with asyncio.timeout(READY_WITHIN_S), aiohttp.ClientSession() as session:
        while True:
            assert gateway.process.poll() is None, "the gateway ended at its start"
            try:
                async with session.get(f"{gateway.url}/api") as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
