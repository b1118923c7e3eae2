"""One kept process, seen and handled from Berth's side of its folder."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from deployments.exceptions import LaunchError, RuntimeFaultError, RuntimeUnavailableError

from . import run_files
from .base import RunObservation, RunState
from .host import refusal

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent.parent
#: Isolated and without site-packages: a keeper loads the standard library and three modules of ours.
KEEPER = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from deployments.runtimes.keeper import main; sys.exit(main(sys.argv[2]))"
)
KEEPER_START_S = 10.0
POLL_S = 0.005


class KeptRun:
    """The run in ``folder``. Holds no state of its own: every question reads the folder and ``/proc``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self) -> bool:
        """Whether the run was created."""
        return (self.folder / run_files.RUN).exists()

    def record(self) -> dict[str, Any]:
        """What :meth:`ProcessRuntime.create` wrote down. Raises OSError, ValueError."""
        return self._read(run_files.RUN) or {}

    def observe(self) -> RunObservation:
        """What is there now. Gives a process whose keeper was killed a new keeper. Raises OSError, ValueError."""
        if not self.exists():
            return RunObservation(state=RunState.GONE)
        ended, state = self._read(run_files.EXIT), self._read(run_files.STATE)
        if ended is not None:
            return _ended(ended)
        if state is None:
            return RunObservation(state=RunState.GONE, detail=_("Created, not started yet."))
        if state.get("boot") != run_files.boot_id():
            return RunObservation(state=RunState.EXITED, detail=_("The host was restarted meanwhile."))
        keeper, child = run_files.living_pid(state.get("keeper")), run_files.living_pid(state.get("child"))
        if keeper or child:
            if not keeper:
                self._spawn_keeper()
            return self._running(child)
        if "child" in state:
            # The keeper may have noted the end between the two looks.
            ended = self._read(run_files.EXIT)
            lost = RunObservation(state=RunState.EXITED, detail=_("Its keeper was killed; the exit code is lost."))
            return _ended(ended) if ended is not None else lost
        return self._unrecorded()

    def start(self) -> None:
        """Start it unless it runs or has ended. Raises LaunchError, RuntimeUnavailableError, OSError, ValueError."""
        seen = self.observe().state
        if seen is RunState.EXITED:
            _raise_failure(self._read(run_files.EXIT) or {}, self.record())
            return
        if seen is RunState.GONE:
            self._spawn_keeper()
        deadline = time.monotonic() + KEEPER_START_S
        while time.monotonic() < deadline:
            if (ended := self._read(run_files.EXIT)) is not None:
                _raise_failure(ended, self.record())
                return
            if "child" in (self._read(run_files.STATE) or {}):
                return
            time.sleep(POLL_S)
        raise RuntimeUnavailableError(
            _("The process was not started within %(seconds)s s. The host is overloaded, or see %(path)s.")
            % {"seconds": int(KEEPER_START_S), "path": self.folder / "keeper.err"}
        )

    def stop(self, *, force: bool) -> None:
        """Send SIGTERM to the process's group, or SIGKILL to everything of the run. Raises OSError, ValueError."""
        state = self._read(run_files.STATE)
        if state is None or state.get("boot") != run_files.boot_id():
            return
        leader = run_files.living_pid(state.get("child"))
        if leader:
            run_files.kill_group(leader, signal.SIGKILL if force else signal.SIGTERM)
        if force:
            run_files.kill(self.members(), signal.SIGKILL)

    def members(self) -> list[int]:
        """The pids of all living processes of this run, its keeper apart."""
        token = self.record().get("token")
        return run_files.members(token) if token else []

    def _running(self, child: int | None) -> RunObservation:
        endpoint = f"http://127.0.0.1:{self.record()['port']}"
        return RunObservation(state=RunState.RUNNING, endpoint=endpoint, pid=child)

    def _unrecorded(self) -> RunObservation:
        """A keeper began and noted no process: it is about to, or it was killed right then."""
        if (self._read(run_files.STATE) or {}).get("child") or self._read(run_files.EXIT):
            return RunObservation(state=RunState.UNKNOWN, detail=_("It is being started."))
        members = self.members()
        if not members:
            return RunObservation(state=RunState.GONE)
        self._spawn_keeper()
        return self._running(next((pid for pid in members if run_files.is_leader(pid)), None))

    def _spawn_keeper(self) -> None:
        """Start a keeper; it ends at once when there is one already. Raises RuntimeFaultError."""
        argv = [sys.executable, "-I", "-S", "-c", KEEPER, str(ROOT), str(self.folder)]
        try:
            with (self.folder / "keeper.err").open("ab") as errors:
                status = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={},
                    start_new_session=True,
                    timeout=KEEPER_START_S,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired as error:
            raise RuntimeUnavailableError(_("The host is too busy to start a process.")) from error
        if status > 0:
            raise refusal(OSError(status, os.strerror(status)), self.folder)

    def _read(self, name: str) -> dict[str, Any] | None:
        return run_files.read_json(str(self.folder / name))


def _ended(ended: dict[str, Any]) -> RunObservation:
    detail = _("Its keeper was killed; the exit code is lost.") if ended.get("adopted") else ""
    if left := ended.get("left"):
        detail = _("It left processes behind that could not be killed: %(pids)s.") % {"pids": ", ".join(map(str, left))}
    return RunObservation(state=RunState.EXITED, exit_code=ended.get("exit_code"), detail=detail)


def _raise_failure(ended: dict[str, Any], record: dict[str, Any]) -> None:
    failure = ended.get("failure")
    if failure is None:
        return
    program = str(record.get("program"))
    error: type[RuntimeFaultError] = RuntimeUnavailableError if failure["code"] == "host_exhausted" else LaunchError
    raise error(
        _("%(program)s could not be started: %(detail)s.") % {"program": program, "detail": failure["detail"]},
        code=failure["code"],
        command=program,
        detail=failure["detail"],
    )
