"""The socket of the GPU readings, and the hub behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User

from deployments import gpu_hub as module
from deployments import gpu_streams
from deployments.gpu_hub import GpuHub, gpu_hub
from deployments.gpu_readings import latest_readings, publish_reading
from deployments.gpu_subscription import MOST_UNACKNOWLEDGED
from deployments.redis_keys import gpu_live
from deployments.websocket_urls import websocket_urlpatterns
from tests.deployments.editing import person
from tests.deployments.gpu_pages import Mirror, measured
from tests.fakes.websocket import FakeWebsocket

pytestmark = pytest.mark.django_db(transaction=True)


class Page:
    """A browser at ``/ws/gpus/`` that applies what it gets, and draws it at once unless it is slow."""

    def __init__(self, user: Any, *, is_slow: bool = False) -> None:
        router = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]  # typed for patterns of Channels' own
        self.socket = FakeWebsocket(router, "/ws/gpus/", user=user, origin=settings.BERTH_ORIGINS[0])
        self.mirror = Mirror()
        self.is_slow = is_slow

    async def hear(self, kind: str = "") -> dict[str, Any]:
        """The next frame of that type, or of any; those before it are applied too."""
        while True:
            message = await self.socket.receive()
            self.mirror.take(json.dumps(message))
            if not self.is_slow:
                await self.acknowledge()
            if message["type"] == kind or not kind:
                return message

    async def acknowledge(self) -> None:
        await self.socket.send({"ack": self.mirror.seq})

    async def sees(self, node: str, used: int) -> None:
        """Wait until that node's GPU has so many bytes in use."""
        while self.used(node) != used:
            await self.hear()

    def used(self, node: str) -> int | None:
        reading = self.mirror.nodes.get(node)
        return reading["gpus"][0]["memory_used_bytes"] if reading and reading["gpus"] else None


