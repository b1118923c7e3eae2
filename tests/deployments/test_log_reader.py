"""Reading a log: the stream while the attempt runs, the database after, and every gap marked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from django.utils import timezone, translation

from deployments import log_follower, log_reader
from deployments.exceptions import NotFoundError, RuntimeUnavailableError
from deployments.lifecycle.phases import Phase
from deployments.log_follower import follow_log
from deployments.log_position import Gap
from deployments.log_reader import LogReader, log_file_lines, newest_logged_attempt, text_of
from deployments.logs import bounded_text
from deployments.models import Attempt, Deployment
from deployments.runtimes.base import LogLine
from tests.deployments.editing import make_config, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(redis_server: redis.Redis) -> Deployment:
    return make_run(make_config(), Phase.LOADING)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(log_reader, "client", Away)
    monkeypatch.setattr(log_follower, "async_client", AwayAsync)
    monkeypatch.setattr(log_follower, "RETRY_S", (0.01,))


class AwayAsync:
    async def xread(self, *args: Any, **kwargs: Any) -> None:
        raise redis.ConnectionError("connection refused")

    async def aclose(self) -> None:
        pass


def ship(server: redis.Redis, run: Deployment, *cursors: int, attempt: int = 1) -> None:
    for cursor in cursors:
        fields: dict[Any, Any] = {"c": cursor, "t": "1767225600", "s": "out", "l": f"line {cursor}"}
        server.xadd(f"berth:log:{run.pk}:{attempt}", fields, id=f"{cursor}-0")


def mark_end(server: redis.Redis, run: Deployment, cursor: int) -> None:
    server.xadd(f"berth:log:{run.pk}:1", {"end": "1"}, id=f"{cursor}-9")


def end(run: Deployment, log: str, *, number: int = 1) -> None:
    now = timezone.now()
    Attempt.objects.create(deployment=run, number=number, started_at=now, ended_at=now, log=log)


def numbered(first: int, last: int) -> str:
    return "\n".join(f"line {number}" for number in range(first, last + 1))


def file_of(run: Deployment, attempt: int = 1) -> str:
    return "".join(log_file_lines(run.pk, attempt))


def texts(reader: LogReader) -> list[str]:
    return [text_of(piece) for piece in reader.read()]


# The file


def test_a_trimmed_stream_does_not_win_over_the_kept_log(run: Deployment, redis_server: redis.Redis) -> None:
    ship(redis_server, run, 3, 4)
    end(run, numbered(1, 4))
    assert file_of(run) == "line 1\nline 2\nline 3\nline 4\n"


def test_a_stream_that_was_never_closed_does_not_win_over_the_kept_log(
    run: Deployment, redis_server: redis.Redis
) -> None:
    ship(redis_server, run, 1)
    end(run, numbered(1, 3))
    assert file_of(run).splitlines() == ["line 1", "line 2", "line 3"]


def test_while_it_runs_a_missing_head_is_marked_in_the_file(run: Deployment, redis_server: redis.Redis) -> None:
    ship(redis_server, run, 41, 42)
    assert file_of(run).splitlines() == [
        "… 40 lines left out …",
        "2026-01-01T00:00:00.000+00:00 out   line 41",
        "2026-01-01T00:00:00.000+00:00 out   line 42",
    ]


def test_a_long_stream_is_read_page_by_page(
    run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "PAGE_LINES", 2)
    ship(redis_server, run, *range(1, 6))
    assert len(file_of(run).splitlines()) == 5


def test_what_the_kept_log_lacks_is_said_in_the_readers_language(run: Deployment) -> None:
    lines = [LogLine(cursor=number, at=0, stream="out", text="x" * 999) for number in range(1, 2001)]
    end(run, bounded_text(lines))
    words = file_of(run).splitlines()
    (mark,) = [line for line in words if line.startswith("…")]
    assert mark == f"… {2000 - len(words) + 1} lines left out …"
    with translation.override("de"):
        assert str(Gap(1)) == "… 1 line left out …"


def test_an_attempt_that_never_was_is_not_found(run: Deployment) -> None:
    with pytest.raises(NotFoundError):
        file_of(run, attempt=2)


def test_an_attempt_that_has_printed_nothing_is_an_empty_file(run: Deployment) -> None:
    assert file_of(run) == ""
    end(run, "")
    assert file_of(run) == ""


@pytest.mark.usefixtures("run", "away")
def test_with_redis_away_only_what_was_kept_can_be_read(run: Deployment) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"Redis does not answer \(connection refused\)"):
        file_of(run)
    end(run, "kept")
    assert file_of(run) == "kept\n"


# Following


def test_a_reader_ends_with_the_streams_end(run: Deployment, redis_server: redis.Redis) -> None:
    reader = LogReader(run.pk, 1)
    ship(redis_server, run, 1)
    assert (texts(reader), reader.ended) == (["line 1"], False)
    assert (texts(reader), reader.ended) == ([], False)
    ship(redis_server, run, 2)
    mark_end(redis_server, run, 2)
    assert (texts(reader), reader.ended) == (["line 2"], True)
    assert texts(reader) == []


def test_what_the_stream_never_got_comes_from_the_kept_log(run: Deployment, redis_server: redis.Redis) -> None:
    reader = LogReader(run.pk, 1)
    ship(redis_server, run, 1)
    assert texts(reader) == ["line 1"]
    end(run, numbered(1, 3))
    assert (texts(reader), reader.ended) == (["line 2", "line 3"], True)


def test_an_end_after_lines_that_redis_refused_is_not_yet_the_end(run: Deployment, redis_server: redis.Redis) -> None:
    reader = LogReader(run.pk, 1)
    ship(redis_server, run, 1)
    mark_end(redis_server, run, 3)
    assert (texts(reader), reader.ended) == (["line 1"], False)
    end(run, numbered(1, 3))
    assert (texts(reader), reader.ended) == (["line 2", "line 3"], True)


def test_where_the_kept_log_is_cut_a_reader_learns_how_much_is_missing(
    run: Deployment, redis_server: redis.Redis
) -> None:
    reader = LogReader(run.pk, 1)
    ship(redis_server, run, *range(1, 6))
    reader.read()
    end(run, f"{numbered(1, 2)}\n… 6 lines left out …\n{numbered(9, 10)}")
    assert texts(reader) == ["… 3 lines left out …", "line 9", "line 10"]


def test_the_newest_attempt_with_a_log(run: Deployment, redis_server: redis.Redis) -> None:
    assert newest_logged_attempt(run) is None
    end(run, "words", number=1)
    end(run, "", number=2)
    run.attempt = 3
    run.save()
    assert newest_logged_attempt(run) == 1
    ship(redis_server, run, 1, attempt=3)
    assert newest_logged_attempt(run) == 3


async def frames_of(run: Deployment, cursor: int = 0) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        return [frame.to_json() async for frame in follow_log(run.pk, 1, cursor=cursor)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("away")
def test_with_redis_away_a_page_still_gets_a_log_that_was_kept(run: Deployment) -> None:
    end(run, numbered(1, 3))
    frames = asyncio.run(frames_of(run, cursor=1))
    assert [line["l"] for line in frames[0]["lines"]] == ["line 2", "line 3"]
    assert frames[1] == {"type": "end"}
