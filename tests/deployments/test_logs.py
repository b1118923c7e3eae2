"""A log reaches its stream line by line and once, and is kept, bounded, when its attempt ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from pytest_django import Settings

from deployments import log_reader, logs
from deployments.exceptions import RuntimeUnavailableError
from deployments.lifecycle.phases import Phase
from deployments.log_position import LogPosition
from deployments.log_reader import LogReader, text_of
from deployments.logs import bounded_text, keep, ship, stream_key, tail
from deployments.models import Deployment
from deployments.redis import client
from deployments.runtimes import use_runtime
from deployments.runtimes.base import LogLine, RunSpec
from tests.deployments.editing import make_run
from tests.deployments.hosts import small_config
from tests.fakes.runtime import FakeRuntime

pytestmark = pytest.mark.django_db


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    made = FakeRuntime("process", images=("none",))
    use_runtime("process", made)
    yield made
    use_runtime("process", None)


@pytest.fixture
def deployment(runtime: FakeRuntime, redis_server: redis.Redis) -> Deployment:
    made = make_run(small_config(), Phase.LOADING)
    runtime.create(RunSpec(name=made.run_name, image="none", argv=()))
    runtime.start(made.run_name)
    return made


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(logs, "client", Away)
    monkeypatch.setattr(log_reader, "client", Away)


def entries(server: redis.Redis, deployment: Deployment) -> list[dict[str, str]]:
    found: Any = server.xrange(stream_key(deployment.pk, deployment.attempt))
    return [{key.decode(): value.decode() for key, value in fields.items()} for _id, fields in found]


def read(deployment: Deployment) -> list[str]:
    return [text_of(piece) for piece in LogReader(deployment.pk, deployment.attempt).read()]


def test_each_line_is_shipped_once_with_cursor_time_and_stream(
    runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis
) -> None:
    runtime.write(deployment.run_name, "one")
    runtime.write(deployment.run_name, "two", stream="err")
    assert ship(deployment) == 2
    assert ship(deployment) == 0
    assert entries(redis_server, deployment) == [
        {"c": "1", "t": "1.000", "s": "out", "l": "one"},
        {"c": "2", "t": "2.000", "s": "err", "l": "two"},
    ]
    assert 0 < redis_server.ttl(stream_key(deployment.pk, 1)) <= logs.STREAM_KEPT_S


def test_a_line_that_agent_and_worker_both_ship_is_there_once(
    runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.write(deployment.run_name, "one", "two", "three")
    look = runtime.logs

    def while_the_other_ships_too(name: str, **options: Any) -> Any:
        chunk = look(name, **options)
        monkeypatch.setattr(runtime, "logs", look)
        ship(deployment)
        return chunk

    monkeypatch.setattr(runtime, "logs", while_the_other_ships_too)
    ship(deployment)
    assert [entry["l"] for entry in entries(redis_server, deployment)] == ["one", "two", "three"]


def test_lines_that_were_dropped_are_a_gap(
    runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis
) -> None:
    runtime.write(deployment.run_name, "one")
    ship(deployment)
    runtime.write(deployment.run_name, *(f"line {number}" for number in range(2, 11)))
    runtime.drop_lines(deployment.run_name, 8)
    ship(deployment)
    ship(deployment)
    assert entries(redis_server, deployment)[1:] == [
        {"gap": "7"},
        {"c": "9", "t": "9.000", "s": "out", "l": "line 9"},
        {"c": "10", "t": "10.000", "s": "out", "l": "line 10"},
    ]
    assert read(deployment) == ["one", "… 7 lines left out …", "line 9", "line 10"]


def test_a_gap_before_the_first_line_is_shown_too(runtime: FakeRuntime, deployment: Deployment) -> None:
    runtime.write(deployment.run_name, "one", "two")
    runtime.drop_lines(deployment.run_name, 1)
    ship(deployment)
    assert read(deployment) == ["… 1 line left out …", "two"]


def test_a_long_log_is_shipped_in_chunks(
    runtime: FakeRuntime, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CHUNK_LINES", 10)
    runtime.write(deployment.run_name, *(str(number) for number in range(25)))
    assert [ship(deployment) for _ in range(4)] == [10, 10, 5, 0]
    assert read(deployment) == [str(number) for number in range(25)]


def test_keeping_ships_the_rest_marks_the_end_and_gives_the_text(runtime: FakeRuntime, deployment: Deployment) -> None:
    runtime.write(deployment.run_name, "one")
    ship(deployment)
    runtime.write(deployment.run_name, "two")
    kept = keep(deployment)
    assert kept.text == "one\ntwo"
    assert [line.text for line in kept.lines] == ["one", "two"]
    reader = LogReader(deployment.pk, deployment.attempt)
    assert [text_of(piece) for piece in reader.read()] == ["one", "two"]
    assert reader.ended


def test_a_secret_of_the_host_that_a_server_prints_is_shown_nowhere(
    runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis, settings: Settings
) -> None:
    settings.BERTH_SECRETS = {"HF_TOKEN": "hf_a", "OTHER": "hf_a-longer-one", "EMPTY": "", "SHORT": "on"}
    runtime.write(deployment.run_name, "HF_TOKEN=hf_a OTHER=hf_a-longer-one")
    runtime.write(deployment.run_name, "one")
    ship(deployment)
    kept = keep(deployment)
    said = "HF_TOKEN=•••••• OTHER=••••••"
    assert [entry.get("l") for entry in entries(redis_server, deployment)] == [said, "one", None]
    assert tail(deployment, lines=3) == [said, "one"]
    assert kept.text == f"{said}\none"
    assert [line.text for line in kept.lines] == [said, "one"]


def test_keeping_twice_changes_nothing(runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis) -> None:
    runtime.write(deployment.run_name, "one")
    assert keep(deployment) == keep(deployment)
    assert entries(redis_server, deployment) == [{"c": "1", "t": "1.000", "s": "out", "l": "one"}, {"end": "1"}]


def test_keeping_a_run_that_never_printed_ends_its_stream(deployment: Deployment, redis_server: redis.Redis) -> None:
    assert keep(deployment).text == ""
    assert entries(redis_server, deployment) == [{"end": "1"}]


def test_what_the_runtime_dropped_is_marked_in_the_kept_text(runtime: FakeRuntime, deployment: Deployment) -> None:
    runtime.write(deployment.run_name, "one", "two", "three")
    runtime.drop_lines(deployment.run_name, 2)
    assert keep(deployment).text == "… 2 lines were dropped …\nthree"


@pytest.mark.usefixtures("away")
def test_with_redis_away_nothing_is_shipped_and_everything_is_kept(
    runtime: FakeRuntime, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.write(deployment.run_name, "one")
    assert ship(deployment) == 0
    assert "was not shipped: connection refused" in caplog.text
    assert keep(deployment).text == "one"
    assert tail(deployment, lines=5) == []
    with pytest.raises(
        RuntimeUnavailableError, match=r"The log cannot be read now: Redis does not answer \(connection"
    ):
        read(deployment)


def test_what_redis_missed_is_shipped_when_it_is_back(
    runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis
) -> None:
    runtime.write(deployment.run_name, "one")
    ship(deployment)
    redis_server.flushall()
    runtime.write(deployment.run_name, "two")
    ship(deployment)
    assert read(deployment) == ["one", "two"]


def test_a_redis_that_is_full_does_not_hold_up_the_end(
    runtime: FakeRuntime, deployment: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CHUNK_LINES", 2)
    runtime.write(deployment.run_name, "one", "two", "three", "four")
    redis_server.set(stream_key(deployment.pk, 1), "not a stream")
    assert ship(deployment) == 0
    assert keep(deployment).text == "one\ntwo\nthree\nfour"


def test_a_refused_line_is_a_failure_and_not_a_line_shipped_before(
    runtime: FakeRuntime, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CHUNK_LINES", 1)
    runtime.write(deployment.run_name, "one")

    class Full:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: None

        def execute(self, *, raise_on_error: bool) -> list[object]:
            return [redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'.")]

    monkeypatch.setattr(type(client()), "pipeline", lambda self, transaction: Full())
    assert ship(deployment) == 0
    assert keep(deployment).text == "one"


def test_the_tail_is_the_last_lines_oldest_first(runtime: FakeRuntime, deployment: Deployment) -> None:
    runtime.write(deployment.run_name, "one", "two", "three")
    keep(deployment)
    assert tail(deployment, lines=3) == ["two", "three"], "the mark of the end counts as an entry"
    assert tail(deployment, lines=100) == ["one", "two", "three"]


def lines_of(*texts: str) -> list[LogLine]:
    return [LogLine(cursor=number, at=0, stream="out", text=text) for number, text in enumerate(texts, 1)]


def test_a_bounded_text_keeps_head_and_tail_and_counts_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT_HEAD_BYTES", 20)
    monkeypatch.setattr(logs, "KEPT_TAIL_BYTES", 30)
    texts = [f"line {number:02}" for number in range(100)]
    kept = bounded_text(lines_of(*texts)).split("\n")
    mark = next(number for number, line in enumerate(kept) if line.startswith("…"))
    assert kept[:mark] == texts[:mark]
    assert kept[mark + 1 :] == texts[-(len(kept) - mark - 1) :]
    assert kept[mark] == f"… {100 - len(kept) + 1} lines left out …"
    assert bounded_text(lines_of("short")) == "short"


def test_one_endless_line_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT_HEAD_BYTES", 4)
    monkeypatch.setattr(logs, "KEPT_TAIL_BYTES", 4)
    assert bounded_text(lines_of("ab", "abcdefghijkl", "de")) == "ab\n… 1 lines left out …\nde"


def test_what_was_dropped_counts_wherever_the_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a line has the same number while the run lives and after."""
    monkeypatch.setattr(logs, "KEPT_HEAD_BYTES", 9)
    monkeypatch.setattr(logs, "KEPT_TAIL_BYTES", 18)
    lines = [replace(line, cursor=line.cursor + (900 if line.cursor > 3 else 0)) for line in lines_of(*"abcdefgh" * 9)]
    kept = LogPosition().take_kept(bounded_text(lines))
    assert [(it.cursor, it.text) for it in kept if isinstance(it, LogLine)][-1] == (972, "h")
