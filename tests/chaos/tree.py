"""A whole Berth of real processes in a data folder of its own, whose members may die at any time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from dashboard.children import embedded_redis
from tests.chaos.control import ROOT, Control
from tests.chaos.nursery import Forked, Nursery
from tests.installed import PASSWORD, copy_installed
from tests.ports import free_port

LOGS_WITHIN_S = 5.0
CATALOGUE = """\
models:
  - name: Tiny
configs:
"""
CONFIG = """\
  - name: {name}
    model: Tiny
    protocol: openai-text
    engine: custom
    runtime: process
    image: none
    served_name: tiny
    arguments: [{python}, {server}, --port, "{{port}}", --mark, {mark}]
    port: 9000
    readiness_path: /health
    load_timeout_s: 60
    grace_s: 5
"""


@dataclass
class Member:
    """A process that is started again at once whenever it dies, at most ``most_starts`` times."""

    begin: Callable[[Path], subprocess.Popen[bytes] | Forked]
    log: Path
    most_starts: int = 40
    starts: int = 0
    process: subprocess.Popen[bytes] | Forked | None = None

    def tend(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        self.end_group()
        assert self.starts < self.most_starts, f"{self.log.stem} dies again and again:\n{self.log.read_text()[-3000:]}"
        self.starts += 1
        self.process = self.begin(self.log)

    def end_group(self) -> None:
        """Kill what a dead process left behind, the worker's beat for one, as the supervisor does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def kill(self) -> None:
        self.end_group()
        if self.process is not None:
            self.process.wait(20)


