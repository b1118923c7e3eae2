"""What the folder of a kept process holds, and which of its processes live.

Standard library only, and little of it: every keeper holds this in memory for as long as its model runs, so
that pathlib, typing and dataclasses (a megabyte each) stay out. Linux only: it reads ``/proc``.
"""
# ruff: noqa: PTH105, PTH123, PTH208

from __future__ import annotations

import json
import os

RUN = "run.json"
ENVIRONMENT = "environment.json"  # holds secrets; deleted as soon as the process has them
STATE = "keeper.json"
EXIT = "exit.json"
LOCK = "lock"
LOG = "log"
WORK = "work"
STREAMS = ("out", "err")  # named pipes, so that a second keeper can take over from one that was killed

#: The environment variable by which all processes of a run are known, whatever session they moved to.
MARK = "KEEPER_RUN"


def write_json(path: str, data: dict[str, object]) -> None:
    """Replace ``path`` by ``data``, readable by the owner only. Raises OSError.

    Atomic: after a crash, also of the host, ``path`` holds the old or the new object, never a part.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        left = json.dumps(data).encode()
        while left:  # a disk that fills up takes a part first, and refuses only the rest
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)


def read_json(path: str) -> dict[str, object] | None:
    """The object in ``path``, None when there is no such file. Raises OSError, or ValueError when it is broken."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no JSON object")  # noqa: TRY004 - as broken as any other content
    return data


def boot_id() -> str:
    """Differs after each start of the host: pids of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _stat(pid: int) -> list[bytes] | None:
    """The fields of ``/proc/PID/stat`` from the state on (see proc(5)), None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may itself hold spaces and parentheses.
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_ticks(pid: int) -> int | None:
    """When ``pid`` started, in clock ticks since boot; None when it is gone or only a zombie."""
    fields = _stat(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def identify(pid: int) -> dict[str, object]:
    """What tells this process from a later one with the same pid."""
    return {"pid": pid, "started": start_ticks(pid)}


def living_pid(process: object) -> int | None:
    """The pid of a process noted by :func:`identify`, None unless exactly that process lives."""
    if not isinstance(process, dict):
        return None
    pid, started = process.get("pid"), process.get("started")
    return pid if isinstance(pid, int) and started is not None and start_ticks(pid) == started else None


def members(token: str, *, parent: int | None = None) -> list[int]:
    """Living processes that carry the run's mark, and with ``parent`` its children, marked or not."""
    mark = f"\0{MARK}={token}\0".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                ours = mark in b"\0" + file.read()
        except OSError:  # gone, or another user's
            continue
        fields = _stat(pid) if ours or parent is not None else None
        if fields and fields[0] not in (b"Z", b"X") and (ours or int(fields[1]) == parent):
            found.append(pid)
    return found


def is_leader(pid: int) -> bool:
    """Whether ``pid`` leads its session, as the main process of a run does."""
    fields = _stat(pid)
    return fields is not None and int(fields[3]) == pid


def kill(pids: list[int], number: int) -> None:
    """Send signal ``number`` to each; those that are gone already do not matter."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_group(leader: int, number: int) -> None:
    """Send signal ``number`` to the process group of ``leader``; nothing when it is gone."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return
