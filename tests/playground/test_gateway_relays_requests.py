"""What passes through the gateway: bytes as they are, errors as sentences, counts that return to zero."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, WHOLE, ScriptedUpstream

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_stream_arrives_byte_for_byte(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.stream) as upstream:
        await gateway.serve(upstream.route(7))
        async with gateway.chat(stream=True) as response:
            body = await response.read()
    assert response.status == 200
    assert body == b"".join(STREAM)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Berth-Deployment"] == "7"


@pytest.mark.parametrize("gateway", ["httptools"], indirect=True)
async def test_the_web_role_relays_as_the_gateway_role_does(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        for _each in range(2):
            async with gateway.chat(stream=True) as response:
                assert await response.read() == b"".join(STREAM)
            async with gateway.chat() as response:
                assert await response.read() == json.dumps(WHOLE).encode()
        upstream.script = scripts.think_until_left
        request = asyncio.create_task(gateway.chat().__aenter__())
        await until(lambda: len(upstream.seen) == 5)
        request.cancel()
        async with asyncio.timeout(1):
            await upstream.freed.wait()
        await until(lambda: gateway.in_flight == {})


async def test_a_stream_is_not_held_back(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            first = await response.content.readany()
            assert first == STREAM[1]
            upstream.go_on.set()
            assert await response.read() == STREAM[-1]


async def test_a_whole_answer_arrives_byte_for_byte(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat() as response:
            assert await response.read() == json.dumps(WHOLE).encode()
    assert response.status == 200


async def test_only_the_value_of_model_is_replaced(gateway: RunningGateway) -> None:
    sent = {
        "temperature": 0.1,
        "model": "tiny",
        "messages": [{"role": "user", "content": 'odd \ud800 "model" 你好 \u2028'}],
        "seed": 123456789012345678901234567890,
        "unknown": {"model": "stays", "list": [1, 2.50, None, True]},
    }
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(data=json.dumps(sent).encode()) as response:
            assert response.status == 200
    assert upstream.seen[0].json == {**sent, "model": "served-tiny"}
    assert list(upstream.seen[0].json) == list(sent)


async def test_a_large_request_passes_with_only_its_model_replaced(gateway: RunningGateway) -> None:
    image = "data:image/png;base64," + "A" * 3_000_000
    content = [
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "text", "text": 'a "quoted\\" word'},
    ]
    sent = {"messages": [{"role": "user", "content": content}], "model": "Tiny-1B", "n": 1}
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(data=io.BytesIO(json.dumps(sent, indent=1).encode())) as response:
            assert response.status == 200
    assert upstream.seen[0].json == {**sent, "model": "served-tiny"}


async def test_the_engine_gets_no_credential_and_its_cookies_stay_there(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(headers={"Cookie": "sessionid=x", "X-Forwarded-For": "1.2.3.4"}) as response:
            pass
    assert not upstream.seen[0].headers.keys() & {"authorization", "cookie", "x-forwarded-for"}
    assert "Set-Cookie" not in response.headers
    assert "X-Engine" not in response.headers


async def test_a_request_id_is_echoed_or_made(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(headers={"X-Request-Id": "my-id-1"}) as response:
            assert response.headers["X-Request-Id"] == "my-id-1"
        assert upstream.seen[0].headers["x-request-id"] == "my-id-1"
        async with gateway.chat(headers={"X-Request-Id": "bad id"}) as response:
            assert len(response.headers["X-Request-Id"]) == 32


async def test_the_engines_own_error_passes_unchanged(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.refuse) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat() as response:
            assert response.status == 400
            assert (await response.json())["error"]["message"] == "the prompt is too long for the context"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_the_engine_at_once(gateway: RunningGateway, stream: bool) -> None:
    script = scripts.stream_until_left if stream else scripts.think_until_left
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route(3))
        request = asyncio.create_task(gateway.chat(stream=stream).__aenter__())
        await upstream.busy.wait()
        assert gateway.in_flight == {3: 1}
        if stream:
            (await request).close()
        else:
            request.cancel()
        async with asyncio.timeout(0.1):
            await upstream.freed.wait()
        await until(lambda: gateway.in_flight == {})


@pytest.mark.parametrize("script", [scripts.die_before_headers, scripts.die_after_headers])
async def test_an_engine_that_dies_before_its_first_byte_is_replaced_by_another(
    gateway: RunningGateway, script: scripts.Script
) -> None:
    async with ScriptedUpstream(script) as dying, ScriptedUpstream(scripts.answer) as well:
        # The dying one is the preferred config of the model.
        await gateway.serve(dying.route(1, config="a"), well.route(2, config="b"))
        async with gateway.chat("Tiny-1B", stream=True) as response:
            assert response.status == 200
            assert response.headers["X-Berth-Deployment"] == "2"
            assert await response.read() == b"".join(STREAM)
    assert len(dying.seen) == 1
    assert gateway.in_flight == {}


async def test_an_engine_that_dies_within_a_whole_answer_is_replaced_by_another(
    gateway: RunningGateway,
) -> None:
    async with ScriptedUpstream(scripts.die_within_whole) as dying, ScriptedUpstream(scripts.answer) as well:
        await gateway.serve(dying.route(1, config="a"), well.route(2, config="b"))
        async with gateway.chat("Tiny-1B") as response:
            assert await response.read() == json.dumps(WHOLE).encode()


async def test_an_engine_that_still_loads_is_passed_over(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.still_loading) as loading, ScriptedUpstream(scripts.answer) as well:
        await gateway.serve(loading.route(1, config="a"), well.route(2, config="b"))
        async with gateway.chat("Tiny-1B") as response:
            assert response.headers["X-Berth-Deployment"] == "2"
        async with gateway.chat("a") as response:
            assert response.status == 503
            assert (await response.json())["error"]["message"] == "Loading model"


async def test_an_engine_that_breaks_off_is_a_502_that_names_the_deployment(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.die_before_headers) as upstream:
        await gateway.serve(upstream.route(4))
        async with gateway.chat() as response:
            error = (await response.json())["error"]
    assert response.status == 502
    assert error["code"] == "upstream_failed"
    assert "tiny" in error["message"]
    assert "deployment 4" in error["message"]
    # Once more on a fresh connection: it may only have closed an idle one.
    assert len(upstream.seen) == 2
    assert gateway.in_flight == {}


async def test_no_more_than_two_engines_are_risked_for_one_request(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.die_before_headers) as dying:
        await gateway.serve(*(dying.route(number) for number in (1, 2, 3)))
        async with gateway.chat() as response:
            assert response.status == 502
    assert len(dying.seen) == 2
    assert gateway.in_flight == {}


async def test_an_engine_that_cannot_be_reached_is_a_502(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        route = upstream.route()
    await gateway.serve(route)
    async with gateway.chat() as response:
        assert response.status == 502
        assert "cannot be reached" in (await response.json())["error"]["message"]


async def test_an_engine_that_stays_silent_is_a_504(gateway: RunningGateway) -> None:
    gateway.application.client.silence_s = 0.05
    async with ScriptedUpstream(scripts.think_until_left) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat() as response:
            assert response.status == 504
            assert (await response.json())["error"]["code"] == "upstream_timeout"
        async with asyncio.timeout(1):
            await upstream.freed.wait()


async def test_a_stream_that_breaks_ends_with_an_error_frame(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.die_after_first_frame) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            assert await response.content.readany() == STREAM[1]
            upstream.go_on.set()
            rest = (await response.read()).split(b"\n\n")
    assert rest[-3].startswith(b'data: {"error": {"message": "The server of tiny broke off.')
    assert rest[-2:] == [b"data: [DONE]", b""]
    await until(lambda: gateway.in_flight == {})


async def test_a_stream_that_ends_without_done_is_not_passed_off_as_complete(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.end_without_done) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(stream=True) as response:
            body = await response.read()
    assert body.startswith(STREAM[1])
    assert b'"code": "upstream_failed"' in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_requests_go_to_the_replica_with_the_fewest_in_flight(gateway: RunningGateway) -> None:
    async with (
        ScriptedUpstream(scripts.think_until_left) as first,
        ScriptedUpstream(scripts.think_until_left) as second,
    ):
        await gateway.serve(first.route(1), second.route(2))
        requests = [asyncio.create_task(gateway.chat().__aenter__()) for _each in range(6)]
        await until(lambda: sum(gateway.in_flight.values()) == 6)
        assert gateway.in_flight == {1: 3, 2: 3}
        first.go_on.set()
        second.go_on.set()
        for response in await asyncio.gather(*requests):
            response.release()
    await until(lambda: gateway.in_flight == {})


async def test_many_requests_at_once_leave_nothing_in_flight(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())

        async def once(number: int) -> int:
            async with gateway.chat(stream=number % 2 == 0) as response:
                await response.read()
                return int(response.status)

        assert set(await asyncio.gather(*(once(number) for number in range(100)))) == {200}
    await until(lambda: gateway.in_flight == {})