@pytest.fixture
async def running(redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[redis.Redis]:
    monkeypatch.setattr(module, "FRAME_S", 0.0)
    monkeypatch.setattr(module, "TURN_S", 0.05)
    monkeypatch.setattr(module, "RETRY_S", (0.05,))
    monkeypatch.setattr(gpu_streams, "LOOK_FOR_NODES_S", 0.05)
    await gpu_hub.start()
    yield redis_server
    await gpu_hub.stop()


@pytest.fixture
async def viewer() -> User:
    user: User = await database_sync_to_async(person)("vera", "viewer")
    return user


async def opened(user: Any, *, is_slow: bool = False) -> Page:
    page = Page(user, is_slow=is_slow)
    assert await page.socket.connect() is None
    await page.hear("snapshot")
    return page


async def until(condition: Any, *, within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.01)


def test_a_published_reading_is_held_and_streamed(redis_server: redis.Redis) -> None:
    for used in range(40):
        publish_reading(measured("gpu-01", used))
    assert latest_readings(["gpu-01"])["gpu-01"].gpus[0].memory_used_bytes == 39
    stream: Any = redis_server.xrevrange(gpu_live("gpu-01"))
    assert len(stream) == 30
    assert json.loads(stream[0][1][b"reading"])["gpus"][0]["memory_used_bytes"] == 39
    assert 0 < int(redis_server.ttl(gpu_live("gpu-01"))) <= 60


async def test_a_page_begins_with_a_snapshot_and_then_hears_what_changed(running: redis.Redis, viewer: User) -> None:
    publish_reading(measured("gpu-01", 1))
    page = await opened(viewer)
    assert page.used("gpu-01") == 1
    publish_reading(measured("gpu-01", 2))
    delta = await page.hear("delta")
    assert delta["nodes"][0]["gpus"] == {"GPU-gpu-01": {"memory_used_bytes": 2}}
    assert page.used("gpu-01") == 2
    await page.socket.leave()


async def test_every_reading_of_several_nodes_is_heard_in_order(running: redis.Redis, viewer: User) -> None:
    page = await opened(viewer)
    for used in range(10):
        for node in ("gpu-01", "gpu-02"):
            publish_reading(measured(node, used))
            await page.sees(node, used)
    assert set(page.mirror.nodes) == {"gpu-01", "gpu-02"}
    await page.socket.leave()


async def test_readings_of_several_nodes_share_a_frame(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await opened(viewer)
    for node in ("gpu-01", "gpu-02", "gpu-03"):
        publish_reading(measured(node, 0))
        await page.sees(node, 0)
    monkeypatch.setattr(module, "FRAME_S", 0.4)
    publish_reading(measured("gpu-01", 1))
    await page.hear("delta")
    publish_reading(measured("gpu-02", 1))
    publish_reading(measured("gpu-03", 1))
    assert {change["node"] for change in (await page.hear("delta"))["nodes"]} == {"gpu-02", "gpu-03"}
    await page.socket.leave()


async def test_a_page_that_comes_later_has_the_same_picture(running: redis.Redis, viewer: User) -> None:
    first = await opened(viewer)
    for used in range(5):
        publish_reading(measured("gpu-01", used))
    await first.sees("gpu-01", 4)
    second = await opened(viewer)
    assert second.mirror.nodes == first.mirror.nodes
    assert second.mirror.seq == first.mirror.seq
    for page in (first, second):
        await page.socket.leave()


# Slow and hidden pages


async def test_a_slow_browser_misses_frames_and_then_gets_a_snapshot_that_says_so(
    running: redis.Redis, viewer: User
) -> None:
    publish_reading(measured("gpu-01", 0))
    slow, healthy = await opened(viewer, is_slow=True), await opened(viewer)
    for used in range(1, 8):
        publish_reading(measured("gpu-01", used))
        await healthy.sees("gpu-01", used)
    for _ in range(MOST_UNACKNOWLEDGED - 1):
        await slow.hear("delta")
    assert await slow.socket.is_quiet(0.2)
    await slow.acknowledge()
    caught_up = await slow.hear("snapshot")
    assert caught_up["dropped"] == 5
    assert slow.mirror.nodes == healthy.mirror.nodes
    publish_reading(measured("gpu-01", 8))
    assert "dropped" not in await slow.hear("delta")
    for page in (slow, healthy):
        await page.socket.leave()


async def test_a_hidden_page_hears_nothing_and_then_a_snapshot(running: redis.Redis, viewer: User) -> None:
    publish_reading(measured("gpu-01", 0))
    hidden, shown = await opened(viewer), await opened(viewer)
    await hidden.socket.send({"pause": True})
    await asyncio.sleep(0.05)
    for used in range(1, 8):
        publish_reading(measured("gpu-01", used))
        await shown.sees("gpu-01", used)
    assert await hidden.socket.is_quiet(0.1)
    await hidden.socket.send({"pause": False})
    assert "dropped" not in await hidden.hear("snapshot")
    assert hidden.mirror.nodes == shown.mirror.nodes
    publish_reading(measured("gpu-01", 9))
    await hidden.sees("gpu-01", 9)
    for page in (hidden, shown):
        await page.socket.leave()


async def test_pausing_again_and_again_gives_no_more_than_is_acknowledged(running: redis.Redis, viewer: User) -> None:
    page = await opened(viewer, is_slow=True)
    for _ in range(MOST_UNACKNOWLEDGED - 1):
        await page.socket.send({"pause": True})
        await page.socket.send({"pause": False})
        await page.hear("snapshot")
    await page.socket.send({"pause": True})
    await page.socket.send({"pause": False})
    assert await page.socket.is_quiet(0.2)
    await page.acknowledge()
    await page.hear("snapshot")
    await page.socket.leave()


async def test_redis_is_asked_nothing_while_nobody_looks(running: redis.Redis, viewer: User) -> None:
    def connections() -> int:
        return len(running.client_list())

    alone = connections()
    page = await opened(viewer)
    await until(lambda: connections() == alone + 1)
    await page.socket.send({"pause": True})
    await until(lambda: connections() == alone)
    publish_reading(measured("gpu-01", 5))
    alone = connections()  # the publisher's own stays
    await page.socket.send({"pause": False})
    await page.sees("gpu-01", 5)
    await page.socket.leave()
    await until(lambda: connections() == alone)


# Silence


async def test_a_silent_node_is_stale_until_it_speaks(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_streams, "STALE_AFTER_S", 0.3)
    page = await opened(viewer)
    publish_reading(measured("gpu-01", 1))
    published_at = time.time()
    stale = await page.hear("stale")
    assert stale["node"] == "gpu-01"
    assert abs(stale["since"] - published_at) < 0.25
    publish_reading(measured("gpu-01", 2))
    await page.sees("gpu-01", 2)
    assert page.mirror.stale == {}
    await page.socket.leave()


async def test_a_page_that_comes_to_a_silent_node_is_told_so(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = measured("gpu-01", 1)
    publish_reading(reading)
    monkeypatch.setattr(gpu_streams, "STALE_AFTER_S", 0.1)
    await asyncio.sleep(0.2)
    page = await opened(viewer)
    assert abs(page.mirror.stale["gpu-01"] - reading.at) < 1.0
    await page.socket.leave()


async def test_a_node_that_was_silent_for_long_is_forgotten(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_streams, "STALE_AFTER_S", 0.1)
    monkeypatch.setattr(gpu_streams, "FORGET_NODE_AFTER_S", 0.3)
    page = await opened(viewer)
    publish_reading(measured("gpu-01", 1))
    await page.sees("gpu-01", 1)
    running.delete(gpu_live("gpu-01"))
    await page.hear("snapshot")
    assert page.mirror.nodes == {}
    await page.socket.leave()


async def test_a_stream_that_begins_anew_with_lower_numbers_is_followed(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_streams, "STALE_AFTER_S", 0.3)
    page = await opened(viewer)
    publish_reading(measured("gpu-01", 1))
    await page.sees("gpu-01", 1)
    running.delete(gpu_live("gpu-01"))
    running.xadd(gpu_live("gpu-01"), {"reading": measured("gpu-01", 2).to_json()}, id="5-0")
    await page.sees("gpu-01", 2)
    await page.socket.leave()


async def test_after_redis_was_away_every_page_gets_a_snapshot(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish_reading(measured("gpu-01", 1))
    page = await opened(viewer)
    reachable = settings.REDIS_URL
    monkeypatch.setattr(settings, "REDIS_URL", "unix:///nobody-listens.sock")
    running.client_kill_filter(_type="normal", skipme=True)
    away = await page.hear("away")
    assert abs(away["since"] - time.time()) < 5
    newcomer = await opened(viewer)
    assert newcomer.mirror.away == away["since"]
    assert newcomer.used("gpu-01") == 1
    await asyncio.sleep(0.3)
    running.delete(gpu_live("gpu-01"))
    running.xadd(gpu_live("gpu-01"), {"reading": measured("gpu-01", 2).to_json()})
    monkeypatch.setattr(settings, "REDIS_URL", reachable)
    for one in (page, newcomer):
        await one.hear("snapshot")
        assert one.mirror.away is None
        assert one.used("gpu-01") == 2
        await one.socket.leave()
    assert caplog.text.count("Redis is away") == 1


async def test_pages_hear_that_their_connection_lives(
    running: redis.Redis, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    page = await opened(viewer)
    await page.hear("beat")
    await page.hear("beat")
    await page.socket.leave()


# What cannot be understood


async def test_a_malformed_reading_costs_nobody_the_next(
    running: redis.Redis, viewer: User, caplog: pytest.LogCaptureFixture
) -> None:
    page = await opened(viewer)
    for fields in ({"reading": "no json"}, {"other": "{}"}, {"reading": '{"node":"gpu-01"}'}):
        running.xadd(gpu_live("gpu-01"), fields)  # type: ignore[arg-type]  # invariant, without need
    publish_reading(measured("gpu-02", 1))
    await page.sees("gpu-02", 1)
    publish_reading(measured("gpu-01", 1))
    await page.sees("gpu-01", 1)
    assert caplog.text.count("malformed") == 1
    await page.socket.leave()


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"ack": "1"}', '{"ack": true}', '{"pause": 1}'])
async def test_a_message_that_is_not_understood_closes_the_socket(
    running: redis.Redis, viewer: User, text: str
) -> None:
    page = await opened(viewer)
    await page.socket.send(text)
    assert await page.socket.closed_with() == 4400


async def test_who_is_not_signed_in_is_told_so() -> None:
    page = Page(AnonymousUser())
    assert await page.socket.connect() is None
    assert await page.socket.closed_with() == 4401


async def test_sockets_are_told_in_slices(redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 2)
    mine, turns = GpuHub(), 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with mine.subscription(), mine.subscription(), mine.subscription(), mine.subscription():
        counting = asyncio.create_task(count())
        await mine._fan_out(mine._fleet.beat())
        counting.cancel()
    # After the second and the fourth.
    assert turns >= 2


async def test_start_and_stop_may_be_repeated(redis_server: redis.Redis) -> None:
    mine = GpuHub()
    await mine.start()
    await mine.start()
    await mine.stop()
    await mine.stop()
