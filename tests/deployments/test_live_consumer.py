"""The socket that tells pages what changed, and the hub behind it."""

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
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deployments import live_hub, socket_guard
from deployments.lifecycle.phases import Phase
from deployments.live import LIVE_CHANNEL
from deployments.live_hub import RELOAD, LiveHub, Subscription, hub
from deployments.websocket_urls import websocket_urlpatterns
from tests.deployments.editing import make_config, make_run, person, signed_in
from tests.fakes.websocket import FakeWebsocket

pytestmark = pytest.mark.django_db(transaction=True)
FRESH_S = 5.0


@pytest.fixture
async def listening(redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[redis.Redis]:
    monkeypatch.setattr(live_hub, "BEAT_S", 0.05)
    await hub.start()
    await until(lambda: bool(dict(redis_server.pubsub_numsub(LIVE_CHANNEL))[LIVE_CHANNEL.encode()]))
    yield redis_server
    await hub.stop()


async def until(condition: Any, *, within_s: float = 10.0) -> None:
    """Wait for ``condition`` with a deadline."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.01)


async def viewer() -> User:
    user: User = await database_sync_to_async(person)("vera", "viewer")
    return user


def socket(user: Any, origin: str | None = None, path: str = "/ws/live/") -> FakeWebsocket:
    origin = settings.BERTH_ORIGINS[0] if origin is None else origin
    router = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]  # typed for patterns of Channels' own
    return FakeWebsocket(router, path, user=user, origin=origin)


async def hear(page: FakeWebsocket, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    while True:
        message: dict[str, Any] = await page.receive()
        if message["type"] == kind:
            return message


async def subscribed(*topics: str) -> FakeWebsocket:
    page = socket(await viewer())
    assert await page.connect() is None
    await page.send({"subscribe": list(topics)})
    await hear(page, "beat")
    await hear(page, "beat")
    return page


def publish(server: redis.Redis, deployment: int, config: str) -> None:
    server.publish(LIVE_CHANNEL, json.dumps({"deployment": deployment, "config": config}))


async def test_a_page_hears_of_changes_that_it_asked_for(listening: redis.Redis) -> None:
    page = await subscribed("deployment:12", "config:gemma2-27b_4")
    publish(listening, 11, "llama3-8b")
    publish(listening, 12, "llama3-8b")
    publish(listening, 13, "gemma2-27b_4")
    assert (await hear(page, "changed")) == {"type": "changed", "deployment": 12, "config": "llama3-8b"}
    assert (await hear(page, "changed"))["deployment"] == 13
    await page.leave()


async def test_all_means_every_change(listening: redis.Redis) -> None:
    page = await subscribed("all")
    publish(listening, 11, "llama3-8b")
    assert (await hear(page, "changed"))["deployment"] == 11
    await page.leave()


async def test_beats_tell_how_old_the_heartbeats_are(listening: redis.Redis) -> None:
    listening.set("berth:sweep", json.dumps({"at": time.time() - 3}))
    listening.set("berth:agent:gpu-01", json.dumps({"at": time.time()}))
    listening.set("berth:agent:gpu-02", json.dumps({"at": time.time() - 40}))
    page = await subscribed("all")
    beat = await hear(page, "beat")
    while beat["sweep_age_s"] is None or beat["agent_age_s"] < 40:
        beat = await hear(page, "beat")
    assert 3 <= beat["sweep_age_s"] < 3 + FRESH_S
    assert 40 <= beat["agent_age_s"] < 40 + FRESH_S
    await page.leave()


async def test_an_agent_whose_heartbeat_expired_still_ages(listening: redis.Redis) -> None:
    listening.set("berth:agent:gpu-01", json.dumps({"at": time.time() - 5}))
    page = await subscribed("all")
    await until(lambda: hub._agents)
    listening.delete("berth:agent:gpu-01")
    await hear(page, "beat")
    assert (await hear(page, "beat"))["agent_age_s"] >= 5
    await page.leave()


async def test_after_a_lost_connection_every_page_is_told_to_reload(listening: redis.Redis) -> None:
    page = await subscribed("all")
    listening.client_kill_filter(_type="pubsub")
    await hear(page, "reload")
    publish(listening, 11, "llama3-8b")
    assert (await hear(page, "changed"))["deployment"] == 11
    await page.leave()


@pytest.mark.parametrize("origin", ["", "http://evil.example", "http://127.0.0.1:1", "null"])
async def test_another_origin_is_refused_before_the_handshake(origin: str) -> None:
    assert await socket(await viewer(), origin).connect() == 4403


async def test_without_a_session_the_page_is_told_to_sign_in() -> None:
    page = socket(AnonymousUser())
    assert await page.connect() is None
    assert await page.closed_with() == 4401


async def test_a_person_without_a_role_is_told_so() -> None:
    user = await database_sync_to_async(User.objects.create_user)("nora")
    page = socket(user)
    assert await page.connect() is None
    assert await page.closed_with() == 4403


# While the socket is open


async def open_page(monkeypatch: pytest.MonkeyPatch, path: str = "/ws/live/") -> tuple[FakeWebsocket, SessionStore]:
    """The page of somebody who signed in, checked again all the time."""
    monkeypatch.setattr(socket_guard, "RECHECK_S", 0.02)
    browser = await database_sync_to_async(signed_in)("vera", "viewer")
    session = SessionStore(browser.cookies[settings.SESSION_COOKIE_NAME].value)
    router: Any = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]

    async def with_session(scope: Any, receive: Any, send: Any) -> None:
        await router({**scope, "session": session}, receive, send)

    page = FakeWebsocket(with_session, path, user=await viewer(), origin=settings.BERTH_ORIGINS[0])
    assert await page.connect() is None
    return page, session


async def test_whoever_may_stay_stays(monkeypatch: pytest.MonkeyPatch, redis_server: redis.Redis) -> None:
    page, _session = await open_page(monkeypatch)
    await hear(page, "hello")
    assert await page.is_quiet(0.3)
    await page.leave()


@pytest.mark.parametrize("path", ["/ws/live/", "/ws/log/1/1/", "/ws/gpus/"])
@pytest.mark.parametrize("how", ["signs out", "is deactivated", "changes the password", "loses the role", "expires"])
async def test_a_socket_does_not_outlive_the_right_to_it(
    monkeypatch: pytest.MonkeyPatch, redis_server: redis.Redis, path: str, how: str
) -> None:
    # Of a run that has not begun, so that its log stays open.
    await database_sync_to_async(lambda: make_run(make_config(), Phase.QUEUED, pk=1))()
    page, session = await open_page(monkeypatch, path)
    user = await User.objects.aget(username="vera")
    if how == "signs out":
        await SessionStore(session.session_key).aflush()
    elif how == "is deactivated":
        await User.objects.aupdate(is_active=False)
    elif how == "changes the password":
        user.set_password("another")
        await user.asave()
    elif how == "loses the role":
        await user.groups.aclear()
    else:
        await Session.objects.aupdate(expire_date=timezone.now())
    assert await page.closed_with() == (4403 if how == "loses the role" else 4401)


async def test_the_right_to_many_sockets_is_asked_for_in_two_queries(
    monkeypatch: pytest.MonkeyPatch, redis_server: redis.Redis
) -> None:
    page, session = await open_page(monkeypatch)
    await page.leave()

    def queries() -> int:
        assert session.keys()  # read once, as by the handshake
        with CaptureQueriesContext(connection) as captured:
            assert socket_guard.refusals([session, None, session, SessionStore()]) == [None, 4401, None, 4401]
        return len(captured)

    assert await database_sync_to_async(queries)() == 2


async def test_only_who_may_not_stay_is_sent_away(monkeypatch: pytest.MonkeyPatch, redis_server: redis.Redis) -> None:
    monkeypatch.setattr(socket_guard, "BATCH", 1)
    stays, _session = await open_page(monkeypatch)
    leaves, session = await open_page(monkeypatch)
    await hear(stays, "hello")
    await SessionStore(session.session_key).aflush()
    assert await leaves.closed_with() == 4401
    assert await stays.is_quiet(0.1)
    await stays.leave()


async def test_a_database_that_is_away_closes_no_socket(
    monkeypatch: pytest.MonkeyPatch, redis_server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def away(sessions: Any) -> None:
        raise DatabaseError("server closed the connection")

    monkeypatch.setattr(socket_guard, "refusals", away)
    page, _session = await open_page(monkeypatch)
    await hear(page, "hello")
    await until(lambda: "could not be checked" in caplog.text)
    assert await page.is_quiet(0.1)
    await page.leave()


# Subscribing


async def test_each_subscription_is_answered_once_it_took_effect(listening: redis.Redis) -> None:
    page = socket(await viewer())
    await page.connect()
    await page.send({"subscribe": ["deployment:12"]})
    await hear(page, "subscribed")
    publish(listening, 12, "llama3-8b")
    assert (await hear(page, "changed"))["deployment"] == 12
    await page.send({"subscribe": ["deployment:13"]})
    await hear(page, "subscribed")
    publish(listening, 13, "llama3-8b")
    assert (await hear(page, "changed"))["deployment"] == 13
    await page.leave()


async def test_a_page_that_was_there_before_the_hub_is_told_to_reload(redis_server: redis.Redis) -> None:
    page = await waiting_page()
    await hub.start()
    try:
        await hear(page, "reload")
    finally:
        await hub.stop()
    await page.leave()


async def waiting_page() -> FakeWebsocket:
    page = socket(await viewer())
    await page.connect()
    await page.send({"subscribe": ["all"]})
    await hear(page, "subscribed")
    return page


@pytest.mark.parametrize("text", ["no json", "{}", "[]", "3", '{"deployment": 1}', "\xff"])
async def test_a_message_that_cannot_be_read_costs_nobody_the_next(
    listening: redis.Redis, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    page = await subscribed("all")
    listening.publish(LIVE_CHANNEL, text.encode("latin-1"))
    await until(lambda: "live hub" in caplog.text)
    await until(lambda: bool(dict(listening.pubsub_numsub(LIVE_CHANNEL))[LIVE_CHANNEL.encode()]))
    await hear(page, "beat")
    publish(listening, 11, "llama3-8b")
    assert (await hear(page, "changed"))["deployment"] == 11
    await page.leave()


async def test_a_heartbeat_that_cannot_be_read_stops_no_beat(
    listening: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    listening.set("berth:sweep", "no json")
    page = await subscribed("all")
    await until(lambda: "cannot read" in caplog.text)
    await hear(page, "beat")
    await page.leave()


@pytest.mark.parametrize("text", ["no json", "[]", '{"subscribe": 1}', '{"other": []}'])
async def test_a_message_that_is_not_understood_closes_the_socket(listening: redis.Redis, text: str) -> None:
    page = socket(await viewer())
    await page.connect()
    await page.send(text)
    assert await page.closed_with() == 4400


async def test_a_page_that_falls_behind_gets_one_reload_for_all_it_missed() -> None:
    subscription = Subscription()
    for number in range(live_hub.QUEUE_MESSAGES + 1):
        subscription.put(str(number))
    assert await subscription.get() == RELOAD
    subscription.put("next")
    assert await subscription.get() == "next"


async def test_start_and_stop_may_be_repeated(redis_server: redis.Redis) -> None:
    mine = LiveHub()
    await mine.start()
    await mine.start()
    await mine.stop()
    await mine.stop()
