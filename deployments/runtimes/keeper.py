"""Keeps one process: starts it, writes its log, waits for its end and notes how it ended.

Runs in a process of its own, apart from Berth, so that a model outlives the worker that started it. It works in
the run's folder (``run_files``) and holds an exclusive lock there, so that there is one keeper at most and a
second start doubles nothing. If a keeper is killed, its process lives on (the pipes have names) and the next
keeper adopts it; only the exit code is lost then.

Standard library only and small in memory: one keeper stands beside every running model.
"""
# ruff: noqa: PTH108, PTH110

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import time

from deployments.runtimes import run_files
from deployments.runtimes.log_segments import SegmentWriter

READ_BYTES = 64 * 1024
#: How often, in ms, orphans that came to the keeper are reaped while nothing happens.
IDLE_MS = 10_000
#: After a flood, this long a silence is its end.
QUIET_MS = 500
ENDING_MS = 20
#: A full pipe fits into one; more would let a process that never pauses hold up its own end.
DRAIN_READS = 4
#: While more comes than the log takes, a read is followed by this pause: at most 64 MB/s then cost little to count.
FLOODED_PAUSE_S = 0.001
#: What outlives its main process gets this long after SIGTERM, in seconds.
STRAGGLER_GRACE_S = 2.0
#: What was killed and still lives after this many seconds is stuck in the kernel; no keeper can wait for that.
STUCK_S = 10.0
PR_SET_CHILD_SUBREAPER = 36

LAUNCH_ERRORS = {
    errno.ENOENT: "command_not_found",
    errno.EACCES: "permission_denied",
    errno.ENOMEM: "host_exhausted",
    errno.EAGAIN: "host_exhausted",
}


