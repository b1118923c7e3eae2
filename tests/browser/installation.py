"""A whole Berth, started with ``manage.py up`` in a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.chaos.control import Control
from tests.installed import PASSWORD, copy_installed
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
READY_WITHIN_S = 60


class Installation:
    """``url`` is the web's; ``command`` runs commands of ``manage.py`` beside it, all in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "DJANGO_"))}
        for name in ("REDIS_URL", "DATABASE_URL"):
            kept.pop(name, None)
        own = {"BERTH_DATA_DIR": str(self.folder / "data"), "BERTH_PORT": str(self.port)}
        return {**kept, **own, "BERTH_ADMIN_PASSWORD": PASSWORD, "BERTH_NODE_NAME": "quay"}

    def start(self) -> None:
        """Return once it says that it is ready. The first time it begins with what “install” leaves behind."""
        if not (self.folder / "data" / "berth.sqlite3").exists():
            copy_installed(self.folder / "data")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ends_at = time.monotonic() + READY_WITHIN_S
        while f"Berth is ready at {self.url}" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends_at, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """Ctrl-C."""
        if self._control is not None:
            self._control.close()
            self._control = None  # the next start has another Redis
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(40)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ``berth``."""
        if self._control is None:
            self._control = Control(
                {**self.environment, "DJANGO_SETTINGS_MODULE": "dashboard.settings", "BERTH_ROLE": "command"}
            )
        answer = self._control.answer(arguments)
        return subprocess.CompletedProcess(arguments, int(answer["status"] or 0), answer["out"], answer["err"])

    def member(self, role: str) -> psutil.Process:
        """The supervised process of that role (BERTH_ROLE)."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if child.environ().get("BERTH_ROLE") == role:
                    return child
        raise AssertionError(f"no process has the role {role}")


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """A running installation; whoever started a model in it stops that too."""
    made = Installation(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
