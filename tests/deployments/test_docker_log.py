"""The node's copy of a container's log: each line once, whoever goes on with it, and a bound on what a flood costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.runtimes.base import RunState
from deployments.runtimes.docker import node_log
from deployments.runtimes.docker.container_logs import EngineLine, seconds
from deployments.runtimes.docker.node_log import NodeLog
from tests.deployments.benches import Behaviour, DockerBench, all_lines, launch, wait_for, wait_for_state


class Engine:
    """Lines with times, some of them equal, read from a time on as the engine does."""

    def __init__(self, stamps: list[int]) -> None:
        ordered = sorted(stamps)
        self.lines = [
            EngineLine(stamp=f"{stamp}.000000000", stream="out", text=f"line {number}".encode())
            for number, stamp in enumerate(ordered)
        ]
        self.dies_after = len(ordered)

    def read(self, _client: object, _name: str, *, since: str = "", follow: bool = False) -> Iterator[EngineLine]:
        for count, line in enumerate(line for line in self.lines if not since or float(line.stamp) >= float(since)):
            if count >= self.dies_after:
                return
            yield line


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.lists(st.integers(0, 12), max_size=6))
def test_whoever_goes_on_begins_behind_the_last_line(stamps: list[int], deaths: list[int]) -> None:
    import tempfile

    engine = Engine(stamps)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_log, "engine_lines", engine.read)
        for dies_after in deaths:
            engine.dies_after = dies_after
            NodeLog(Path(folder) / "log").catch_up(None, "any", wait=False)
        engine.dies_after = len(stamps)
        log = NodeLog(Path(folder) / "log")
        log.catch_up(None, "any", wait=False)
        told = log.read(cursor=0, limit=1000).lines
    assert [line.text for line in told] == [f"line {number}" for number in range(len(stamps))]
    assert [line.cursor for line in told] == list(range(1, len(stamps) + 1))


@pytest.mark.parametrize(
    ("stamp", "told"),
    [
        ("2026-01-02T03:04:05.123456789Z", "1767323045.123456789"),
        ("2026-01-02T03:04:05.5Z", "1767323045.500000000"),
        ("2026-01-02T03:04:05Z", "1767323045.000000000"),
        ("nonsense", "0.000000000"),
    ],
)
def test_times_keep_their_nanoseconds(stamp: str, told: str) -> None:
    assert seconds(stamp) == told


def test_only_one_writes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine([1, 2, 3])
    monkeypatch.setattr(node_log, "engine_lines", engine.read)
    log, other = NodeLog(tmp_path / "log"), NodeLog(tmp_path / "log")
    with log._locked(0) as mine:
        assert mine
        other.catch_up(None, "any", wait=False)
        assert not other.read(cursor=0, limit=10).lines
    other.catch_up(None, "any", wait=False)
    assert len(other.read(cursor=0, limit=10).lines) == 3


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[DockerBench]:
    made = DockerBench(tmp_path)
    yield made
    made.close()


def test_a_follower_hands_lines_on_as_they_come_and_ends_with_the_run(bench: DockerBench) -> None:
    run = bench.program("for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done")
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    follower = threading.Thread(target=bench.runtime.follow, args=(run.name,), kwargs={"ended": lambda: False})
    follower.start()
    reader = NodeLog(bench.runtime._logs / run.name)
    wait_for(lambda: len(reader.read(cursor=0, limit=10).lines) >= 2, "the second line")
    assert bench.runtime.observe(run.name).state is RunState.RUNNING
    follower.join(10)
    assert not follower.is_alive()
    assert [line.text for line in all_lines(bench.runtime, run.name)] == [f"line {i}" for i in range(1, 6)]


def test_a_follower_that_is_told_to_end_leaves_the_rest_to_the_next(bench: DockerBench) -> None:
    run = bench.program("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; sleep 0.5; echo end")
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    for most in (3, 50):
        taken = iter(range(most))
        bench.runtime.follow(run.name, ended=lambda taken=taken: next(taken, None) is None)  # type: ignore[misc]
    wait_for_state(bench.runtime, run.name, RunState.EXITED)
    texts = [line.text for line in all_lines(bench.runtime, run.name)]
    assert texts == [*(f"line {number}" for number in range(300)), "end"]


def test_a_line_of_many_kilobytes_is_one_line_and_bounded(bench: DockerBench) -> None:
    run = bench.program("head -c 40000 /dev/zero | tr '\\0' x; echo; echo next")
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    wait_for_state(bench.runtime, run.name, RunState.EXITED)
    first, second = all_lines(bench.runtime, run.name)
    assert first.text.startswith("xxxx")
    assert first.text.endswith("more bytes]")
    assert len(first.text) < 5000
    assert second.text == "next"


def test_a_restart_from_outside_goes_on_in_the_same_log(bench: DockerBench) -> None:
    from tests.docker_engine import docker_client

    name = launch(bench, Behaviour.SERVES)
    client = docker_client()
    client.containers.get(name).restart(timeout=0)
    client.close()
    wait_for(lambda: len(all_lines(bench.runtime, name)) == 6, "the second start's lines")
    assert [line.text for line in all_lines(bench.runtime, name)] == ["one", "two", "three"] * 2


@pytest.mark.slow
def test_a_flood_costs_the_node_a_small_share_and_what_is_left_out_is_marked(
    bench: DockerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`yes` prints as fast as Docker takes it; ten seconds of that must cost this process little."""
    monkeypatch.setattr(node_log, "MOST_BEHIND_S", 2.0)
    run = bench.program("yes the quick brown fox jumps over the lazy dog and prints without end")
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    ending = threading.Event()
    follower = threading.Thread(target=bench.runtime.follow, args=(run.name,), kwargs={"ended": ending.is_set})
    began, cpu = time.monotonic(), time.process_time()
    follower.start()
    time.sleep(10)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    ending.set()
    bench.runtime.stop(run.name, force=True)
    follower.join(20)
    reader = NodeLog(bench.runtime._logs / run.name)
    size = sum(path.stat().st_size for path in reader.folder.iterdir())
    texts = [path.read_text(errors="replace") for path in sorted(reader.folder.glob("*.log"))]
    print(f"a flood costs the follower {share:.0%} of a core; {size / 1e6:.1f} MB kept")
    assert share < 0.4
    assert size < 5_000_000
    assert any("was left out" in text for text in texts)
