"""The node's copy of a container's log: each line once, whoever goes on with it, and a bound on what a flood costs."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.runtimes import log_segments
from deployments.runtimes.base import LogLine, RunState
from deployments.runtimes.docker import container_logs, node_log
from deployments.runtimes.docker.container_logs import EngineLine, LastLines, seconds
from deployments.runtimes.docker.node_log import NodeLog
from tests.deployments.benches import Behaviour, DockerBench, all_lines, launch, wait_for, wait_for_state


class Engine:
    """A log that grows and is rotated away from its beginning, and of which the last records can be asked for."""

    def __init__(self) -> None:
        self.lines: list[EngineLine] = []
        self.rotated = 0

    def prints(self, *waits: int) -> None:
        """A line after each wait, in seconds; after none it has the time of the line before."""
        for wait in waits:
            at = float(self.lines[-1].stamp) if self.lines else 1_000.0
            stream = "err" if len(self.lines) % 3 == 2 else "out"
            text = f"line {len(self.lines)}".encode()
            self.lines.append(EngineLine(stamp=f"{at + wait:.9f}", stream=stream, text=text))

    def last(self, _client: object, _name: str, *, records: int | None, has_ended: bool) -> LastLines:
        here = self.lines[self.rotated :]
        is_whole = records is None or len(here) < records
        return LastLines(lines=here if is_whole else here[-(records or 0) :], is_whole=is_whole)

    @property
    def texts(self) -> list[str]:
        return [line.text.decode() for line in self.lines]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(node_log, "last_lines", made.last)
    return made


def read_all(log: NodeLog) -> list[LogLine]:
    lines: list[LogLine] = []
    while chunk := log.read(cursor=lines[-1].cursor if lines else 0, limit=7).lines:
        lines.extend(chunk)
    return lines


def kill_while_writing(folder: Path, before: dict[str, int], share: float) -> None:
    """Leave of what was just written only the first bytes, as a writer does that is killed at work."""
    written = [(path, before.get(path.name, 0)) for path in sorted(folder.glob("*.log"))]
    total = sum(path.stat().st_size - size for path, size in written)
    left = int(total * share)
    for path, size in written:
        new = path.stat().st_size - size
        os.truncate(path, size + min(new, left))
        left = max(0, left - new)


WAITS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@given(st.lists(st.tuples(WAITS, st.one_of(st.none(), st.floats(0, 1))), min_size=1, max_size=8))
def test_whoever_is_killed_at_whatever_byte_the_next_loses_and_doubles_nothing(
    rounds: list[tuple[list[int], float | None]],
) -> None:
    engine = Engine()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_log, "last_lines", engine.last)
        for name, value in (("FEW_RECORDS", 3), ("MANY_RECORDS", 100)):
            patch.setattr(node_log, name, value)
        patch.setattr(log_segments, "SEGMENT_BYTES", 120)
        patch.setattr(log_segments, "TAIL_SEGMENTS", 50)
        path = Path(folder) / "log"
        for waits, killed_after in rounds:
            engine.prints(*waits)
            before = {file.name: file.stat().st_size for file in path.glob("*.log")}
            NodeLog(path).take(None, "any", few=3, many=100)
            if killed_after is not None:
                kill_while_writing(path, before, killed_after)
        NodeLog(path).catch_up(None, "any", has_ended=True)
        told = read_all(NodeLog(path))
    assert [line.text for line in told] == engine.texts
    assert [line.cursor for line in told] == list(range(1, len(told) + 1))
    assert [(f"{line.at:.9f}", line.stream) for line in told] == [(line.stamp, line.stream) for line in engine.lines]


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=8))
def test_what_is_not_read_is_marked_and_nothing_is_doubled(rounds: list[tuple[int, bool]]) -> None:
    engine = Engine()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_log, "last_lines", engine.last)
        log = NodeLog(Path(folder) / "log")
        for count, is_rotated in rounds:
            engine.prints(*[1] * count)
            if is_rotated:
                engine.rotated = max(0, len(engine.lines) - 5)
            log.take(None, "any", few=4, many=10)
        told = read_all(log)
    texts = [line.text for line in told if line.stream != "berth"]
    assert len(set(texts)) == len(texts)
    assert texts[-1] == engine.texts[-1]
    numbers = [int(text.split()[1]) for text in texts]
    assert numbers == sorted(numbers)
    if not any(is_rotated for _count, is_rotated in rounds[:1]):
        assert numbers[0] == 0
    for line, after in pairwise(told):
        if line.stream == "berth" or after.stream == "berth":
            continue
        assert after.cursor == line.cursor + 1
        assert int(after.text.split()[1]) == int(line.text.split()[1]) + 1
    for number, line in enumerate(told):
        if line.stream == "berth":
            assert line.cursor > told[number - 1].cursor + 1


def test_a_gap_has_about_as_many_numbers_as_lines_are_missing(engine: Engine, tmp_path: Path) -> None:
    log = NodeLog(tmp_path / "log")
    engine.prints(*[1] * 10)
    log.take(None, "any", few=4, many=10)
    engine.prints(*[1] * 100)
    assert log.take(None, "any", few=4, many=10).is_flooded
    assert [line.text for line in read_all(log)][9:12] == [
        "line 9",
        "… here about 91 lines are missing: they came faster than this node reads …",
        "line 100",
    ]
    assert log.read(cursor=10, limit=1).skipped_lines == 91


def test_a_clock_that_is_set_back_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    log = NodeLog(tmp_path / "log")
    engine.prints(5, 5, 5)
    log.catch_up(None, "any", has_ended=False)
    engine.prints(-12, 1, 1)
    log.catch_up(None, "any", has_ended=False)
    assert [line.text for line in read_all(log)] == engine.texts


def test_many_short_visits_leave_few_segments(engine: Engine, tmp_path: Path) -> None:
    log = NodeLog(tmp_path / "log")
    for _ in range(40):
        engine.prints(1)
        log.catch_up(None, "any", has_ended=False)
    assert [line.text for line in read_all(log)] == engine.texts
    assert len(list(log.folder.glob("*.log"))) == 1


def record(stream: int, text: bytes, second: int = 5) -> bytes:
    data = b"2026-01-02T03:04:%02d.000000001Z " % second + text
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def lines_in(*records: bytes, has_ended: bool = False) -> list[tuple[str, bytes]]:
    lines = container_logs._Lines()
    for stream, each in container_logs._records(b"".join(records)):
        lines.take(stream, each)
    if has_ended:
        lines.end()
    return [(line.stream, line.text) for line in lines.whole]


def test_records_become_lines() -> None:
    parts = [record(1, b"x" * 16384), record(1, b"y" * 16384), record(2, b"meanwhile\n"), record(1, b"end\n")]
    assert lines_in(*parts) == [("err", b"meanwhile"), ("out", b"x" * 4096 + b" [28675 more bytes]")]
    assert lines_in(*parts[:2]) == []
    assert lines_in(*parts[:2], has_ended=True) == [("out", b"x" * 4096 + b" [28672 more bytes]")]
    assert lines_in(record(1, b"begun"), record(1, b"another\n", 6)) == [("out", b"begun"), ("out", b"another")]
    assert lines_in(record(1, b" 10%\r 20%\r 30%\r\n"), record(1, b"\n")) == [("out", b" 30%"), ("out", b"")]
    assert lines_in(record(1, b"\xff\xfe\x00\n")) == [("out", b"\xff\xfe\x00")]
    assert lines_in(record(1, b"whole\n"), record(1, b"cut off\n")[:20]) == [("out", b"whole")]


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


def test_only_one_writes_at_a_time(engine: Engine, tmp_path: Path) -> None:
    engine.prints(1, 1, 1)
    log, other = NodeLog(tmp_path / "log"), NodeLog(tmp_path / "log")
    with log._locked(0) as mine:
        assert mine
        other.catch_up(None, "any", has_ended=False)
        assert not read_all(other)
    other.catch_up(None, "any", has_ended=False)
    assert len(read_all(other)) == 3


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
def test_a_flood_costs_the_node_a_small_share_and_what_is_left_out_is_marked(bench: DockerBench) -> None:
    """`yes` prints as fast as Docker takes it; ten seconds of that must cost this process little."""
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
    assert any("lines are missing" in text for text in texts)