@dataclass
class Tree:
    """Redis, workers, agent and web; ``wait`` tends all of them until a condition holds."""

    folder: Path
    configs: list[str]
    kill_at: list[tuple[str, str]] = field(default_factory=list)
    workers: int = 1
    database_url: str = ""
    planted_bug: str = ""
    with_web: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    control: Control | None = None
    nursery: Nursery | None = None

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        (self.data / "catalogue").mkdir(parents=True)
        self.socket = Path(tempfile.mkdtemp(prefix="bc-", dir="/tmp")) / "r"
        texts = map(self.config_text, self.configs)
        (self.data / "catalogue" / "tiny.yaml").write_text(CATALOGUE + "".join(texts))

    def config_text(self, config: str) -> str:
        """The config's item of the catalogue file."""
        server = Path(__file__).with_name("tiny_server.py")
        return CONFIG.format(name=config, python=sys.executable, server=server, mark=self.mark(config))

    def mark(self, config: str) -> str:
        """What the process list shows for a config of this tree."""
        return f"{self.socket.parent.name}:{config}"  # unlike the folder's name, no other test's

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "CELERY"))}
        kept |= {
            "BERTH_DATA_DIR": str(self.data),
            "REDIS_URL": f"unix://{self.socket}",
            "BERTH_NODE_NAME": "chaos",
            "BERTH_PORT": str(self.port),
            "BERTH_ADMIN_PASSWORD": PASSWORD,
            "BERTH_KILL_AT": json.dumps(self.kill_at),
            "BERTH_PLANTED_BUG": self.planted_bug,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }
        kept.pop("DATABASE_URL", None)
        return kept | ({"DATABASE_URL": self.database_url} if self.database_url else {})

    def start(self) -> None:
        if not self.database_url:
            copy_installed(self.data)
        redis = embedded_redis(self.socket, self.data / "redis")
        self._add("redis", lambda log: self._popen(list(redis.argv), log))
        roles = ["worker", "agent", *(["web"] if self.with_web else [])]
        self.nursery = Nursery(self.environment, ROOT, roles=roles, log=self.folder / "nursery.log")
        self.wait(self.socket.exists, "Redis is up", 10)
        self.manage("install")
        for number in range(self.workers):
            arguments = ["worker", "-P", "threads", "-c", "8", "-n", f"w{number}@chaos", "--without-gossip"]
            arguments += ["-Q", "control,node.chaos,work.chaos", "--without-mingle", "--loglevel", "WARNING"]
            self._add(f"worker{number}", partial(self.nursery.fork, [*arguments, *(["-B"] if number == 0 else [])]))
        self._add("agent", partial(self.nursery.fork, ["agent"]))
        if self.with_web:
            self._add("web", partial(self.nursery.fork, ["web", str(self.port)]))
        self.wait(self._reports, "worker and agent report", 60)

    def _reports(self) -> bool:
        from redis import Redis

        with Redis(unix_socket_path=str(self.socket)) as redis:
            return bool(redis.exists("berth:sweep") and redis.exists("berth:agent:chaos"))

    def _add(self, name: str, begin: Callable[[Path], subprocess.Popen[bytes] | Forked]) -> None:
        self.members[name] = Member(begin=begin, log=self.folder / f"{name}.log")
        self.members[name].tend()

    def _popen(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                argv, env=self.environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )

    def manage(self, *arguments: str, check: bool = True) -> str:
        """Run a command of ``manage.py``; returns its standard output."""
        answer = self.answer(*arguments)
        assert answer["status"] == 0 or not check, f"{arguments}: {answer}"
        return str(answer["out"])

    def answer(self, *arguments: str) -> dict[str, Any]:
        """Run a command of ``manage.py``: its exit status and outputs."""
        if self.control is None:
            self.control = Control(self.environment)
        return self.control.answer(arguments)

    def status(self) -> dict[str, dict[str, Any]]:
        return {row["config"]: row for row in json.loads(self.manage("status", "--json"))}

    def phases(self) -> dict[str, str]:
        return {config: row["phase"] for config, row in self.status().items() if config in self.configs}

    def wait(self, condition: Callable[[], bool], what: str, within_s: float) -> None:
        ends_at = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < ends_at, f"not within {within_s} s: {what}\n{self.report()}"
            self.tend()
            time.sleep(0.1)

    def tend(self) -> None:
        for member in self.members.values():
            member.tend()

    def processes(self, config: str) -> list[int]:
        """Pids of the model servers of a config, whoever started them."""
        mark = self.mark(config)
        return [
            process.pid
            for process in psutil.process_iter(["cmdline", "status"])
            if mark in (process.info["cmdline"] or [])
            and "tiny_server.py" in " ".join(process.info["cmdline"])
            and not any("keeper" in part for part in process.info["cmdline"])
        ]

    def kills_done(self) -> set[str]:
        folder = self.data / "kills"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def leftovers(self) -> list[str]:
        """Command lines of processes that still work in this tree's data folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("BERTH_DATA_DIR") == str(self.data):
                    found.append(" ".join(process.cmdline()))
        return found

    def report(self) -> str:
        tails = [f"--- {path.name}\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log"))]
        phases = {config: row for config, row in self.status().items() if config in self.configs}
        return f"phases {phases}\n" + "\n".join(tails)

    def close(self) -> None:
        if self.control is not None:
            self.control.close()
        for name in sorted(self.members, key=lambda name: name == "redis"):
            self.members[name].kill()
        if self.nursery is not None:
            self.nursery.close()
        for config in self.configs:
            for pid in self.processes(config):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.socket.parent, ignore_errors=True)


@contextlib.contextmanager
def running(tree: Tree) -> Iterator[Tree]:
    """Start the tree, and leave nothing of it behind."""
    try:
        tree.start()
        yield tree
    finally:
        tree.close()
    assert tree.leftovers() == [], "a process of Berth outlived its killed parent"


def logged_numbers(tree: Tree, config: str) -> list[int]:
    """The numbers of the lines that a model server printed; the agent may take a moment to ship them."""
    numbers: list[int] = []
    ends_at = time.monotonic() + LOGS_WITHIN_S
    while len(numbers) < 100 and time.monotonic() < ends_at:
        numbers = [int(found) for found in re.findall(r"^line (\d+)$", tree.manage("logs", config), re.MULTILINE)]
        tree.tend()
    return numbers


def violations(tree: Tree, *, wanted: str) -> list[str]:
    """What is not as it must be once everything has settled in ``wanted`` (ready or stopped)."""
    found = []
    for config, row in tree.status().items():
        if config not in tree.configs:
            continue
        pids = tree.processes(config)
        expected = 1 if wanted == "ready" else 0
        if len(pids) != expected:
            found.append(f"{config}: {len(pids)} processes instead of {expected}")
        if row["phase"] != wanted:
            found.append(f"{config}: {row['phase']} instead of {wanted} ({row['reason']})")
        numbers = logged_numbers(tree, config)
        if numbers != list(range(1, 101)):
            ends = f"{numbers[:3]}…{numbers[-3:]}"
            found.append(f"{config}: the log has {len(numbers)} lines, {ends}, instead of 1 to 100")
    folders = sorted(path.name for path in (tree.data / "processes").iterdir() if not path.name.startswith("."))
    if len(folders) != (len(tree.configs) if wanted == "ready" else 0):
        found.append(f"run folders: {folders}")
    return found
