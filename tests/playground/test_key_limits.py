"""Limits of keys over several processes: never exceeded, at most a block for each process refused early."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from django.conf import settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from playground.exceptions import ForbiddenError, LimitsAwayError, RateLimitedError
from playground.gateway.admission import Admission
from playground.gateway.auth import Caller
from playground.gateway.key_budgets import BLOCKS, UNSTATED_ANSWER_TOKENS
from playground.gateway.reservation import UNLIMITED, Reservation
from playground.key_rules import KeyLimits, KeyScopes
from tests.fakes.gateway import until

pytestmark = pytest.mark.usefixtures("redis_server")


@pytest.fixture(autouse=True)
def _whole_minute(redis_server: redis.Redis) -> None:
    """Begin where a minute of Redis's clock does not end soon: what is admitted is counted for one minute."""
    seconds, _micro = redis_server.time()
    if seconds % 60 > 50:
        time.sleep(60.05 - seconds % 60)


def limited(key_id: int = 1, **limits: int) -> Caller:
    return Caller(kind="key", name="app", key_id=key_id, limits=KeyLimits(**limits))


@asynccontextmanager
async def admissions(count: int) -> AsyncIterator[list[Admission]]:
    made = [Admission() for _each in range(count)]
    for each in made:
        await each.start()
    try:
        yield made
    finally:
        for each in made:
            await each.stop()


async def ask(admission: Admission, caller: Caller, **changes: Any) -> Reservation:
    wanted = {"endpoint": "chat", "model": "tiny", "prompt_bytes": 40, "max_tokens": 10, **changes}
    return await admission.admit(caller, **wanted)


async def count_admitted(processes: list[Admission], caller: Caller, many: int, **changes: Any) -> int:
    """Send ``many`` requests to each process at once."""

    async def one(admission: Admission) -> int:
        try:
            await ask(admission, caller, **changes)
        except RateLimitedError:
            return 0
        return 1

    return sum(await asyncio.gather(*(one(each) for _each in range(many) for each in processes)))


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
async def test_requests_of_several_processes_never_pass_the_limit(limit: int) -> None:
    async with admissions(3) as processes:
        admitted = await count_admitted(processes, limited(requests_per_minute=limit), limit)
        block = max(1, limit // BLOCKS)
        assert limit - block * len(processes) <= admitted <= limit


async def test_tokens_of_several_processes_never_pass_the_limit(redis_server: redis.Redis) -> None:
    async with admissions(3) as processes:
        # 40 bytes and 10 for the answer: 20 tokens each.
        admitted = await count_admitted(processes, limited(tokens_per_minute=4000, tokens_per_day=10**6), 100)
        assert 4000 - 3 * 200 <= admitted * 20 <= 4000
        used = redis_server.hget("berth:budget:1:tokens", "used")
        assert used is not None
        assert int(used) <= 4000


async def test_a_large_request_gets_through_among_small_ones() -> None:
    caller = limited(tokens_per_minute=100_000)
    async with admissions(2) as processes:
        small = asyncio.create_task(count_admitted(processes, caller, 200))
        large = await ask(processes[0], caller, prompt_bytes=40_000, max_tokens=2000)
        assert large.headers
        assert await small > 0


@given(
    limit=st.integers(1, 300),
    sizes=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 60), st.integers(0, 80)), max_size=60),
)
@hypothesis_settings(deadline=None, max_examples=40)
def test_what_is_reserved_and_used_within_its_reserve_stays_within_the_limit(
    limit: int, sizes: list[tuple[int, int, int]]
) -> None:
    """(process, tokens reserved, percent of them used): used tokens and open reserves never pass the limit."""

    async def play() -> None:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL)
        await client.flushall()
        await client.aclose()
        async with admissions(2) as processes:
            held = 0
            for process, tokens, percent in sizes:
                try:
                    reservation = await ask(
                        processes[process], limited(tokens_per_minute=limit), prompt_bytes=4, max_tokens=tokens
                    )
                except RateLimitedError:
                    continue
                used = (tokens + 1) * percent // 100
                reservation.settle(used, 0)
                held += used
                assert held <= limit

    asyncio.run(play())


