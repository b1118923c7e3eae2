"""The socket of a followed log: cursor, gaps, end, back-pressure, and what was kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import redis
from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from deployments import consumers, log_follower
from deployments.lifecycle.phases import Phase
from deployments.models import Attempt, Deployment, Node
from tests.deployments.editing import make_config, make_run
from tests.deployments.test_live_consumer import socket, viewer
from tests.fakes.websocket import FakeWebsocket

pytestmark = pytest.mark.django_db(transaction=True)


async def run_in(phase: Phase, **columns: Any) -> Deployment:
    return await database_sync_to_async(lambda: make_run(make_config(), phase, **columns))()


def write(server: redis.Redis, run: Deployment, *cursors: int) -> None:
    for cursor in cursors:
        fields: dict[Any, Any] = {"c": cursor, "t": f"{cursor}.5", "s": "err", "l": f"line {cursor}"}
        server.xadd(f"berth:log:{run.pk}:1", fields, id=f"{cursor}-0")


async def follow(run: Deployment, query: str = "") -> FakeWebsocket:
    page = socket(await viewer(), path=f"/ws/log/{run.pk}/1/{query}")
    assert await page.connect() is None
    return page


async def frame(page: FakeWebsocket) -> dict[str, Any]:
    """The next frame, acknowledged as the browser does."""
    message: dict[str, Any] = await page.receive()
    await page.send({"ack": 1})
    return message


async def test_lines_come_as_they_are_written_and_the_end_closes(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1, 2)
    page = await follow(run)
    first = await frame(page)
    assert first["lines"][0] == {"c": 1, "t": 1.5, "s": "err", "l": "line 1"}
    assert [line["c"] for line in first["lines"]] == [1, 2]
    write(redis_server, run, 3)
    assert [line["c"] for line in (await frame(page))["lines"]] == [3]
    redis_server.xadd(f"berth:log:{run.pk}:1", {"end": "1"}, id="3-9")
    assert await frame(page) == {"type": "end"}
    assert await page.closed_with() == 1000


async def test_a_reader_goes_on_after_its_cursor(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1, 2, 3)
    page = await follow(run, "?cursor=2")
    assert [line["c"] for line in (await frame(page))["lines"]] == [3]
    await page.leave()


@pytest.mark.parametrize("query", ["?cursor=x", "?cursor=-1", "?cursor=99999999999999999999", "?other=1"])
async def test_a_cursor_that_is_none_means_from_the_start(redis_server: redis.Redis, query: str) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1)
    page = await follow(run, query)
    assert [line["c"] for line in (await frame(page))["lines"]] == [1]
    await page.leave()


async def test_a_gap_is_told_where_it_is(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1)
    redis_server.xadd(f"berth:log:{run.pk}:1", {"gap": 40}, id="41-1")
    write(redis_server, run, 42)
    page = await follow(run)
    frames = [await frame(page) for _ in range(3)]
    assert [item["type"] for item in frames] == ["lines", "gap", "lines"]
    assert frames[1]["lines"] == 40
    await page.leave()


async def test_of_a_long_log_a_new_reader_gets_the_tail(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "TAIL_LINES", 3)
    run = await run_in(Phase.LOADING)
    write(redis_server, run, *range(1, 11))
    page = await follow(run)
    assert await frame(page) == {"type": "gap", "lines": 7}
    assert [line["c"] for line in (await frame(page))["lines"]] == [8, 9, 10]
    await page.leave()


async def test_a_browser_that_shows_nothing_is_sent_only_a_few_batches(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "BATCH_LINES", 1)
    run = await run_in(Phase.LOADING)
    write(redis_server, run, *range(1, 11))
    page = await follow(run)
    received = [(await page.receive())["lines"][0]["c"] for _ in range(consumers.MOST_UNACKNOWLEDGED)]
    assert received == [1, 2, 3]
    assert await page.is_quiet(0.3)
    await page.send({"ack": 1})
    assert (await page.receive())["lines"][0]["c"] == 4
    await page.leave()


async def test_after_the_stream_is_gone_the_kept_log_is_read(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.FAILED, ended_at=timezone.now())
    now = timezone.now()
    await Attempt.objects.acreate(deployment=run, number=1, started_at=now, ended_at=now, log="first\n模型\nlast")
    page = await follow(run)
    kept = await frame(page)
    assert [(line["c"], line["t"], line["l"]) for line in kept["lines"]] == [
        (1, None, "first"),
        (2, None, "模型"),
        (3, None, "last"),
    ]
    assert await frame(page) == {"type": "end"}


async def test_what_a_stream_without_an_end_lacks_comes_from_the_kept_log(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "WAIT_MS", 20)
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1)
    page = await follow(run)
    assert [line["c"] for line in (await frame(page))["lines"]] == [1]
    now = timezone.now()
    await Attempt.objects.acreate(deployment=run, number=1, started_at=now, ended_at=now, log="line 1\nline 2")
    assert [(line["c"], line["l"]) for line in (await frame(page))["lines"]] == [(2, "line 2")]
    assert await frame(page) == {"type": "end"}
    assert await page.closed_with() == 1000


async def test_a_reader_who_has_all_of_an_ended_attempt_gets_the_end(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1)
    now = timezone.now()
    await Attempt.objects.acreate(deployment=run, number=1, started_at=now, ended_at=now, log="line 1")
    assert await frame(await follow(run, "?cursor=1")) == {"type": "end"}


async def test_a_head_that_was_trimmed_is_a_gap(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 41, 42)
    page = await follow(run)
    assert await frame(page) == {"type": "gap", "lines": 40}
    assert [line["c"] for line in (await frame(page))["lines"]] == [41, 42]
    await page.leave()


async def test_a_reader_whose_place_was_trimmed_learns_how_much_is_missing(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 41)
    page = await follow(run, "?cursor=10")
    assert await frame(page) == {"type": "gap", "lines": 30}
    await page.leave()


async def test_a_run_that_ended_before_its_first_attempt_has_an_empty_log(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.STOPPED, ended_at=timezone.now())
    assert await frame(await follow(run)) == {"type": "end"}


async def test_a_log_that_has_not_begun_is_waited_for(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.PREPARING)
    page = await follow(run)
    write(redis_server, run, 1)
    assert [line["c"] for line in (await frame(page))["lines"]] == [1]
    await page.leave()


async def test_a_lost_connection_to_redis_costs_no_line(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "RETRY_S", (0.01,))
    run = await run_in(Phase.LOADING)
    write(redis_server, run, 1)
    page = await follow(run)
    await frame(page)
    redis_server.client_kill_filter(_type="normal", skipme=True)
    write(redis_server, run, 2)
    assert [line["c"] for line in (await frame(page))["lines"]] == [2]
    await page.leave()


async def test_a_silent_node_is_told_while_the_log_is_quiet_and_when_it_is_back(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "WAIT_MS", 20)
    node = await Node.objects.acreate(name="gpu-01", heartbeat_at=timezone.now() - timedelta(minutes=2))
    run = await run_in(Phase.READY, node=node)
    page = await follow(run)
    silent = await frame(page)
    assert (silent["type"], 115 < silent["age_s"] < 130) == ("silent", True)
    await Node.objects.filter(pk=node.pk).aupdate(heartbeat_at=timezone.now())
    while (told := await frame(page))["type"] == "silent":
        pass
    assert told == {"type": "heard"}
    assert await page.is_quiet(0.3)
    await page.leave()


async def test_of_a_long_kept_log_a_new_reader_gets_the_tail(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "TAIL_LINES", 2)
    run = await run_in(Phase.FAILED, ended_at=timezone.now())
    now = timezone.now()
    await Attempt.objects.acreate(deployment=run, number=1, started_at=now, ended_at=now, log="1\n2\n3\n4\n5")
    page = await follow(run)
    assert await frame(page) == {"type": "gap", "lines": 3}
    assert [line["c"] for line in (await frame(page))["lines"]] == [4, 5]
    assert await frame(page) == {"type": "end"}


async def test_a_log_needs_a_session() -> None:
    page = socket(AnonymousUser(), path="/ws/log/1/1/")
    assert await page.connect() is None
    assert await page.closed_with() == 4401


async def test_leaving_ends_the_reading(redis_server: redis.Redis) -> None:
    run = await run_in(Phase.LOADING)
    page = await follow(run)
    await page.leave()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any("LogConsumer" in name for name in names)
