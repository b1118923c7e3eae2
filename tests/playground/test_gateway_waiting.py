"""Who is asked first, who waits for a place, for how long, and what is held in memory meanwhile."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from playground.exceptions import BusyError
from playground.gateway import body
from playground.gateway.byte_budget import ByteBudget, Hold
from playground.gateway.health import PassiveHealth
from playground.gateway.places import Places
from playground.gateway.routing import RoutingTable
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import ScriptedUpstream
from tests.playground.test_routing_table import a_table, entry

database = pytest.mark.django_db(transaction=True)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def first(table: RoutingTable) -> int:
    return table.candidates("M")[0].deployment_id


def test_a_deployment_that_fails_three_times_in_a_row_is_asked_last_for_a_while() -> None:
    clock = Clock()
    table = a_table(entry(1, "a"), entry(2, "b"))
    table.health = PassiveHealth(clock=clock)
    for _each in range(2):
        table.health.failed(1)
    assert first(table) == 1
    table.health.failed(1)
    assert [route.deployment_id for route in table.candidates("M")] == [2, 1]
    clock.now += 2.1
    assert first(table) == 1
    # The next failure rests it at once, for twice as long.
    table.health.failed(1)
    clock.now += 2.1
    assert first(table) == 2
    clock.now += 2.1
    assert first(table) == 1
    table.health.answered(1)
    table.health.failed(1)
    assert first(table) == 1


def test_the_rest_is_bounded_and_the_only_one_is_never_left_out() -> None:
    clock = Clock()
    table = a_table(entry(1, "a"))
    table.health = PassiveHealth(clock=clock)
    for _each in range(100):
        table.health.failed(1)
    assert first(table) == 1
    clock.now += 30.1
    assert not table.health.rests(1)
    table.replace(json.dumps({"version": 9, "routes": []}))
    assert not table.health.troubled


async def test_places_are_given_in_the_order_in_which_requests_came() -> None:
    table = a_table({**entry(1, "a"), "max_in_flight": 2})
    places = Places(table.in_flight)
    held = [await places.take(lambda: table.candidates("a")) for _each in range(2)]
    order: list[int] = []

    async def ask(number: int) -> None:
        route = await places.take(lambda: table.candidates("a"))
        order.append(number)
        places.leave(route)

    tasks = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert (places.waiting, table.in_flight[1]) == (5, 2)
    places.leave(held[0])
    await asyncio.gather(*tasks)
    assert order == list(range(5))
    places.leave(held[1])
    assert (places.waiting, table.in_flight.total) == (0, 0)


async def test_the_line_is_bounded_in_length_and_time() -> None:
    table = a_table(entry(1, "a"))
    places = Places(table.in_flight, most=1, most_waiting=1, wait_s=0.05)
    held = await places.take(lambda: table.candidates("a"))
    waiting = asyncio.create_task(places.take(lambda: table.candidates("a")))
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="Too many"):
        await places.take(lambda: table.candidates("a"))
    with pytest.raises(BusyError, match=r"within 0\.05 s"):
        await waiting
    places.leave(held)
    assert table.in_flight.snapshot() == {}


async def test_who_stops_waiting_leaves_no_place_taken() -> None:
    table = a_table(entry(1, "a"))
    places = Places(table.in_flight, most=1)
    for give_first in (False, True):
        held = await places.take(lambda: table.candidates("a"))
        waiting = asyncio.create_task(places.take(lambda: table.candidates("a")))
        await asyncio.sleep(0)
        if give_first:
            places.leave(held)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not give_first:
            places.leave(held)
        assert (places.waiting, table.in_flight.total) == (0, 0)


async def test_bytes_are_given_in_order_and_given_back() -> None:
    budget = ByteBudget(100, most_waiting=2, wait_s=0.05)
    first_hold, second = Hold(budget), Hold(budget)
    await first_hold.grow_to(80)
    large = asyncio.create_task(second.grow_to(90))
    await asyncio.sleep(0)
    # Small ones do not overtake for ever.
    assert not Hold(budget).try_grow(10)
    first_hold.shrink_to(0)
    await large
    assert budget.used == 90
    with pytest.raises(BusyError):
        await Hold(budget).grow_to(50)
    cancelled = asyncio.create_task(Hold(budget).grow_to(50))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    second.shrink_to(0)
    assert budget.used == 0
    assert budget.try_take(100)


@database
async def test_a_full_deployment_lets_requests_wait_and_then_refuses(gateway: RunningGateway) -> None:
    gateway.application.places.wait_s = 0.2
    async with ScriptedUpstream(scripts.think_until_left) as upstream:
        await gateway.serve(upstream.route(1, max_in_flight=1))
        running = asyncio.create_task(gateway.chat().__aenter__())
        await upstream.busy.wait()
        async with gateway.client.post("/v1/messages", json={"model": "tiny"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "5"
            assert (await response.json())["error"]["type"] == "overloaded_error"
        waiting = asyncio.create_task(gateway.chat().__aenter__())
        await until(lambda: gateway.application.places.waiting == 1)
        assert gateway.in_flight == {1: 1}
        upstream.go_on.set()
        for response in await asyncio.gather(running, waiting):
            assert response.status == 200
            response.release()
    await until(lambda: gateway.in_flight == {})


@database
async def test_who_waits_follows_the_table(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.think_until_left) as full, ScriptedUpstream(scripts.answer) as new:
        await gateway.serve(full.route(1, max_in_flight=1), version=1)
        running = asyncio.create_task(gateway.chat().__aenter__())
        await full.busy.wait()
        waiting = asyncio.create_task(gateway.chat().__aenter__())
        await until(lambda: gateway.application.places.waiting == 1)
        await gateway.serve(full.route(1, max_in_flight=1), new.route(2), version=2)
        async with await waiting as response:
            assert response.headers["X-Berth-Deployment"] == "2"
        waiting = asyncio.create_task(gateway.chat("a").__aenter__())
        await gateway.serve(full.route(1, config="a", max_in_flight=1), version=3)
        waiting = asyncio.create_task(gateway.chat("a").__aenter__())
        await until(lambda: gateway.application.places.waiting == 1)
        await gateway.serve(version=4)
        async with await waiting as response:
            assert response.status == 503
            assert (await response.json())["error"]["code"] == "no_model_ready"
        running.cancel()
    await until(lambda: gateway.in_flight == {})


@database
async def test_a_client_that_leaves_while_it_waits_is_forgotten(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.think_until_left) as upstream:
        await gateway.serve(upstream.route(1, max_in_flight=1))
        running = asyncio.create_task(gateway.chat().__aenter__())
        await upstream.busy.wait()
        waiting = asyncio.create_task(gateway.chat().__aenter__())
        await until(lambda: gateway.application.places.waiting == 1)
        waiting.cancel()
        await until(lambda: gateway.application.places.waiting == 0)
        running.cancel()
        await until(lambda: gateway.in_flight == {})
    assert len(upstream.seen) == 1


@database
async def test_large_bodies_wait_for_memory(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = gateway.application.budget
    budget.limit_bytes, budget.wait_s = 1_000_000, 0.1
    large = json.dumps({"model": "tiny", "messages": ["x" * 600_000]}).encode()
    async with ScriptedUpstream(scripts.think_until_left) as upstream:
        await gateway.serve(upstream.route())
        running = asyncio.create_task(gateway.chat(data=io.BytesIO(large)).__aenter__())
        await upstream.busy.wait()
        async with gateway.chat(data=io.BytesIO(large)) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "5"
        upstream.go_on.set()
        async with await running as response:
            assert response.status == 200
    await until(lambda: budget.used == 0)


@database
async def test_a_body_that_stops_coming_is_a_408(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "SILENCE_S", 0.05)
    never: Any = asyncio.get_running_loop().create_future()

    async def parts() -> AsyncIterator[bytes]:
        yield b"{"
        await never

    async with gateway.chat(data=parts()) as response:
        assert response.status == 408
        assert (await response.json())["error"]["code"] == "body_timeout"
    await until(lambda: gateway.application.budget.used == 0)


@database
async def test_a_broken_deployment_is_passed_over_without_being_asked(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.die_before_headers) as dying, ScriptedUpstream(scripts.answer) as well:
        await gateway.serve(dying.route(1, config="a"), well.route(2, config="b"))
        for _each in range(6):
            async with gateway.chat("Tiny-1B") as response:
                assert response.status == 200
        assert len(dying.seen) == 3
        async with gateway.chat("a") as response:
            assert response.status == 502
