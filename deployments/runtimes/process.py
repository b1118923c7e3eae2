"""The runtime ``process``: a model server as a process of this host, kept by a small keeper of its own.

A run is the folder ``processes/NAME``. Nothing is remembered elsewhere, so that any worker, also one that was
started later, sees and handles every run. Needs Linux.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from deployments.exceptions import LaunchError, RuntimeFaultError

from . import run_files
from .base import Cancelled, LogChunk, Report, RunObservation, RunSpec, RunState
from .bundles import Bundles
from .child_environment import child_environment
from .host import host_refusals, locked, try_lock
from .kept_run import KeptRun
from .log_lines import read_lines
from .ports import free_port

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: A keeper that has noted the end of its process needs a moment to leave.
KEEPER_LEAVES_S = 2.0
CHANGES_LOOK_S = 0.5
#: What was killed and still lives after this many seconds is stuck in the kernel.
STUCK_S = 10.0


class ProcessRuntime:
    """Implements :class:`deployments.runtimes.base.Runtime` below ``data_dir``."""

    name = "process"

    def __init__(self, data_dir: Path, *, bundles: Bundles | None = None) -> None:
        self._runs = data_dir.absolute() / "processes"
        self._bundles = bundles or Bundles(data_dir.absolute() / "bundles")
        self._unreadable: set[str] = set()

    def is_offered(self) -> bool:
        """On Linux, and unless Berth itself runs in a container: with that every process in it would die.

        The composed stack says so by naming the network of its models; a mark such as ``/.dockerenv`` says nothing,
        for whole machines have it.
        """
        return sys.platform == "linux" and not settings.BERTH_MODELS_NETWORK

    def version(self) -> str:
        """None: there is no engine."""
        return ""

    def has_image(self, image: str) -> bool:
        """Whether the bundle is unpacked and whole; see the Protocol."""
        return self._bundles.has(image)

    def ensure_image(self, image: str, *, report: Report, cancelled: Cancelled) -> None:
        """Fetch the bundle of wheels named ``image``; see the Protocol."""
        self._bundles.ensure(image, report=report, cancelled=cancelled)

    def create(self, run: RunSpec) -> None:
        """Write the run's folder, choosing its port; see the Protocol."""
        kept = self._kept(run.name)
        if not Path("/proc/self/stat").exists():
            message = _("Processes are kept on Linux only. Choose the Docker runtime for this config.")
            raise LaunchError(message, code="needs_linux")
        if run.volumes:
            message = _("A process on the host mounts no volumes. Remove them or choose the Docker runtime.")
            raise LaunchError(message, code="volumes_unsupported")
        with host_refusals(self._runs):
            self._runs.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self._runs / ".create.lock"):
                if not kept.exists():
                    self._write(run, kept.folder)

    def _write(self, run: RunSpec, target: Path) -> None:
        # Of creators and removers that were killed; the lock is ours, and nobody looks at removed runs again.
        for leftover in (*self._runs.glob(".new-*"), *self._runs.glob(".gone-*")):
            _delete(leftover)
        port = free_port(taken=self._ports())
        filled = self._filled(run, port=port)
        environment = child_environment(filled)
        folder = target.with_name(f".new-{run.name}")
        (folder / run_files.WORK).mkdir(mode=0o700, parents=True)
        token = secrets.token_hex(16)
        record: dict[str, object] = {
            "name": run.name,
            "image": run.image,
            "program": _program(filled.argv, environment["PATH"]),
            "argv": list(filled.argv),
            "port": port,
            "token": token,
            "labels": dict(run.labels),
        }
        # Secrets are in the environment: it has a file of its own, which the keeper deletes once it is used.
        run_files.write_json(str(folder / run_files.ENVIRONMENT), {**environment, run_files.MARK: token})
        run_files.write_json(str(folder / run_files.RUN), record)
        folder.rename(target)

    def start(self, name: str) -> None:
        """Start a keeper with the process; see the Protocol. Blocks until the process has a pid."""
        kept = self._kept(name)
        if not kept.exists():
            raise RuntimeFaultError(_("The run %(name)s does not exist any more.") % {"name": name}, code="vanished")
        with host_refusals(kept.folder):
            kept.start()

    def observe(self, name: str) -> RunObservation:
        """What is there now; see the Protocol. A process whose keeper was killed gets a new one."""
        try:
            return self._kept(name).observe()
        except (OSError, ValueError, RuntimeFaultError) as error:
            return RunObservation(state=RunState.UNKNOWN, detail=str(error))

    def stop(self, name: str, *, force: bool) -> None:
        """Signal the process's group, with ``force`` everything that it started; see the Protocol."""
        kept = self._kept(name)
        with host_refusals(kept.folder):
            if kept.exists():
                kept.stop(force=force)

    def remove(self, name: str) -> None:
        """Delete the folder of an ended run; see the Protocol."""
        kept = self._kept(name)
        with host_refusals(kept.folder):
            deadline = time.monotonic() + KEEPER_LEAVES_S
            while kept.exists():
                with try_lock(kept.folder / run_files.LOCK) as alone:
                    state = kept.observe().state
                    if alone and state is not RunState.RUNNING:
                        _discard(kept)
                        return
                if state is RunState.RUNNING or time.monotonic() > deadline:
                    message = _("%(name)s still runs. Stop it before it is removed.")
                    raise RuntimeFaultError(message % {"name": name}, code="still_running")
                time.sleep(0.01)

    def logs(self, name: str, *, cursor: int = 0, limit: int = 1000, fetch: bool = True) -> LogChunk:
        """Lines that the keeper wrote; see the Protocol."""
        folder = self._kept(name).folder / run_files.LOG
        with host_refusals(folder):
            return read_lines(folder, cursor=cursor, limit=limit)

    def follow(self, name: str, *, ended: Callable[[], bool]) -> None:
        """Nothing: the keeper writes where :meth:`logs` reads."""

    def owned(self) -> Mapping[str, RunState]:
        """All runs that were created and not removed, by name; UNKNOWN where a file cannot be read."""
        return {name: self.observe(name).state for name in self._names()}

    def members(self, name: str) -> frozenset[int]:
        """See the Protocol."""
        try:
            return frozenset(self._kept(name).members())
        except (OSError, ValueError):
            return frozenset()

    def changes(self, *, ended: Callable[[], bool]) -> Iterator[str]:
        """Nothing: the kernel tells a stranger to a process nothing, so its agent looks instead."""
        while not ended():
            time.sleep(CHANGES_LOOK_S)
        yield from ()

    def _names(self) -> list[str]:
        return sorted(path.parent.name for path in self._runs.glob("[!.]*/" + run_files.RUN))

    def _kept(self, name: str) -> KeptRun:
        if not NAME.fullmatch(name):
            raise LaunchError(_("%(name)s cannot name a run.") % {"name": name})
        return KeptRun(self._runs / name)

    def _ports(self) -> set[int]:
        """The ports of all runs. One whose record is broken is left out: it must not stop all others."""
        ports = set()
        for name in self._names():
            try:
                ports.add(int(KeptRun(self._runs / name).record()["port"]))
            except (OSError, ValueError, TypeError, KeyError) as error:
                if name not in self._unreadable:
                    self._unreadable.add(name)
                    log.warning("the port of %s is unknown, its %s is broken: %s", name, run_files.RUN, error)
        return ports

    def _filled(self, run: RunSpec, *, port: int) -> RunSpec:
        """``run`` with ``{port}`` and ``{image}`` filled in. Raises LaunchError."""
        folder = str(self._bundles.folder(run.image))

        def fill(text: str) -> str:
            return text.replace("{port}", str(port)).replace("{image}", folder)

        return replace(
            run,
            argv=tuple(fill(argument) for argument in run.argv),
            environment=tuple((name, fill(value)) for name, value in run.environment),
        )