async def test_a_refusal_says_when_to_come_back_as_openai_does() -> None:
    async with admissions(1) as (admission,):
        caller = limited(requests_per_minute=1, tokens_per_minute=1000)
        first = dict((await ask(admission, caller)).headers)
        assert first[b"x-ratelimit-limit-requests"] == b"1"
        assert first[b"x-ratelimit-remaining-requests"] == b"0"
        assert first[b"x-ratelimit-limit-tokens"] == b"1000"
        assert first[b"x-ratelimit-remaining-tokens"] == b"980"
        assert first[b"x-ratelimit-reset-requests"].endswith(b"s")
        with pytest.raises(RateLimitedError, match="has used its 1 requests per minute") as caught:
            await ask(admission, caller)
        headers = dict(caught.value.headers)
        assert caught.value.status == 429
        assert 1 <= int(headers[b"retry-after"]) <= 60
        assert headers[b"x-ratelimit-remaining-tokens"] == b"980", "a refused request takes nothing"


async def test_tokens_that_were_not_used_can_be_used() -> None:
    async with admissions(1) as (admission,):
        caller = limited(tokens_per_minute=100)
        reservation = await ask(admission, caller, max_tokens=90)
        with pytest.raises(RateLimitedError):
            await ask(admission, caller, max_tokens=10)
        reservation.settle(10, 20)
        reservation.settle(0, 0)
        await ask(admission, caller, max_tokens=60)
        with pytest.raises(RateLimitedError):
            await ask(admission, caller, max_tokens=10)


async def test_unknown_usage_keeps_the_reserve() -> None:
    async with admissions(1) as (admission,):
        caller = limited(tokens_per_minute=100)
        (await ask(admission, caller, max_tokens=90)).settle(None, None)
        with pytest.raises(RateLimitedError):
            await ask(admission, caller)


async def test_what_was_used_beyond_the_reserve_is_owed_by_all_processes() -> None:
    async with admissions(2) as (one, other):
        caller = limited(tokens_per_minute=200)
        (await ask(one, caller, max_tokens=10)).settle(10, 185)
        await one._settle_up(idle_s=1e9)
        with pytest.raises(RateLimitedError):
            await ask(other, caller, max_tokens=10)


async def test_an_answer_without_a_stated_length_reserves_no_more_than_fits() -> None:
    async with admissions(1) as (admission,):
        small = await ask(admission, limited(tokens_per_minute=100), max_tokens=None)
        assert dict(small.headers)[b"x-ratelimit-remaining-tokens"] == b"0"
        large = await ask(admission, limited(2, tokens_per_minute=100_000), max_tokens=None)
        left = int(dict(large.headers)[b"x-ratelimit-remaining-tokens"])
        assert left == 100_000 - 10 - UNSTATED_ANSWER_TOKENS


async def test_a_request_that_can_never_fit_is_told_so() -> None:
    async with admissions(1) as (admission,):
        with pytest.raises(RateLimitedError, match=r"may need 5010 tokens.*limited to 100") as caught:
            await ask(admission, limited(tokens_per_minute=100), max_tokens=5000)
    headers = dict(caught.value.headers)
    # To come back later is of no use, and clients that try again by themselves know this header.
    assert headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers


async def test_unused_blocks_go_back_when_a_process_ends_or_is_idle(redis_server: redis.Redis) -> None:
    async with admissions(2) as (one, other):
        caller = limited(requests_per_minute=100)
        await ask(one, caller)
        await ask(other, caller)
        assert redis_server.hget("berth:budget:1:requests", "used") == b"10"
        await one.stop()
        await other._settle_up(idle_s=-1.0)
        assert redis_server.hget("berth:budget:1:requests", "used") == b"2"
        await ask(other, caller)


