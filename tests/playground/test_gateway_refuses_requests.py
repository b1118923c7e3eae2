"""What the gateway refuses: OpenAI's error object with a sentence that names the next step."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from playground.gateway import body
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.django_db(transaction=True)


async def test_an_unknown_model_is_a_404_that_lists_the_ready_ones(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat("tinny") as response:
            error = (await response.json())["error"]
    assert response.status == 404
    assert error["code"] == "model_not_found"
    assert error["type"] == "invalid_request_error"
    assert error["param"] == "model"
    assert error["message"] == "No ready model or config is called tinny. Ready now: Tiny-1B, tiny."


async def test_nothing_ready_is_a_503_that_says_how_to_start(gateway: RunningGateway) -> None:
    async with gateway.chat() as response:
        error = (await response.json())["error"]
    assert response.status == 503
    assert error["code"] == "no_model_ready"
    assert "berth start" in error["message"]


async def test_a_config_of_another_protocol_names_its_protocol(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(), upstream.route(2, config="flux", protocol="openai-image"))
        async with gateway.chat("flux") as response:
            assert response.status == 404
            assert "openai-image" in (await response.json())["error"]["message"]


async def test_an_error_is_told_in_the_clients_language(gateway: RunningGateway) -> None:
    async with gateway.chat(headers={"Accept-Language": "xx, zh-CN;q=0.8"}) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "no_model_ready"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "not valid JSON"),
        (b'{"model": "tiny", "messages": [}', "not valid JSON"),
        (b'\xff\xfe{"model"', "not valid JSON"),
        (b'{"model": "tiny", "temperature": NaN}', "NaN is not JSON"),
        (b'{"model": "tiny", "temperature": 1e999}', "a number is too large"),
        (b"[" * 100_000, "nested too deeply"),
        (b'["tiny"]', "must be a JSON object"),
        (b'{"messages": []}', "lacks 'model'"),
        (b'{"model": ["tiny"]}', "lacks 'model'"),
        (b'{"model": ""}', "lacks 'model'"),
        (b'{"messages": "' + b"x" * 300_000 + b'", "model": "tiny"', "not valid JSON"),
        (b'{"messages": "' + b"x" * 300_000 + b'"}', "lacks 'model'"),
    ],
)
async def test_a_wrong_body_is_a_400_that_says_what_is_wrong(gateway: RunningGateway, sent: bytes, said: str) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(data=sent) as response:
            error = (await response.json())["error"]
    assert response.status == 400
    assert said in error["message"]
    assert upstream.seen == []


async def test_a_body_over_the_limit_is_a_413_before_it_is_read(gateway: RunningGateway) -> None:
    headers = {"Content-Length": str(body.LIMIT_BYTES + 1), "Expect": "100-continue"}

    asked: list[bool] = []

    async def parts() -> AsyncIterator[bytes]:
        asked.append(True)
        yield b"x"

    async with gateway.chat(data=parts(), headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "body_too_large"
    assert asked == []


async def test_a_body_of_unknown_length_is_counted_while_it_is_read(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "LIMIT_BYTES", 100_000)

    async def parts() -> AsyncIterator[bytes]:
        for _each in range(3):
            yield b"x" * 50_000

    async with gateway.chat(data=parts()) as response:
        assert response.status == 413


@pytest.mark.parametrize("path", ["/v1/complete", "/v1/images", "/v1/"])
async def test_an_address_that_is_not_served_is_a_404_that_lists_those_that_are(
    gateway: RunningGateway, path: str
) -> None:
    async with gateway.client.post(path, json={}) as response:
        error = (await response.json())["error"]
    assert response.status == 404
    assert error["code"] == "unknown_url"
    assert "/v1/chat/completions" in error["message"]


async def test_who_looks_for_a_page_is_told_where_pages_are(gateway: RunningGateway) -> None:
    async with gateway.client.get("/login/") as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (404, "unknown_url")
    assert "the pages are at Berth's web address" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/chat/completions", "POST"), ("DELETE", "/v1/models/x", "GET, HEAD")],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_one(
    gateway: RunningGateway, method: str, path: str, allowed: str
) -> None:
    async with gateway.client.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allowed
        assert (await response.json())["error"]["code"] == "method_not_allowed"


async def test_models_lists_configs_and_models_that_are_ready(gateway: RunningGateway) -> None:
    async with gateway.client.get("/v1/models") as response:
        assert await response.json() == {"object": "list", "data": []}
    async with ScriptedUpstream(scripts.answer) as upstream:
        routes = (
            upstream.route(),
            upstream.route(2),
            upstream.route(3, config="flux", protocol="openai-image"),
        )
        await gateway.serve(*routes)
        async with gateway.client.get("/v1/models") as response:
            listed = await response.json()
        async with gateway.client.get("/v1/models/Tiny-1B") as response:
            one = await response.json()
        async with gateway.client.get("/v1/models/other") as response:
            assert response.status == 404
    assert [entry["id"] for entry in listed["data"]] == ["Tiny-1B", "tiny"]
    assert one == listed["data"][0]
    assert one["object"] == "model"
    assert one["configs"] == ["tiny"]


async def test_a_stopped_deployment_is_left_at_the_next_request(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(), version=1)
        async with gateway.chat() as response:
            assert response.status == 200
        await gateway.serve(version=2)
        async with gateway.chat() as response:
            assert response.status == 503


async def test_a_malformed_table_leaves_the_last_one_in_use(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        for raw in ("nonsense", '{"version": 2}', '{"version": 2, "routes": [{}]}', '["a"]'):
            gateway.redis.set("berth:routes", raw)
            gateway.redis.publish("berth:routes:changed", "2")
        await gateway.serve(upstream.route(), upstream.route(2, config="other"), version=3)
        async with gateway.chat("other") as response:
            assert response.status == 200


@pytest.mark.slow
async def test_a_table_that_was_not_announced_is_read_within_seconds(gateway: RunningGateway) -> None:
    gateway.redis.set("berth:routes", json.dumps({"version": 9, "routes": []}))
    await until(lambda: gateway.application.table.version == 9, within_s=8)
