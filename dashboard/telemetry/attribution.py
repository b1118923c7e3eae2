"""From a process on a GPU to the run that it belongs to, its user and its command: through /proc and the runtimes."""

from __future__ import annotations

import json
import logging
import pwd
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.exceptions import BerthError
from deployments.gpu_readings import GpuProcess
from deployments.redis import RedisError, client
from deployments.redis_keys import gpu_owners

logger = logging.getLogger(__name__)
CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
#: A process that belongs to no run is looked at again after this long: its run may have been launched just now.
#: So is one that cannot be told from a later one of the same pid.
BELIEVED_S = 5.0
KEPT_S = 86_400
MOST_PARENTS = 20
COMMAND_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class ProcessFacts:
    """What the kernel says about a process; no more than its pid when it cannot be seen from here.

    ``started`` tells two processes of one pid apart.
    """

    pid: int
    started: str = ""
    parent: int = 0
    container: str = ""
    user: str = ""
    command: str = ""

    @property
    def key(self) -> str:
        """Names this process and no later one of its pid."""
        return f"{self.pid}:{self.started}"


@dataclass
class ProcFolder:
    """The kernel's process table. ``root`` stands in for /proc in tests."""

    root: Path = Path("/proc")
    _boot: str | None = None

    def facts(self, pid: int) -> ProcessFacts | None:
        """About one process; None when it is gone or not visible from here."""
        folder = self.root / str(pid)
        try:
            # The name may hold spaces and brackets, so fields are counted from its end.
            name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
            fields = rest.split()
            uid = folder.stat().st_uid
        except (OSError, ValueError):
            return None
        return ProcessFacts(
            pid=pid,
            started=f"{self._boot_id()}-{fields[19]}",
            parent=int(fields[1]),
            container=self._container(folder),
            user=_user(uid),
            # Never the arguments, which may hold secrets.
            command=name[:COMMAND_CHARACTERS],
        )

    def _container(self, folder: Path) -> str:
        try:
            found = CONTAINER.search((folder / "cgroup").read_text())
        except OSError:
            return ""
        return found.group() if found else ""

    def _boot_id(self) -> str:
        if self._boot is None:
            try:
                self._boot = (self.root / "sys/kernel/random/boot_id").read_text().strip()[:8]
            except OSError:
                self._boot = "-"
        return self._boot


#: The names of the runs that may have processes here, and a way to ask for their pids.
Members = Callable[[], Mapping[str, frozenset[int]]]


@dataclass
class Attribution:
    """Remembers whose a process is for as long as it lives, also after its run is gone.

    ``members`` gives the pids of each run of this node; it may raise BerthError, and then nothing is concluded.
    What was found is kept in Redis too, so that a new agent knows what outlived its run.
    """

    node: str
    members: Members
    proc: ProcFolder = field(default_factory=ProcFolder)
    clock: Callable[[], float] = time.monotonic
    _owners: dict[str, str] | None = None
    _containers: dict[str, str] = field(default_factory=dict)
    _lately: dict[str, tuple[str, float]] = field(default_factory=dict)
    _silent: bool = False

    def processes(self, pids: Iterable[int]) -> dict[int, GpuProcess]:
        """Each process with its run, user and command, without memory. A silent runtime or Redis raises nothing."""
        facts = {pid: self.proc.facts(pid) or ProcessFacts(pid=pid) for pid in pids}
        owners = self._owners_of(facts)
        self._forget_ended()
        return {
            pid: GpuProcess(
                pid=pid,
                user=one.user,
                command=one.command,
                run_name=owners[pid] or "",
                attributed=owners[pid] is not None,
            )
            for pid, one in facts.items()
        }

    def _owners_of(self, facts: Mapping[int, ProcessFacts]) -> dict[int, str | None]:
        """The run of each process, empty for somebody else's, None when nobody can tell."""
        owners = {pid: self._known_owner(one) for pid, one in facts.items()}
        if all(owner is not None for owner in owners.values()):
            return owners
        asked = self._ask()
        if asked is None:
            return owners
        runs = {member: name for name, members in asked.items() for member in members}
        for pid, owner in owners.items():
            if owner is None:
                owners[pid] = self._found(facts[pid], runs)
        return owners

    def _known_owner(self, facts: ProcessFacts) -> str | None:
        owner = self._known().get(facts.key) or (facts.container and self._containers.get(facts.container))
        if owner:
            return owner
        lately, at = self._lately.get(facts.key, (None, 0.0))
        return lately if self.clock() - at < BELIEVED_S else None

    def _found(self, facts: ProcessFacts, runs: Mapping[int, str]) -> str:
        """The run that has the process, or one of its parents, as a member; remembered."""
        owner, one = runs.get(facts.pid, ""), facts
        for _generation in range(MOST_PARENTS):
            if owner or one.parent <= 1:
                break
            parent = self.proc.facts(one.parent)
            if parent is None:
                break
            owner, one = runs.get(parent.pid, ""), parent
        if owner and facts.started:
            self._known()[facts.key] = owner
            if facts.container:
                self._containers[facts.container] = owner
            self._keep()
        else:
            self._lately[facts.key] = (owner, self.clock())
        return owner

    def _ask(self) -> Mapping[str, frozenset[int]] | None:
        try:
            answer = self.members()
        except BerthError as error:
            if not self._silent:
                logger.warning("Whose the processes on the GPUs are is not known: %s", error)
            self._silent = True
            return None
        self._silent = False
        return answer

    def _forget_ended(self) -> None:
        """Drop what is remembered of processes that have ended; one that left the GPUs may come back."""
        known = self._known()
        ended = [key for key in known if not self._lives(key)]
        for key in ended:
            del known[key]
        if ended:
            runs = set(known.values())
            self._containers = {container: run for container, run in self._containers.items() if run in runs}
            self._keep()
        now = self.clock()
        self._lately = {key: seen for key, seen in self._lately.items() if now - seen[1] < BELIEVED_S}

    def _lives(self, key: str) -> bool:
        facts = self.proc.facts(int(key.partition(":")[0]))
        return facts is not None and facts.key == key

    def _known(self) -> dict[str, str]:
        if self._owners is None:
            try:
                self._owners = dict(json.loads(client().get(gpu_owners(self.node)) or "{}"))
            except RedisError:
                return {}
            except (ValueError, TypeError):
                self._owners = {}
        return self._owners

    def _keep(self) -> None:
        if self._owners is None:
            return
        try:
            client().set(gpu_owners(self.node), json.dumps(self._owners), ex=KEPT_S)
        except RedisError as error:
            logger.debug("Whose the processes on the GPUs are was not kept: %s", error)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