async def test_a_new_window_begins_with_the_whole_limit(redis_server: redis.Redis) -> None:
    now = [1000.0]
    admission = Admission(clock=lambda: now[0])
    await admission.start()
    caller = limited(requests_per_minute=1)
    await ask(admission, caller)
    redis_server.hset("berth:budget:1:requests", "window", "7")
    now[0] += 60
    await ask(admission, caller)
    await admission.stop()


async def test_changed_limits_count_at_once() -> None:
    async with admissions(1) as (admission,):
        await ask(admission, limited(requests_per_minute=100))
        with pytest.raises(RateLimitedError):
            await ask(admission, limited(requests_per_minute=2))
        await ask(admission, limited(requests_per_minute=200))
        assert await ask(admission, Caller(kind="key", name="app", key_id=1)) is UNLIMITED


async def test_scopes_are_checked_before_limits() -> None:
    scopes = KeyScopes(models=frozenset({"tiny", "tiny_1"}), endpoints=frozenset({"chat"}))
    caller = Caller(kind="key", name="app", key_id=1, scopes=scopes)
    async with admissions(1) as (admission,):
        assert await ask(admission, caller, model="Tiny") is UNLIMITED
        with pytest.raises(ForbiddenError, match="may not ask large"):
            await ask(admission, caller, model="large")
        with pytest.raises(ForbiddenError, match="of the kind embeddings"):
            await ask(admission, caller, endpoint="embeddings")


async def test_without_redis_a_limited_key_uses_what_its_process_holds_and_is_then_refused() -> None:
    def away() -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url("unix:///nowhere.sock")

    admission = Admission(away)
    await admission.start()
    try:
        assert await ask(admission, Caller(kind="key", name="free", key_id=2)) is UNLIMITED
        with pytest.raises(LimitsAwayError) as caught:
            await ask(admission, limited(requests_per_minute=10))
        assert (caught.value.status, dict(caught.value.headers)) == (503, {b"retry-after": b"5"})
    finally:
        await admission.stop()


async def test_a_redis_that_hangs_is_waited_for_once_and_not_by_each_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []
    connections: list[asyncio.StreamWriter] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while data := await reader.read(10_000):
            asked.append(data)
        writer.close()

    monkeypatch.setattr("playground.gateway.admission.PATIENCE_S", 0.2)
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        admission = Admission(lambda: redis.asyncio.Redis(port=port))
        await admission.start()
        began = time.monotonic()
        told = await asyncio.gather(
            *(ask(admission, limited(requests_per_minute=10)) for _each in range(20)), return_exceptions=True
        )
        assert {type(each) for each in told} == {LimitsAwayError}
        assert time.monotonic() - began < 1.0, "20 times 0.2 s is what it must not take"
        with pytest.raises(LimitsAwayError):
            await ask(admission, limited(requests_per_minute=10))
        await admission.stop()
        await until(lambda: all(writer.is_closing() for writer in connections))
    assert asked


async def test_a_client_that_leaves_while_a_block_is_taken_loses_nothing_for_others() -> None:
    async with admissions(1) as (admission,):
        caller = limited(requests_per_minute=2)
        left = asyncio.create_task(ask(admission, caller))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        await ask(admission, caller)
        await ask(admission, caller)


@pytest.mark.slow
def test_two_real_processes_share_a_limit(redis_server: redis.Redis) -> None:
    program = (
        "import django; django.setup()\n"
        "import asyncio\n"
        "from tests.playground.test_key_limits import count_admitted, limited, admissions\n"
        "async def main():\n"
        "    async with admissions(1) as found:\n"
        "        print(await count_admitted(found, limited(9, requests_per_minute=3000), 2500))\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "dashboard.settings"}
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _process in range(2)
    ]
    admitted = [int(process.communicate(timeout=60)[0]) for process in running]
    assert 3000 - 2 * 150 <= sum(admitted) <= 3000
