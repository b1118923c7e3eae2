"""Each address: whom it may ask, what the engine gets, what the client gets, in the protocol's own shape."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import aiohttp
import pytest
from asgiref.sync import sync_to_async

from deployments.actors import Actor
from deployments.engines import engine_names
from playground.gateway.endpoints import ENDPOINTS, IMAGES, Endpoint, endpoint_at
from playground.gateway.images.answering import ADAPTED
from playground.gateway.multipart import MultipartError, boundary_of, content_type_of, find_fields
from playground.key_rules import EndpointKind, KeyRules
from playground.services.keys import create_key
from tests.deployments.editing import make_config
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.django_db(transaction=True)

ANSWER = {"object": "anything", "data": [1.50, "你好"], "model": "served-tiny"}
#: Of Ollama's, which most engines have by translation, test_gateway_ollama.py tells.
JSON_ENDPOINTS = [each for each in ENDPOINTS if each.names_model and each.body == "json" and each.path[:5] != "/api/"]
FORM_ENDPOINTS = [each for each in ENDPOINTS if each.body == "multipart"]


def served_by(endpoint: Endpoint) -> dict[str, Any]:
    adapted = ADAPTED | {"localai"} if endpoint is IMAGES else ADAPTED
    protocol, engine = sorted(each for each in endpoint.served_by if each[1] not in adapted)[-1]
    return {"protocol": protocol, "engine": engine}


def a_form(**fields: Any) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in fields.items():
        if isinstance(value, bytes):
            form.add_field(name, io.BytesIO(value), filename=f"{name}.bin", content_type="application/octet-stream")
        else:
            form.add_field(name, value)
    return form


def test_every_engine_of_the_table_exists() -> None:
    assert {engine for endpoint in ENDPOINTS for _protocol, engine in endpoint.served_by} <= set(engine_names())


@pytest.mark.parametrize("endpoint", JSON_ENDPOINTS, ids=lambda each: each.path)
async def test_a_json_request_passes_with_only_its_model_replaced(gateway: RunningGateway, endpoint: Endpoint) -> None:
    async with ScriptedUpstream(scripts.telling(ANSWER)) as upstream:
        await gateway.serve(upstream.route(**served_by(endpoint)))
        sent = {"input": ["a", 2.50], "model": "Tiny-1B", "n": 1}
        async with gateway.client.post(endpoint.path, json=sent) as response:
            assert response.status == 200
            assert await response.read() == json.dumps(ANSWER).encode()
    assert upstream.seen[0].path == endpoint.path
    assert upstream.seen[0].json == {**sent, "model": "served-tiny"}


@pytest.mark.parametrize("endpoint", FORM_ENDPOINTS, ids=lambda each: each.path)
@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_form_passes_with_only_its_model_replaced(
    gateway: RunningGateway, endpoint: Endpoint, size: int
) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    async with ScriptedUpstream(scripts.telling(ANSWER)) as upstream:
        await gateway.serve(upstream.route(**served_by(endpoint)))
        form = a_form(prompt="sea\r\n--x", file=content, model="tiny", n="1")
        async with gateway.client.post(endpoint.path, data=form) as response:
            assert response.status == 200
            assert await response.read() == json.dumps(ANSWER).encode()
        # The same form asks the engine as it would without the gateway, by its own name.
        boundary = re.search(r"boundary=(\S+)", upstream.seen[0].headers["content-type"])
        assert boundary is not None
        parts = upstream.seen[0].body.split(f"--{boundary[1]}".encode())
    assert [part.split(b'name="')[1].split(b'"')[0] for part in parts[1:-1]] == [b"prompt", b"file", b"model", b"n"]
    assert parts[3].endswith(b"\r\n\r\nserved-tiny\r\n")
    assert parts[2].endswith(content + b"\r\n")
    assert upstream.seen[0].headers["content-length"] == str(len(upstream.seen[0].body))


@pytest.mark.parametrize("name", ["generate", "generate_stream"])
async def test_tgis_own_requests_name_the_config_in_the_path(gateway: RunningGateway, name: str) -> None:
    raw = b'{ "inputs": "Hi",  "parameters": {"max_new_tokens": 5} }'
    stream = b'data:{"index":1,"token":{"id":5,"text":"a"},"generated_text":"a","details":{"generated_tokens":1}}\n\n'
    script = scripts.saying(stream) if name == "generate_stream" else scripts.telling({"generated_text": "a"})
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route(engine="tgi"))
        async with gateway.client.post(f"/tgi/tiny/{name}", data=raw) as response:
            assert response.status == 200
            if name == "generate_stream":
                assert await response.read() == stream
        async with gateway.client.post(f"/tgi/other/{name}", data=raw) as response:
            assert response.status == 404
            assert (await response.json())["error_type"] == "validation"
    assert upstream.seen[0].path == f"/{name}"
    assert upstream.seen[0].body == raw


async def test_a_mismatch_names_what_the_config_can_do(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        text = upstream.route(1, engine="tgi")
        image = upstream.route(2, config="flux", model="FLUX", protocol="openai-image", engine="localai")
        await gateway.serve(text, image)
        async with gateway.client.post("/v1/embeddings", json={"model": "tiny"}) as response:
            error = (await response.json())["error"]
        async with gateway.chat("flux") as other:
            assert "It serves: /v1/images/generations." in (await other.json())["error"]["message"]
    assert response.status == other.status == 404
    assert error["code"] == "endpoint_not_served"
    assert error["message"] == (
        "tiny (tgi) does not serve /v1/embeddings. It serves: /v1/chat/completions, /v1/completions, "
        "/tgi/CONFIG/generate_stream, /tgi/CONFIG/generate, /api/chat, /api/generate."
    )
    assert upstream.seen == []


async def test_a_model_asks_those_of_its_configs_that_can(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as talks, ScriptedUpstream(scripts.telling(ANSWER)) as embeds:
        await gateway.serve(talks.route(1, config="a", engine="tgi"), embeds.route(2, config="b", engine="vllm"))
        for _each in range(5):
            async with gateway.client.post("/v1/embeddings", json={"model": "Tiny-1B"}) as response:
                assert response.headers["X-Berth-Deployment"] == "2"


async def test_ollama_configs_talk_openai_whichever_protocol_they_name(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(protocol="ollama-text", engine="ollama"))
        async with gateway.chat() as response:
            assert response.status == 200


async def test_anthropics_clients_send_their_key_and_version_their_own_way(gateway: RunningGateway, a_key: Any) -> None:
    headers = {"x-api-key": a_key.secret, "anthropic-version": "2023-06-01", "anthropic-beta": "tools-1"}
    async with (
        ScriptedUpstream(scripts.telling({"type": "message"})) as upstream,
        aiohttp.ClientSession(gateway.url, headers=headers) as client,
    ):
        await gateway.serve(upstream.route(engine="vllm"))
        async with client.post("/v1/messages", json={"model": "tiny", "max_tokens": 5}) as response:
            assert response.status == 200
        async with client.post("/v1/messages", json={"model": "none", "max_tokens": 5}) as response:
            assert response.status == 404
            answer = await response.json()
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "not_found_error"
    assert set(answer["error"]) == {"type", "message"}
    sent = upstream.seen[0].headers
    assert (sent["anthropic-version"], sent["anthropic-beta"]) == ("2023-06-01", "tools-1")
    assert not sent.keys() & {"x-api-key", "authorization"}


def test_every_endpoint_is_in_the_scope_of_some_key_and_every_scope_opens_one() -> None:
    assert {each.scope for each in ENDPOINTS} == set(EndpointKind.values) - {EndpointKind.METRICS}


@pytest.mark.parametrize(
    ("scope", "opens", "closed"),
    [
        ("chat", ("/v1/messages", "/v1/responses", "/api/chat"), "/v1/completions"),
        ("audio", ("/v1/audio/speech", "/v1/audio/transcriptions"), "/v1/chat/completions"),
        ("completions", ("/tgi/tiny/generate", "/v1/completions", "/api/generate"), "/v1/messages"),
        ("images", ("/v1/images/edits",), "/v1/embeddings"),
    ],
)
async def test_a_scope_is_the_same_in_every_protocol(
    gateway: RunningGateway, scope: str, opens: tuple[str, ...], closed: str
) -> None:
    key = await sync_to_async(create_key)("app", actor=Actor.command_line(), rules=KeyRules(endpoints=(scope,)))
    told = ""
    async with ScriptedUpstream(scripts.telling(ANSWER)) as upstream:
        for version, path in enumerate((*opens, closed), start=1):
            found = endpoint_at(path)
            assert found is not None
            await gateway.serve(upstream.route(**served_by(found[0])), version=version)
            sent: dict[str, Any] = {"json": {"model": "tiny", "stream": False}}
            if found[0].body == "multipart":
                sent = {"data": a_form(model="tiny", file=b"RIFF")}
            headers = {"Authorization": f"Bearer {key.secret}"}
            async with gateway.client.post(path, headers=headers, **sent) as response:
                told = await response.text()
                assert (response.status == 403) == (path == closed), told
    assert closed not in [seen.path for seen in upstream.seen]
    assert "An admin can allow it" in told


async def test_a_key_sees_only_the_models_that_it_may_ask(gateway: RunningGateway) -> None:
    config = await sync_to_async(make_config)("small_1")
    rules = KeyRules(models=(config.name,))
    key = await sync_to_async(create_key)("app", actor=Actor.command_line(), rules=rules)
    client = aiohttp.ClientSession(gateway.url, headers={"Authorization": f"Bearer {key.secret}"})
    async with client, ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route(1, config=config.name, model="Other"), upstream.route(2))
        async with client.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == [config.name]
        for path in ("/api/tags", "/api/ps"):
            async with client.get(path) as response:
                assert [model["name"] for model in (await response.json())["models"]] == [f"{config.name}:latest"]
        async with client.get(f"/v1/models/{config.name}") as response:
            assert response.status == 200
        async with client.get("/v1/models/tiny") as response:
            assert response.status == 403
            assert (await response.json())["error"]["param"] == "model"
        async with client.post("/api/show", json={"model": "tiny"}) as response:
            assert response.status == 403
            assert "may not ask tiny" in (await response.json())["error"]
        async with gateway.client.get("/v1/models") as response:
            assert len((await response.json())["data"]) == 4
    assert upstream.seen == []


async def test_a_wrong_key_is_refused_in_each_protocols_shape(gateway: RunningGateway) -> None:
    async with aiohttp.ClientSession(gateway.url, headers={"x-api-key": "berth-no"}) as client:
        async with client.post("/v1/messages", json={}) as response:
            assert (await response.json())["error"]["type"] == "authentication_error"
        async with client.post("/tgi/tiny/generate", json={}) as response:
            assert set(await response.json()) == {"error", "error_type"}
        async with client.post("/api/chat", json={}) as other:
            assert isinstance((await other.json())["error"], str)
    assert response.status == 401


@pytest.mark.parametrize(
    ("content_type", "sent", "said"),
    [
        ("application/json", b"{}", "takes a form"),
        ("multipart/form-data", b"", "takes a form"),
        ("multipart/form-data; boundary=x", b"nothing", "not a valid form"),
        ("multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data", "not a valid form"),
        ("multipart/form-data; boundary=x", b'--x\r\nA: form-data; name="a"\r\n\r\nb\r\n--x--', "lacks 'model'"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\ntiny\r\n--x--',
            "lacks 'model'",
        ),
    ],
)
async def test_a_wrong_form_is_a_400_that_says_so(
    gateway: RunningGateway, content_type: str, sent: bytes, said: str
) -> None:
    async with gateway.client.post(
        "/v1/audio/transcriptions", data=sent, headers={"Content-Type": content_type}
    ) as response:
        assert response.status == 400
        assert said in (await response.json())["error"]["message"]


AMBIGUOUS_HEADS = {
    "a name in another coding": b"Content-Disposition: form-data; name*=utf-8''model",
    "two names": b'Content-Disposition: form-data; name="n"; name="model"',
    "a name within a text": b'Content-Disposition: form-data; x="; name=n; y=\\""; name="model"',
    "no file": b'Content-Disposition: form-data; xfilename=1; name="model"',
    "a file within a text": b'Content-Disposition: form-data; x="; filename=n"; name="model"',
    "two dispositions": b'Content-Disposition: form-data; name="n"\r\nContent-Disposition: form-data; name="model"',
    "another disposition": b'Content-Disposition: attachment; name="model"',
    "a folded line": b'Content-Disposition: form-data;\r\n name="model"',
    "a bare line feed": b'Content-Disposition: form-data; name="model"\n\nother\r\nX: y',
    "escapes": b'Content-Disposition: form-data; name="mo\\del"',
}


@pytest.mark.parametrize("head", AMBIGUOUS_HEADS.values(), ids=AMBIGUOUS_HEADS)
def test_a_form_names_no_other_model_to_an_engine_than_here(head: bytes) -> None:
    plain = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n'
    other = b"--b\r\n" + head + b"\r\n\r\nother\r\n"
    try:
        found = find_fields(plain + other + b"--b--\r\n", b"b", frozenset({"model"}))
    except MultipartError:
        return
    assert [field.value for field in found["model"]] == ["tiny", "other"]


@pytest.mark.parametrize("preamble", [b"x\r\n", b"\n", b'--b\nContent-Disposition: form-data; name="model"\n\nother\n'])
def test_a_form_begins_with_its_first_part(preamble: bytes) -> None:
    with pytest.raises(MultipartError):
        find_fields(
            preamble + b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--b--', b"b", frozenset()
        )


def test_an_engine_is_told_the_boundary_that_was_looked_for() -> None:
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b"; boundary=c') == b"a b"
    assert content_type_of(b"a b") == 'multipart/form-data; boundary="a b"'
    assert content_type_of(b"--x_1") == "multipart/form-data; boundary=--x_1"
    assert boundary_of('multipart/form-data; boundary="a\\b"') is None


async def test_a_compressed_body_is_a_415_that_says_what_to_do(gateway: RunningGateway) -> None:
    async with gateway.chat(data=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 415
        assert "without Content-Encoding" in (await response.json())["error"]["message"]
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        async with gateway.chat(headers={"Content-Encoding": "identity"}) as response:
            assert response.status == 200


async def test_audio_comes_as_it_is_made(gateway: RunningGateway) -> None:
    async with ScriptedUpstream(scripts.saying(b"ID3", b"\x00" * 10, content_type="audio/mpeg")) as upstream:
        await gateway.serve(upstream.route(engine="localai"))
        async with gateway.client.post("/v1/audio/speech", json={"model": "tiny", "input": "Hi"}) as response:
            assert await response.content.readany() == b"ID3"
            assert await response.read() == b"\x00" * 10
            assert response.content_type == "audio/mpeg"


async def test_a_body_of_63_mb_passes(gateway: RunningGateway) -> None:
    content = b"x" * (63 * 1024 * 1024)
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content
    form += b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with ScriptedUpstream(scripts.telling(ANSWER)) as upstream:
        await gateway.serve(upstream.route(engine="vllm"))
        async with gateway.client.post("/v1/audio/transcriptions", data=io.BytesIO(form), headers=headers) as response:
            assert response.status == 200
    assert len(upstream.seen[0].body) == len(form) + len("served-tiny") - len("tiny")
    await until(lambda: gateway.application.budget.used == 0)
