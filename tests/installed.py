"""What ``berth install`` leaves behind, made once for all processes of a run, to be copied.

That an empty data folder and an empty database become an installation is tried where it is the matter:
tests/dashboard/test_up.py, test_moving_databases.py, tests/composed and tests/dashboard/test_installing.py.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Names a folder of all processes of this run, which is gone after it.
RUN_FOLDER = "BERTH_TEST_RUN_FOLDER"
#: Of the first admin.
PASSWORD = "harbour-pilot-1"


def once(name: str) -> Path:
    """The folder ``name`` of this run."""
    folder = Path(os.environ[RUN_FOLDER], name)
    folder.mkdir(exist_ok=True)
    return folder


def copy_installed(data: Path) -> None:
    """Let ``data`` be the data folder of an installation on SQLite; its admin has PASSWORD."""
    folder = once("installed")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _install(folder / "data")
            (folder / "done").touch()
    data.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "data" / "berth.sqlite3", data)


def _install(data: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "DJANGO_"))}
    for name in ("REDIS_URL", "DATABASE_URL"):
        kept.pop(name, None)
    subprocess.run(
        [sys.executable, "manage.py", "install"],
        cwd=ROOT,
        env={**kept, "BERTH_DATA_DIR": str(data), "BERTH_ADMIN_PASSWORD": PASSWORD},
        check=True,
        capture_output=True,
        timeout=120,
    )
