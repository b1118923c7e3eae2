"""From a request to its answer with everything but a host: two gateways, the demand, the lifecycle, the idle stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import redis
from aiohttp import web
from asgiref.sync import sync_to_async

from deployments.lifecycle.idle import stop_idle
from deployments.lifecycle.phases import Desired
from deployments.live import publish_routes
from deployments.models import AuditEntry, Deployment
from deployments.redis_keys import IDLE
from deployments.services.demand import answer_demand
from playground.gateway.app import GatewayApplication
from tests.deployments.hosts import Host, scripted_host, small_config
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, serve_gateway, until
from tests.fakes.runtime import Script
from tests.fakes.upstream import ScriptedUpstream
from tests.playground.waiting import Worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, transactional_db: None, redis_server: redis.Redis) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        small_config(start_on_request=True, stop_after_idle_minutes=5)
        publish_routes()
        yield made


async def test_two_gateways_share_one_start_and_its_idle_stop(host: Host, gateway: RunningGateway) -> None:
    other = GatewayApplication()
    async with (
        ScriptedUpstream(_think) as upstream,
        serve_gateway(other) as url,
        aiohttp.ClientSession(url, headers=gateway.client.headers) as client,
    ):
        second = RunningGateway(application=other, url=url, client=client, redis=gateway.redis)
        workers = [Worker(gateway), Worker(second)]
        host.runtime.default_script = Script(endpoint=upstream.endpoint)
        asking = [asyncio.create_task(_status(each)) for each in (gateway, second) for _each in range(3)]
        await until(lambda: all(worker.line.waiting == 3 for worker in workers))
        await workers[0].is_asked(2)

        await sync_to_async(answer_demand)()
        deployment = await sync_to_async(Deployment.objects.get)()
        assert deployment.started_by == "on demand"
        await sync_to_async(host.go_on)(deployment)
        await until(lambda: len(_asked(upstream)) == 6)

        # As long as one of them waits for its answer nothing is stopped, however long that takes.
        await until(lambda: _under_way(gateway) == 6)
        await sync_to_async(stop_idle)()
        _five_minutes_later(gateway)
        await sync_to_async(stop_idle)()
        assert _idle_s(gateway) == [0.0]

        # Both tell what they sent; after five minutes of silence it is stopped.
        upstream.go_on.set()
        assert await asyncio.gather(*asking) == [200] * 6
        assert _asked(upstream) == ["/v1/chat/completions"] * 6
        await until(lambda: _served(gateway) == 6 and not _under_way(gateway))
        await sync_to_async(stop_idle)()
        _five_minutes_later(gateway)
        await sync_to_async(stop_idle)()
        await sync_to_async(deployment.refresh_from_db)()
        assert (deployment.desired, deployment.stopped_by) == (Desired.STOPPED, "idle")
    assert await sync_to_async(_audit)() == [("deployment.start", "on demand"), ("deployment.stop", "idle")]


async def _think(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    """Seen to be reached at once; an answer takes until the test says to go on."""
    return web.Response() if request.path == "/" else await scripts.think_until_left(upstream, request)


async def _status(gateway: RunningGateway) -> int:
    async with gateway.chat(model="smollm2-135m") as response:
        await response.read()
        return int(response.status)


def _asked(upstream: ScriptedUpstream) -> list[str]:
    """The paths that were asked for, but for what gateways ask to see whether they reach it."""
    return [seen.path for seen in upstream.seen if seen.path != "/"]


def _states(gateway: RunningGateway) -> list[dict[str, Any]]:
    texts = [gateway.redis.get(key) for key in gateway.redis.scan_iter(match="berth:gateway:*")]
    return [json.loads(text) for text in texts if isinstance(text, bytes)]


def _served(gateway: RunningGateway) -> int:
    return sum(sum(state["served"].values()) for state in _states(gateway))


def _under_way(gateway: RunningGateway) -> int:
    return sum(sum(state["in_flight"].values()) for state in _states(gateway))


def _idle_s(gateway: RunningGateway) -> list[float]:
    return list(_idle_times(gateway)["idle_s"].values())


def _five_minutes_later(gateway: RunningGateway) -> None:
    times = _idle_times(gateway)
    assert len(times["idle_s"]) == 1
    gateway.redis.set(IDLE, json.dumps({**times, "idle_s": dict.fromkeys(times["idle_s"], 300.0)}))


def _idle_times(gateway: RunningGateway) -> dict[str, Any]:
    held = gateway.redis.get(IDLE)
    assert isinstance(held, bytes)
    times: dict[str, Any] = json.loads(held)
    return times


def _audit() -> list[tuple[str, str]]:
    rows = AuditEntry.objects.filter(action__startswith="deployment.").order_by("pk")
    return list(rows.values_list("action", "actor"))
