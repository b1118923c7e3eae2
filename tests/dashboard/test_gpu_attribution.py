"""From a process on a GPU to its run: through the runtimes and /proc, remembered for as long as it lives."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from dashboard.telemetry.attribution import BELIEVED_S, Attribution, ProcFolder
from deployments.exceptions import RuntimeUnavailableError
from deployments.gpu_readings import GpuProcess

CONTAINER = "0123456789abcdef" * 4
pytestmark = pytest.mark.usefixtures("redis_server")


@dataclass
class Host:
    """A process table and runs, as a test wants them."""

    root: Path
    runs: dict[str, frozenset[int]] = field(default_factory=dict)
    silent: bool = False
    asked: int = 0
    now: float = 1000.0

    def __post_init__(self) -> None:
        boot = self.root / "sys/kernel/random"
        boot.mkdir(parents=True)
        (boot / "boot_id").write_text("b0b0b0b0-1111\n")

    def process(self, pid: int, *, started: int = 77, parent: int = 1, name: str = "python3", cgroup: str = "") -> None:
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        fields = ["S", str(parent), *["0"] * 17, str(started), "0"]
        (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
        (folder / "cgroup").write_text(cgroup)

    def end(self, pid: int) -> None:
        for file in (self.root / str(pid)).iterdir():
            file.unlink()
        (self.root / str(pid)).rmdir()

    def members(self) -> Mapping[str, frozenset[int]]:
        self.asked += 1
        if self.silent:
            raise RuntimeUnavailableError("The engine does not answer.")
        return self.runs

    def attribution(self) -> Attribution:
        return Attribution("gpu-01", self.members, ProcFolder(self.root), lambda: self.now)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "proc")


def runs(found: Mapping[int, GpuProcess]) -> dict[int, str]:
    return {pid: process.run_name for pid, process in found.items()}


def test_a_member_of_a_run_and_its_children_belong_to_the_run(host: Host) -> None:
    host.process(50)
    host.process(51, parent=50)
    host.process(52, parent=51, name="VLLM::Worker (TP0)")
    host.process(60)
    host.runs = {"berth-x-1-1": frozenset({50})}
    found = host.attribution().processes([52, 60])
    assert runs(found) == {52: "berth-x-1-1", 60: ""}
    assert found[52].command == "VLLM::Worker (TP0)"
    assert found[52].user == getpass.getuser()
    assert found[60].attributed


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/docker/{CONTAINER}",
        f"12:cpu:/x\n0::/system.slice/docker-{CONTAINER}.scope",
        f"0::/kubepods/cri-containerd-{CONTAINER}.scope",
        f"0::/machine.slice/libpod-{CONTAINER}.scope/container",
    ],
)
def test_another_process_of_a_known_container_needs_no_question(host: Host, cgroup: str) -> None:
    host.process(50, cgroup=cgroup)
    host.process(51, cgroup=cgroup)
    host.runs = {"berth-x-1-1": frozenset({50})}
    attribution = host.attribution()
    attribution.processes([50])
    assert runs(attribution.processes([50, 51])) == {50: "berth-x-1-1", 51: "berth-x-1-1"}
    assert host.asked == 1


def test_what_outlives_its_run_is_still_its_own(host: Host) -> None:
    host.process(50)
    host.runs = {"berth-x-1-1": frozenset({50})}
    attribution = host.attribution()
    attribution.processes([50])
    host.runs = {}
    host.now += 3600
    assert runs(attribution.processes([50])) == {50: "berth-x-1-1"}
    assert runs(host.attribution().processes([50])) == {50: "berth-x-1-1"}, "and a new agent knows it"


def test_a_later_process_of_the_same_pid_is_another_one(host: Host) -> None:
    host.process(50)
    host.runs = {"berth-x-1-1": frozenset({50})}
    attribution = host.attribution()
    attribution.processes([50])
    host.runs = {}
    host.process(50, started=99)
    assert runs(attribution.processes([50])) == {50: ""}
    host.end(50)
    host.process(50)
    assert runs(attribution.processes([50])) == {50: ""}, "what ended was forgotten"


def test_a_run_that_was_launched_just_now_is_found_within_seconds(host: Host) -> None:
    host.process(50)
    attribution = host.attribution()
    assert runs(attribution.processes([50])) == {50: ""}
    host.runs = {"berth-x-1-1": frozenset({50})}
    assert runs(attribution.processes([50])) == {50: ""}
    host.now += BELIEVED_S
    assert runs(attribution.processes([50])) == {50: "berth-x-1-1"}


def test_processes_of_others_are_asked_for_every_few_seconds_only(host: Host) -> None:
    host.process(60)
    attribution = host.attribution()
    for _second in range(20):
        attribution.processes([60])
        host.now += 1
    assert host.asked == 4


def test_a_process_that_cannot_be_seen_is_attributed_by_its_pid_for_a_moment(host: Host) -> None:
    host.runs = {"berth-x-1-1": frozenset({50})}
    attribution = host.attribution()
    assert attribution.processes([50])[50] == GpuProcess(pid=50, run_name="berth-x-1-1")
    host.runs = {}
    host.now += BELIEVED_S
    assert runs(attribution.processes([50])) == {50: ""}


def test_while_the_runtime_is_silent_nothing_is_concluded(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.process(50)
    host.process(51)
    host.runs = {"berth-x-1-1": frozenset({50})}
    attribution = host.attribution()
    attribution.processes([50])
    host.silent = True
    for _ in range(3):
        attribution.processes([50, 51])
    found = attribution.processes([50, 51])
    assert (found[50].run_name, found[50].attributed) == ("berth-x-1-1", True)
    assert (found[51].run_name, found[51].attributed) == ("", False)
    assert caplog.text.count("The engine does not answer.") == 1


def test_redis_being_away_costs_nothing_but_the_memory_over_a_restart(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr("dashboard.telemetry.attribution.client", away)
    host.process(50)
    host.runs = {"berth-x-1-1": frozenset({50})}
    attribution = host.attribution()
    for _ in range(2):
        assert runs(attribution.processes([50])) == {50: "berth-x-1-1"}


def test_a_malformed_memory_is_begun_anew(host: Host, redis_server: redis.Redis) -> None:
    for text in ("null", "[1]", "{", "3"):
        redis_server.set("berth:gpu-owners:gpu-01", text)
        assert runs(host.attribution().processes([50])) == {50: ""}


def test_this_very_process_is_read_from_the_real_table() -> None:
    facts = ProcFolder().facts(os.getpid())
    assert facts is not None
    assert (facts.parent, facts.user) == (os.getppid(), getpass.getuser())
    assert facts.started.rpartition("-")[2].isdigit()
    assert ProcFolder().facts(2**22 + 1) is None
