"""Two real gateway processes with one limit and one drain count, and one of them killed within streams."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
from aiohttp import web
from asgiref.sync import sync_to_async

from deployments.actors import Actor
from deployments.gateway_states import requests_in_flight
from deployments.redis_keys import key_budget
from playground.gateway.key_budgets import BLOCKS, BYTES_PER_TOKEN
from playground.gateway.reporting import LIVES_S
from playground.key_rules import KeyRules
from playground.services.keys import NewKey, create_key
from tests.fakes.gateway import until
from tests.fakes.gateway_process import GatewayProcess, gateway_processes, write_database
from tests.fakes.upstream import STREAM, WHOLE, ScriptedUpstream, frame

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ANSWER_TOKENS = 6
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": ANSWER_TOKENS}
BODY = json.dumps(ASKED).encode()
PROMPT_TOKENS = -(-len(BODY) // BYTES_PER_TOKEN)
#: Of each request: what is reserved is what the upstream says was used.
COST = PROMPT_TOKENS + ANSWER_TOKENS
MOST = 300
AT_ONCE = 4


class Upstream(ScriptedUpstream):
    """Counts whole answers, and holds streams open until told to go on."""

    def __init__(self) -> None:
        super().__init__(self.play)
        self.answered = 0
        self.open = 0

    async def play(self, _upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        if not self.seen[-1].json.get("stream"):
            self.answered += 1
            usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS, "total_tokens": COST}
            return web.json_response({**WHOLE, "usage": usage})
        self.open += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(STREAM[1])
            await self.go_on.wait()
            await response.write(frame("llo") + STREAM[-1])
        finally:
            self.open -= 1
        return response


async def ask_until_refused(url: str, key: NewKey) -> list[int]:
    """Send requests one after the other; gives their statuses, the last one 429, or 0 for a gateway that has gone."""
    statuses: list[int] = []
    headers = {"Authorization": f"Bearer {key.secret}"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        while not statuses or statuses[-1] == 200:
            try:
                async with session.post("/v1/chat/completions", data=BODY) as response:
                    await response.read()
                    statuses.append(response.status)
            except aiohttp.ClientConnectionError:
                statuses.append(0)
    return statuses


async def read_stream(gateway: GatewayProcess, key: NewKey) -> bytes | None:
    """The whole of a stream; None when it broke off."""
    headers = {"Authorization": f"Bearer {key.secret}"}
    async with aiohttp.ClientSession(gateway.url, headers=headers) as session:
        try:
            async with session.post("/v1/chat/completions", json={**ASKED, "stream": True}) as response:
                return await response.read()
        except aiohttp.ClientError:
            return None


async def test_two_processes_share_limits_and_drain_counts_and_one_may_be_killed(
    a_key: NewKey, redis_server: redis.Redis, tmp_path: Path
) -> None:
    # Of a day, since no test runs over its end.
    rules = KeyRules(tokens_per_day=MOST * COST)
    limited = await sync_to_async(create_key)("limited", actor=Actor.command_line(), rules=rules)
    await sync_to_async(write_database)(tmp_path / "berth.sqlite3")
    async with Upstream() as upstream, gateway_processes(2, tmp_path / "berth.sqlite3") as (dying, living):
        publish(redis_server, 1, upstream.route())
        await until(lambda: requests_in_flight(1) == 0)
        broken = [asyncio.create_task(read_stream(dying, a_key)) for _each in range(3)]
        lasting = [asyncio.create_task(read_stream(living, a_key)) for _each in range(2)]
        await until(lambda: upstream.open == 5)
        # The deployment leaves the routing later than its requests came: both tell of them, whoever drains waits.
        await until(lambda: requests_in_flight(1) == 5)

        askers = [
            asyncio.create_task(ask_until_refused(each.url, limited))
            for each in (dying, living)
            for _asker in range(AT_ONCE)
        ]
        await until(lambda: upstream.answered > MOST / 4)
        dying.kill()
        killed_at = time.monotonic()
        await until(lambda: requests_in_flight(1) == 2, within_s=LIVES_S + 1)
        assert time.monotonic() - killed_at < LIVES_S + 0.5
        # The kernel closed its connections: the engine computes for nobody.
        assert upstream.open == 2
        assert await asyncio.gather(*broken) == [None] * 3

        ends = [statuses[-1] for statuses in await asyncio.gather(*askers)]
        assert ends == [0] * AT_ONCE + [429] * AT_ONCE
        # A block is gone with the process that held it, and what it had admitted and not asked yet; never more.
        block = MOST // BLOCKS
        assert MOST - 2 * block - AT_ONCE <= upstream.answered <= MOST
        assert int(redis_server.hget(key_budget(limited.key.pk, "day"), "used") or 0) <= MOST * COST

        publish(redis_server, 2)
        await until(lambda: requests_in_flight(1) == 2)
        upstream.go_on.set()
        whole = STREAM[1] + frame("llo") + STREAM[-1]
        assert await asyncio.gather(*lasting) == [whole] * 2
        await until(lambda: requests_in_flight(1) == 0)


def publish(client: redis.Redis, version: int, *routes: dict[str, Any]) -> None:
    client.set("berth:routes", json.dumps({"version": version, "routes": list(routes)}))
    client.publish("berth:routes:changed", str(version))
