"""A PostgreSQL server of the tests' own, started on first use and gone at the end of the run.

`tests/conftest.py` makes `postgres_url` known to every test.
"""

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.requirements import left_out, require


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """`DATABASE_URL` of an empty database `berth` on a server that listens on 127.0.0.1 alone."""
    binaries = require("postgres")
    # Not pytest's own temporary folder: root's is closed to the account that the server must run under.
    folder = Path(tempfile.mkdtemp(prefix="bpg-", dir="/tmp"))
    account = _unprivileged_account()
    if account:
        shutil.chown(folder, account)
    data = folder / "data"
    port = free_port()
    # No durability: a test server that loses its data with the machine loses nothing.
    options = (
        f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        " -c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    )
    initdb = f"{binaries}/initdb -D {data} -U berth -A trust -E UTF8 --locale=C --no-sync"
    pg_ctl = [f"{binaries}/pg_ctl", "-D", str(data), "-w", "-t", "30"]
    createdb = f"{binaries}/createdb -h {folder} -p {port} -U berth berth"
    try:
        _run(initdb.split(), account)
        _run([*pg_ctl, "-l", str(folder / "log"), "-o", options, "start"], account)
        try:
            _run(createdb.split(), account)
            yield f"postgresql://berth@127.0.0.1:{port}/berth"
        finally:
            _run([*pg_ctl, "-m", "immediate", "stop"], account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_account() -> str | None:
    """PostgreSQL refuses to run as root: the account to use instead, or None when this is not root."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    name = next((name for name in ("postgres", "nobody") if name in accounts), None)
    if name is None:
        left_out("postgres", "PostgreSQL refuses to run as root and there is no account to run it under.")
    return name


def _run(command: list[str], account: str | None) -> None:
    """Run `command` in a folder that every account may enter; its output is shown if it fails."""
    if account:
        command = ["runuser", "-u", account, "--", *command]
    # Into a file: the server that pg_ctl leaves behind would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        process = subprocess.run(
            command, cwd="/", check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60
        )
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode:
        pytest.fail(f"{shlex.join(command)} exited with {process.returncode}:\n{said}", pytrace=False)
