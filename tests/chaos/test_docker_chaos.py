"""Random operations on containers, and a random victim at a random moment: each time everything settles.

BERTH_CHAOS_SEED repeats a run's choices (not its timing), BERTH_CHAOS_ROUNDS makes it longer. Without either, the two
databases share the victims between them.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from tests.chaos.docker_tree import DockerTree, disagreements, running_docker_tree, settle

ROUNDS = int(os.environ.get("BERTH_CHAOS_ROUNDS") or 4)
#: One for all processes of a run of pytest-xdist.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(8)
SEED = int(os.environ.get("BERTH_CHAOS_SEED") or zlib.crc32(RUN.encode()) % 10**6)
SETTLES_WITHIN_S = 150
#: Operations and the kill fall into a stretch of this length, and what was killed comes back after at most the second.
STRETCH_S = 2.0
MOST_AWAY_S = 2.0
CONFIGS = ["chaos-a", "chaos-b", "chaos-c"]
PROCESSES = ["worker0", "agent", "web", "redis"]
AT_CONTAINERS = ["kill", "remove", "pause"]
#: Every round has another victim until all had their turn.
VICTIMS = [*PROCESSES, "dockerd", *AT_CONTAINERS]
#: Of three configs two find a GPU: more starts than stops, so that something runs and something waits.
OPERATIONS = [("start",), ("start",), ("start",), ("stop",), ("stop", "--now"), ("restart",), ("restart",)]

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(180 + 40 * ROUNDS)]


def test_whatever_is_killed_whenever_everything_settles(tmp_path: Path, database_url: str) -> None:
    print(f"BERTH_CHAOS_SEED={SEED} BERTH_CHAOS_ROUNDS={ROUNDS}")  # pytest shows it when the test fails
    chance = random.Random(SEED)
    victims: list[str] = []
    with running_docker_tree(tmp_path, configs=CONFIGS, database_url=database_url, with_web=True) as tree:
        for config in CONFIGS[:2]:
            assert tree.ask("start", config)
        settle(tree, "two are ready", SETTLES_WITHIN_S)
        for number in range(1, ROUNDS + 1):
            victims = victims or victims_of(chance, database_url)
            victim = victims.pop()
            if victim in AT_CONTAINERS:
                make_ready(tree, chance)
            played = Round(tree, chance, victim)
            played.play()
            told = f"round {number} of seed {SEED}: {'; '.join(played.told)}"
            print(f"{told}; settled after {settle(tree, told, SETTLES_WITHIN_S):.1f} s")
            tree.wait(lambda: web_answers(tree), f"the web answers after {told}", 30)
        for config in CONFIGS:
            if tree.wishes.get(config) == "running":
                assert tree.ask("stop", config)
        settle(tree, "everything has stopped", SETTLES_WITHIN_S)
        assert tree.containers() == {}
        assert tree.snapshot()["leases"] == []


def victims_of(chance: random.Random, database_url: str) -> list[str]:
    """Everybody once, in an order of the seed; the first half is the last of the other database."""
    victims = chance.sample(VICTIMS, len(VICTIMS))
    half = len(victims) // 2
    return victims if not database_url else victims[half:] + victims[:half]


def test_a_planted_bug_is_caught(tmp_path: Path) -> None:
    """A worker that does not adopt its killed predecessor's container starts a second one: that must be seen."""
    bug = {"kill_at": [("chaos-a", "create:after")], "planted_bug": "forgets_its_runs"}
    with running_docker_tree(tmp_path, configs=["chaos-a"], **bug) as tree:
        assert tree.ask("start", "chaos-a")
        tree.wait(lambda: tree.phases()["chaos-a"] == "ready", "it is ready", 60)
        assert tree.kills_done()
        assert any(line.startswith("containers {") for line in disagreements(tree))


def make_ready(tree: DockerTree, chance: random.Random) -> None:
    """A container to strike at. One that failed before would back off for longer, so it begins anew."""
    rows = {row["config"]: row for row in tree.snapshot()["deployments"]}
    if any(row["phase"] == "ready" and not row["failures"] for row in rows.values()):
        return
    running = [config for config in rows if tree.wishes[config] == "running"]
    config = chance.choice(running or CONFIGS)
    assert tree.ask("restart" if running else "start", config)
    settle(tree, f"{config} is ready to be struck", SETTLES_WITHIN_S)


@dataclass
class Round:
    """Operations and one strike, each at its moment; ``told`` says what was done."""

    tree: DockerTree
    chance: random.Random
    victim: str
    told: list[str] = field(default_factory=list)

    def play(self) -> None:
        """Do everything in its order. The supervisor looks away until the end: what was killed stays away."""
        strike_at = self.chance.uniform(0, STRETCH_S)
        target = self._target() if self.victim in AT_CONTAINERS else ""
        back_at = strike_at + self.chance.uniform(0, MOST_AWAY_S)
        moments: list[tuple[float, Callable[[], None]]] = [
            (strike_at, partial(self._strike, target)),
            (back_at, partial(self._bring_back, target)),
        ]
        for _ in range(self.chance.randint(2, 4)):
            at = self.chance.uniform(0, STRETCH_S)
            spared = target if at < strike_at else ""
            config = self.chance.choice([each for each in CONFIGS if each != spared])
            moments.append((at, partial(self._operate, config, self.chance.choice(OPERATIONS))))
        began = time.monotonic()
        for at, act in sorted(moments, key=lambda moment: moment[0]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            self.told.append(f"{time.monotonic() - began:.1f} s")
            act()

    def _target(self) -> str:
        """A config whose container is there and has not failed yet."""
        rows = self.tree.snapshot()["deployments"]
        ready = [row["config"] for row in rows if row["phase"] == "ready" and not row["failures"]]
        return str(self.chance.choice(sorted(ready)))

    def _operate(self, config: str, operation: tuple[str, ...]) -> None:
        verb, *options = operation
        done = self.tree.ask(verb, config, *options)
        self.told[-1] += f" {' '.join(operation)} {config}{'' if done else f' (refused: {self.tree.refusal})'}"

    def _strike(self, target: str) -> None:
        self.told[-1] += f" {self.victim} {target}"
        if self.victim in PROCESSES:
            self.tree.members[self.victim].kill()
        elif self.victim == "dockerd":
            self.tree.engine.stop(how=signal.SIGKILL)
        else:
            with self._container(target) as container:
                match self.victim:
                    case "kill":
                        container.kill()
                    case "remove":
                        container.remove(force=True)
                    case "pause":
                        container.pause()

    def _bring_back(self, target: str) -> None:
        self.told[-1] += f" {self.victim} is back"
        if self.victim == "dockerd":
            self.tree.engine.start()
        elif self.victim == "pause":
            # Stopped meanwhile, it was woken or is gone.
            with contextlib.suppress(docker.errors.APIError), self._container(target) as container:
                container.unpause()
        self.tree.tend()

    @contextlib.contextmanager
    def _container(self, config: str) -> Iterator[Container]:
        rows = {row["config"]: row for row in self.tree.snapshot()["deployments"]}
        client = self.tree.engine.client()
        try:
            yield client.containers.get(rows[config]["run"])
        finally:
            client.close()


def web_answers(tree: DockerTree) -> bool:
    """Whether the page is there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{tree.port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
