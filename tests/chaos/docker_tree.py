"""A Berth whose models are containers of an engine of its own, with two GPUs for three configs."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import psutil

from tests.chaos.gpu_hook import write_hook
from tests.chaos.tree import Tree, running
from tests.docker_engine import IMAGE, OwnEngine, ensure_image, own_engine

GPUS = 2
LINES = list(range(1, 101))
LINE = re.compile(r"^line (\d+)$", re.MULTILINE)
GAP = re.compile(r"^… .* …$", re.MULTILINE)
CONFIG = """\
  - name: {name}
    model: Tiny
    protocol: openai-text
    engine: custom
    runtime: docker
    image: {image}
    served_name: tiny
    arguments: [tiny, "{{port}}"]
    port: 9000
    readiness_path: /health
    gpus: 1
    memory_gib: 1
    load_timeout_s: 60
    grace_s: 5
    max_attempts: 50
"""


@dataclass
class DockerTree(Tree):
    """The tree, its engine, and what the engine has. ``wishes`` is what was last asked for and not refused."""

    engine: OwnEngine = field(kw_only=True)
    wishes: dict[str, str] = field(default_factory=dict)
    refusal: str = ""

    def config_text(self, config: str) -> str:
        return CONFIG.format(name=config, image=IMAGE)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "DOCKER_HOST": self.engine.host, "BERTH_CHAOS_GPUS": str(GPUS)}

    def start(self) -> None:
        super().start()
        self.wait(lambda: self.snapshot()["gpus"] == GPUS, "the agent has measured the GPUs", 30)

    def processes(self, config: str) -> list[int]:
        """None: the servers are containers, which end with the engine."""
        return []

    def snapshot(self) -> dict[str, Any]:
        """See :func:`tests.chaos.snapshot.snapshot`."""
        found: dict[str, Any] = json.loads(self.manage("snapshot"))
        return found

    def ask(self, *arguments: str) -> bool:
        """Run a command that may be refused; remembers what was wished."""
        config = arguments[1]
        answer = self.answer(*arguments)
        self.refusal = answer["err"].strip()
        if answer["status"] == 0 and not (arguments[0] == "stop" and config not in self.wishes):
            self.wishes[config] = "stopped" if arguments[0] == "stop" else "running"
        return bool(answer["status"] == 0)

    def containers(self) -> dict[str, str]:
        """Every container of the engine: its name and state."""
        client = self.engine.client()
        try:
            found = client.api.containers(all=True)
            return {each["Names"][0].lstrip("/"): each["State"] for each in found if each["Names"]}
        finally:
            client.close()

    def orphans(self) -> list[str]:
        """Processes of containers that the engine does not know any more."""
        client = self.engine.client()
        found = []
        try:
            known = {each["Id"] for each in client.api.containers(all=True)}
        finally:
            client.close()
        for shim in self.engine.shims():
            with contextlib.suppress(psutil.Error):
                argv = shim.cmdline()
                if argv[argv.index("-id") + 1] not in known:
                    found += [" ".join(child.cmdline()) for child in shim.children(recursive=True)]
        return found

    def volumes(self) -> list[str]:
        """Names of the engine's volumes: no config has any."""
        client = self.engine.client()
        try:
            return [str(each.name) for each in client.volumes.list()]
        finally:
            client.close()

    def report(self) -> str:
        told = [f"seen: {self._told()}", f"rows: {self.snapshot()['deployments'][-6:]}", super().report()]
        log = self.engine.folder / "dockerd.log"
        return "\n".join([*told, f"--- dockerd.log\n{log.read_text()[-1500:]}"])

    def _told(self) -> object:
        with contextlib.suppress(docker.errors.DockerException, OSError):
            return self.containers()
        return "the engine does not answer"


@contextlib.contextmanager
def running_docker_tree(folder: Path, **options: Any) -> Iterator[DockerTree]:
    """A started tree with its engine; nothing of either is left behind."""
    with own_engine(folder / "engine", programs=write_hook(folder / "programs")) as engine:
        client = engine.client()
        try:
            ensure_image(client)
        finally:
            client.close()
        (folder / "tree").mkdir()
        with running(DockerTree(folder=folder / "tree", engine=engine, **options)) as tree:
            assert isinstance(tree, DockerTree)
            yield tree