def _discard(kept: KeptRun) -> None:
    """Delete the folder of a run whose process and keeper are gone, and end what they left behind.

    Raises RuntimeFaultError when that does not end: a process in the kernel's hands cannot be killed.
    """
    name, deadline = kept.folder.name, time.monotonic() + STUCK_S
    while members := kept.members():
        if time.monotonic() > deadline:
            pids = ", ".join(map(str, members))
            log.error("%s cannot be removed: processes %s were killed %.0f s ago and live", name, pids, STUCK_S)
            message = _("%(name)s left processes that cannot be killed: %(pids)s. Restart the host if they stay.")
            raise RuntimeFaultError(message % {"name": name, "pids": pids}, code="still_running", pids=pids)
        run_files.kill(members, signal.SIGKILL)
        time.sleep(0.01)
    doomed = kept.folder.with_name(f".gone-{name}-{secrets.token_hex(4)}")
    kept.folder.rename(doomed)
    _delete(doomed)


def _delete(folder: Path) -> None:
    """Delete a folder that holds no run; another worker may do so now too. What resists is left to the next time."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        log.warning("%s could not be deleted", folder)


def _program(argv: Sequence[str], path: str) -> str:
    """The file to execute. Raises LaunchError when it is missing."""
    command = argv[0] if argv else ""
    is_relative = "/" in command and not command.startswith("/")
    found = None if is_relative else shutil.which(command, path=path)
    if found is None:
        raise LaunchError(
            _("The command %(command)s is not on this host. Install it, or write its whole path.")
            % {"command": command},
            code="command_not_found",
            command=command,
        )
    return found