def main(folder: str) -> int:
    """Keep the run in ``folder``. The exit status is an errno when not even the folder could be used, else 0."""
    try:
        os.chdir(folder)
        lock = os.open(run_files.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(run_files.EXIT):
            return 0
        if not os.path.exists(run_files.STATE):
            # Noted before the launch: a keeper that comes later then knows to look for a process of this run.
            run_files.write_json(run_files.STATE, {"boot": run_files.boot_id()})
    except BlockingIOError:
        return 0  # another keeper is at work
    except OSError as error:
        return error.errno or 1
    if os.fork():
        return 0  # the caller waits for this half only; the lock stays with the other
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    Keeper().keep()
    return 0


class Keeper:
    """One process from its launch, or adoption, to its end. The working directory is the run's folder."""

    def __init__(self) -> None:
        run = run_files.read_json(run_files.RUN) or {}
        self._run = run
        self._state = run_files.read_json(run_files.STATE) or {}
        self._token = str(run.get("token"))
        self._log = SegmentWriter(run_files.LOG)
        self._readers: dict[int, str] = {}
        self._child = 0
        self._exit_code: int | None = None

    def keep(self) -> None:
        """Return when the process and all that it started are gone, or cannot be ended, and that is noted."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for stream in run_files.STREAMS:
            if not os.path.exists(stream):
                os.mkfifo(stream, 0o600)
            self._readers[os.open(stream, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)] = stream
        is_first = self._is_first()
        try:
            found = self._find_unrecorded() if is_first else self._find_recorded()
            self._child = found or (self._launch() if is_first else 0)
        except OSError as error:
            self._note_failure(error)
            return
        self._remove_secrets()
        if self._child:
            self._note_start()
            self._follow()
        left = self._end_stragglers()
        self._log.close()
        adopted = bool(found) or not is_first
        persist(run_files.EXIT, {"exit_code": self._exit_code, "at": time.time(), "adopted": adopted, "left": left})

    def _is_first(self) -> bool:
        """Whether no keeper has got as far as noting a process, in this or an earlier life of the host."""
        return self._state.get("boot") == run_files.boot_id() and "child" not in self._state

    def _find_recorded(self) -> int:
        if self._state.get("boot") != run_files.boot_id():
            return 0
        return run_files.living_pid(self._state["child"]) or 0

    def _find_unrecorded(self) -> int:
        """A process whose keeper was killed between starting and noting it; 0 when there is none."""
        return next((pid for pid in run_files.members(self._token) if run_files.is_leader(pid)), 0)

    def _note_start(self) -> None:
        keeper, child = run_files.identify(os.getpid()), run_files.identify(self._child)
        persist(run_files.STATE, {"boot": run_files.boot_id(), "keeper": keeper, "child": child})

    def _launch(self) -> int:
        """Start the process in a session of its own and return its pid. Raises OSError."""
        environment = run_files.read_json(run_files.ENVIRONMENT) or {}
        argv = self._run["argv"]
        assert isinstance(argv, list)  # noqa: S101 - the type, for the checker
        # Opened for reading too: with no reader left, a write would end the process instead of waiting.
        pipes = [os.open(stream, os.O_RDWR | os.O_CLOEXEC) for stream in run_files.STREAMS]
        os.chdir(run_files.WORK)
        try:
            return os.posix_spawn(
                str(self._run["program"]),
                argv,
                {name: str(value) for name, value in environment.items()},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    *((os.POSIX_SPAWN_DUP2, pipe, target) for target, pipe in enumerate(pipes, 1)),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ),
            )
        finally:
            os.chdir("..")
            for pipe in pipes:
                os.close(pipe)

    def _note_failure(self, error: OSError) -> None:
        code = LAUNCH_ERRORS.get(error.errno or 0, "launch_refused")
        failure = {"code": code, "detail": error.strerror or str(error)}
        self._remove_secrets()
        persist(run_files.EXIT, {"exit_code": None, "at": time.time(), "failure": failure})

    @staticmethod
    def _remove_secrets() -> None:
        if os.path.exists(run_files.ENVIRONMENT):
            os.unlink(run_files.ENVIRONMENT)

    def _follow(self) -> None:
        """Write the log until the process itself has ended."""
        poller = select.poll()
        for reader in self._readers:
            poller.register(reader, select.POLLIN)
        try:
            handle = os.pidfd_open(self._child)
        except ProcessLookupError:
            return  # adopted, and gone meanwhile
        poller.register(handle, select.POLLIN)
        while run_files.start_ticks(self._child) is not None:
            happened = poller.poll(QUIET_MS if self._log.is_flooded else IDLE_MS)
            if not happened:
                self._log.settle()
            for source, _events in happened:
                if source != handle and self._read(source) == b"":
                    poller.unregister(source)  # closed by all; it would report that for ever
            self._reap()
        os.close(handle)

    def _end_stragglers(self) -> list[int]:
        """End whatever the process left behind, and read what is left in the pipes. Returns what cannot be ended."""
        if self._child:
            run_files.kill_group(self._child, signal.SIGTERM)
        kills_from = time.monotonic() + STRAGGLER_GRACE_S
        while True:
            childless = self._reap()
            left = run_files.members(self._token, parent=os.getpid())
            self._drain()
            if not left and childless:
                return []
            if time.monotonic() > kills_from + STUCK_S:
                self._log.feed("berth", b"processes that cannot be killed are left behind: %r\n" % left)
                return left
            if time.monotonic() > kills_from:
                run_files.kill(left, signal.SIGKILL)
            time.sleep(ENDING_MS / 1000)

    def _reap(self) -> bool:
        """Collect ended children, the orphans among them; True when there is none left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not pid:
                return False
            if pid == self._child:
                self._exit_code = os.waitstatus_to_exitcode(status)

    def _read(self, reader: int) -> bytes | None:
        """Pass one piece of output on: empty when nobody can write any more, None when nobody did."""
        try:
            data = os.read(reader, READ_BYTES)
        except BlockingIOError:
            return None
        self._log.feed(self._readers[reader], data)
        if self._log.is_flooded:
            time.sleep(FLOODED_PAUSE_S)
        return data

    def _drain(self) -> None:
        for reader in self._readers:
            for _ in range(DRAIN_READS):
                if not self._read(reader):
                    break


def persist(path: str, data: dict[str, object]) -> None:
    """Write ``data``; on a full disk try again each second, for nobody else knows it. Gives up with the folder."""
    while True:
        try:
            run_files.write_json(path, data)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(1)
        else:
            return