def disagreements(tree: DockerTree) -> list[str]:
    """What is not as it must be once everything has settled; empty when all is well."""
    seen = tree.snapshot()
    rows = {row["config"]: row for row in seen["deployments"]}  # the newest of each config
    live = [row for row in seen["deployments"] if row["live"]]
    return [
        *_rows(tree, rows, live, seen["leases"]),
        *_leases(seen["leases"], live),
        *_containers(tree, live),
        *_kept_logs(seen, {row["id"]: row for row in live}),
        *_live_logs(tree, rows),
    ]


def _rows(
    tree: DockerTree, rows: dict[str, dict[str, Any]], live: list[dict[str, Any]], leases: list[dict[str, Any]]
) -> Iterator[str]:
    """Desired equals observed: ready and answering, or waiting for a GPU of which there is none; or stopped."""
    if len(live) != len({row["config"] for row in live}):
        yield f"a config has two live rows: {live}"
    for config, wish in tree.wishes.items():
        row = rows[config]
        if row["desired"] != wish:
            yield f"{config}: {row['desired']} is desired, {wish} was asked for"
        if row["restarting"] and row["live"]:
            yield f"{config}: the restart is not done"
        if wish == "stopped":
            if row["phase"] != "stopped":
                yield f"{config}: {row['phase']} instead of stopped ({row['reason']})"
        elif row["phase"] == "ready":
            if not answers(row["endpoint"]):
                yield f"{config}: it is ready and does not answer at {row['endpoint']!r}"
        elif row["phase"] != "queued" or len(leases) < GPUS:
            yield f"{config}: {row['phase']} instead of ready ({row['reason']})"


def _leases(leases: list[dict[str, Any]], live: list[dict[str, Any]]) -> Iterator[str]:
    """A lease for each GPU of a live placed row, and no other."""
    held = sorted((lease["deployment"], lease["gpu"]) for lease in leases)
    due = sorted((row["id"], gpu) for row in live if row["phase"] != "queued" for gpu in row["gpus"])
    if held != due:
        yield f"leases {held} instead of {due}"


def _containers(tree: DockerTree, live: list[dict[str, Any]]) -> Iterator[str]:
    """One running container for each ready row, and nothing else: no container, volume or copy of a log."""
    due = {row["run"]: "running" for row in live if row["phase"] == "ready"}
    found = tree.containers()
    if found != due:
        yield f"containers {found} instead of {due}"
    if orphans := tree.orphans():
        yield f"processes without a container: {orphans}"
    if volumes := tree.volumes():
        yield f"volumes {volumes} are left"
    folder = tree.data / "containers"
    copies = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if copies - set(due):
        yield f"copies of logs are left: {sorted(copies - set(due))}"


def _kept_logs(seen: dict[str, Any], live: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Each ended attempt's log is whole, or a beginning if it never came as far; a gap is marked."""
    for attempt in seen["attempts"]:
        name = f"deployment {attempt['deployment']} attempt {attempt['number']}"
        row = live.get(attempt["deployment"])
        if not attempt["ended"]:
            if row is None or row["attempt"] != attempt["number"]:
                yield f"{name}: it has not ended and is not the current one"
            continue
        numbers = [int(found) for found in LINE.findall(attempt["log"])]
        whole = LINES if attempt["was_ready"] else LINES[: len(numbers)]
        if numbers != whole and not (GAP.search(attempt["log"]) and numbers == sorted(set(numbers))):
            yield f"{name} ({attempt['cause']}): its log has lines {_short(numbers)}"


def _live_logs(tree: DockerTree, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    for config, row in rows.items():
        if row["phase"] == "ready":
            numbers = [int(found) for found in LINE.findall(tree.manage("logs", config, check=False))]
            if numbers != LINES:
                yield f"{config}: its live log has lines {_short(numbers)}"


def _short(numbers: list[int]) -> str:
    return f"{len(numbers)}: {numbers[:3]}…{numbers[-3:]}"


def answers(endpoint: str) -> bool:
    """Whether a model server answers there."""
    try:
        with urllib.request.urlopen(f"{endpoint}/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def settle(tree: DockerTree, what: str, within_s: float) -> float:
    """Wait until nothing disagrees, and still nothing does a second later; returns the seconds that it took."""
    began = time.monotonic()
    calm_since: float | None = None
    while True:
        tree.tend()
        told = disagreements(tree)
        now = time.monotonic()
        calm_since = None if told else calm_since or now
        if calm_since is not None and now - calm_since >= 1:
            return calm_since - began
        assert now - began < within_s, f"not within {within_s:g} s: {what}\n" + "\n".join([*told, tree.report()])
        time.sleep(0.2)
