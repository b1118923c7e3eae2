"""What a gateway process tells the lifecycle: its table, what is in flight, which servers it reaches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from aiohttp import web
from django.conf import settings

from deployments.deployment_keys import deployment_key
from deployments.redis_keys import GATEWAY_STATES, GATEWAYS_LEFT, REACH_ASKED, gateway_reached
from playground.gateway import reporting
from playground.gateway.routing import RoutingTable
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.django_db(transaction=True)


def states(gateway: RunningGateway) -> list[dict[str, Any]]:
    texts = [gateway.redis.get(key) for key in gateway.redis.scan_iter(match=GATEWAY_STATES)]
    return [json.loads(text) for text in texts if isinstance(text, bytes)]


def ask(gateway: RunningGateway, deployment_id: int, endpoint: str) -> None:
    gateway.redis.publish(REACH_ASKED, json.dumps({"deployment": deployment_id, "endpoint": endpoint}))


async def test_version_and_requests_are_told_promptly_and_at_zero_again(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route(7), version=3)
        await until(lambda: states(gateway) == [{"version": 3, "in_flight": {}, "served": {}}], within_s=1)
        served = {"served": {"7": 1}}
        async with gateway.chat(stream=True) as response:
            await response.content.readany()
            await until(lambda: states(gateway) == [{"version": 3, "in_flight": {"7": 1}, **served}], within_s=1)
            gateway.publish(version=4)
            await until(lambda: states(gateway) == [{"version": 4, "in_flight": {"7": 1}, **served}], within_s=1)
            upstream.go_on.set()
            await response.read()
        await until(lambda: states(gateway) == [{"version": 4, "in_flight": {}, **served}], within_s=1)


async def test_a_report_lives_for_three_seconds(gateway: RunningGateway) -> None:
    await until(lambda: len(states(gateway)) == 1)
    (key,) = gateway.redis.scan_iter(match=GATEWAY_STATES)
    assert 0 < gateway.redis.pttl(key) <= 3000


async def test_a_gateway_that_ends_takes_its_report_back(gateway: RunningGateway) -> None:
    await until(lambda: len(states(gateway)) == 1)
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(7))
        async with gateway.chat() as response:
            await response.read()
    await gateway.application.shutdown()
    assert states(gateway) == []
    # How often it asked is told to the end, so that the sweep need not guess.
    (key,) = gateway.redis.scan_iter(match=GATEWAYS_LEFT)
    left = gateway.redis.get(key)
    assert isinstance(left, bytes)
    assert json.loads(left)["served"] == {"7": 1}
    assert 30_000 < gateway.redis.pttl(key) <= 60_000


async def test_a_connection_that_hangs_is_replaced_before_the_report_is_gone(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reporting.RENEW_S + reporting.PATIENCE_S + reporting.PAUSE_S < reporting.LIVES_S
    monkeypatch.setattr(reporting, "PAUSE_S", 0.01)
    connections: list[asyncio.StreamWriter] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        url = urlsplit(settings.REDIS_URL)
        there, here = await (
            asyncio.open_unix_connection(url.path)
            if url.scheme == "unix"
            else asyncio.open_connection(url.hostname, url.port)
        )
        answers = asyncio.create_task(pass_on(there, writer))
        # A report that ends while its answer is under way resets its connection, and says its last over another.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(10_000):
                if writer is not connections[0]:
                    here.write(data)
        answers.cancel()
        here.close()
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(10_000):
            writer.write(data)

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        report = reporting.Report(lambda: redis.asyncio.Redis(port=port, decode_responses=True), RoutingTable())
        await report.start()
        await until(lambda: any(redis_server.scan_iter(match=GATEWAY_STATES)))
        assert len(connections) == 2
        await report.stop()
        assert not any(redis_server.scan_iter(match=GATEWAY_STATES))
        await until(lambda: all(writer.is_closing() for writer in connections))


async def test_any_answer_of_a_server_counts_as_reached(gateway: RunningGateway) -> None:
    async def refuse(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    async with ScriptedUpstream(refuse) as upstream:
        ask(gateway, 7, upstream.endpoint)
        await until(lambda: gateway.redis.get(gateway_reached(7)) == upstream.endpoint.encode())
    assert [seen.path for seen in upstream.seen] == ["/"]


async def test_a_server_that_is_not_there_is_not_reached(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        ask(gateway, 7, "http://127.0.0.1:1")
        gateway.redis.publish(REACH_ASKED, "nonsense")
        await until(lambda: "is not reached" in caplog.text and "malformed" in caplog.text)
    assert gateway.redis.get(gateway_reached(7)) is None


async def test_a_server_with_a_key_gets_its_own_and_never_the_clients(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(7, keyed=True))
        async with gateway.chat() as response:
            assert response.status == 200
    sent = upstream.seen[0].headers["authorization"]
    assert sent == f"Bearer {deployment_key(7)}"
    assert sent != gateway.client.headers["Authorization"]
