"""Raw requests: as they were written, through the gateway as the person, and the same in other tools' words."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import ollama
import openai
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from playground import views_raw
from playground.gateway.endpoints import ENDPOINTS
from playground.protocols import raw as sending
from playground.raw.examples import example_body
from playground.raw.snippets import PLACEHOLDER, code_for
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import STREAM, ScriptedUpstream, frame
from tests.playground.chatting import a_config, begin
from tests.playground.conftest import make_person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHAT = "/v1/chat/completions"
BODY = '{"model": "tiny",  "messages": [{"role": "user", "content": "你好"}], "stream": true, "top_k": 5}'
JSON_PATHS = [endpoint.path for endpoint in ENDPOINTS if endpoint.body == "json"]


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def post(client: Client, path: str, body: str = BODY, *, to: str = CHAT) -> tuple[int, Any]:
    content = json.dumps({"path": to, "body": body})
    answer = client.post(f"/playground/raw/{path}/", content, content_type="application/json")
    return answer.status_code, answer.json()


@pytest.fixture
async def raw(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncClient:
    """An operator's browser before a web whose gateway is ``gateway``."""
    monkeypatch.setattr(views_raw, "gateway_url", lambda: gateway.url)
    person = await sync_to_async(make_person)("ops", "operator")
    client = AsyncClient()
    await client.aforce_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


async def sent(client: AsyncClient, body: str = BODY) -> list[dict[str, Any]]:
    """The lines of an answer."""
    content = json.dumps({"path": CHAT, "body": body})
    answer: Any = await client.post("/playground/raw/send/", content, content_type="application/json")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-ndjson"
    whole = b"".join([part async for part in answer])
    return [json.loads(line) for line in whole.splitlines()]


@pytest.mark.django_db(transaction=True)
async def test_a_stream_comes_as_it_is_with_head_and_times(gateway: RunningGateway, raw: AsyncClient) -> None:
    parts = [frame("He"), frame("llo 你好"), STREAM[-1]]
    async with ScriptedUpstream(scripts.saying(*parts)) as upstream:
        await gateway.serve(upstream.route(7))
        head, *frames, end = await sent(raw)
    assert head["head"]["status"] == 200
    assert ["x-berth-deployment", "7"] in head["head"]["headers"]
    assert b"".join(parts).decode() in "".join(each["frame"]["text"] for each in frames)
    assert end["end"]["bytes"] == sum(each["frame"]["bytes"] for each in frames)
    assert head["head"]["ms"] <= frames[0]["frame"]["ms"] <= end["end"]["ms"]
    assert upstream.seen[0].json["top_k"] == 5
    assert upstream.seen[0].json["messages"][0]["content"] == "你好"


@pytest.mark.django_db(transaction=True)
async def test_a_refusal_is_an_answer_like_any_other(gateway: RunningGateway, raw: AsyncClient) -> None:
    async with ScriptedUpstream(scripts.saying(STREAM[-1])) as upstream:
        await gateway.serve(upstream.route())
        head, *frames, end = await sent(raw, BODY.replace("tiny", "nobody"))
    assert head["head"]["status"] == 404
    assert "nobody" in json.loads("".join(each["frame"]["text"] for each in frames))["error"]["message"]
    assert not end["end"]["is_cut"]


@pytest.mark.django_db(transaction=True)
async def test_what_is_too_large_is_cut_and_says_so(
    gateway: RunningGateway, raw: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LARGEST_SHOWN", 1000)
    async with ScriptedUpstream(scripts.saying(*[frame("x" * 400)] * 20, STREAM[-1])) as upstream:
        await gateway.serve(upstream.route())
        *_others, end = await sent(raw)
    assert end["end"]["is_cut"]


@pytest.mark.django_db(transaction=True)
async def test_a_gateway_that_is_away_is_said(raw: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_raw, "gateway_url", lambda: "http://127.0.0.1:9")
    (only,) = await sent(raw)
    assert "The gateway does not answer" in only["error"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "said", "offset"),
    [
        ('{\n "a": 1\n "b": 2}', "line 3, column 2", 11),
        ('{"model": tiny}', "line 1, column 11", 10),
        ("[1]", "JSON object", None),
        ('{"a": NaN}', "NaN", None),
        ("[" * 100_000, "cannot be read", None),
        ('"' + "x" * 1_000_000 + '"', "1,000,000", None),
    ],
)
def test_what_is_no_json_is_named_by_its_place_and_not_sent(
    operator: User, body: str, said: str, offset: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_raw, "send_raw", lambda *_args, **_options: pytest.fail("it was sent"))
    status, told = post(signed_in(operator), "send", body)
    assert (status, said in told["error"]) == (422, True), told
    assert told["fields"].get("offset") == (None if offset is None else [str(offset)])


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/models", "/admin/", "//elsewhere/", ""])
def test_only_addresses_of_the_gateway_that_take_json_are_asked(operator: User, path: str) -> None:
    status, told = post(signed_in(operator), "send", to=path)
    assert (status, list(told["fields"])) == (422, ["path"])


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["send", "code"])
def test_who_may_only_look_may_not_send(viewer: User, path: str) -> None:
    status, told = post(signed_in(viewer), path)
    assert (status, "role" in told["error"]) == (403, True)
    assert signed_in(viewer).get(f"/playground/raw/{path}/").status_code == 405


@pytest.mark.django_db
def test_the_page_offers_what_each_config_serves_in_constant_queries(
    viewer: User, operator: User, redis_server: object
) -> None:
    a_config()
    client = signed_in(operator)
    client.get("/playground/raw/")
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/playground/raw/")
    for number in range(5):
        a_config(f"other-{number}", protocol="ollama-text", model=f"Other-{number}")
    with CaptureQueriesContext(connection) as many:
        shown = client.get("/playground/raw/?config=tiny&path=/v1/completions").content.decode()
    assert len(few) == len(many)
    found = re.search(r'id="raw-state" type="application/json">(.*?)</script>', shown, re.DOTALL)
    assert found
    state = json.loads(found[1])
    tiny = next(each for each in state["targets"] if each["config"] == "tiny")
    assert CHAT in [each["path"] for each in tiny["addresses"]]
    assert "/v1/audio/transcriptions" not in [each["path"] for each in tiny["addresses"]]
    assert (state["wanted"]["config"], state["wanted"]["path"]) == ("tiny", "/v1/completions")
    assert "data-send>" in shown
    assert "data-send>" not in signed_in(viewer).get("/playground/raw/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_request_of_ones_own_answer_begins_the_page(operator: User, admin: User, redis_server: object) -> None:
    a_config()
    asked = begin(operator, "Tides?")
    shown = signed_in(operator).get(f"/playground/raw/?answer={asked.answer.pk}").content.decode()
    assert "Tides?" in shown
    assert "stream_options" in shown
    assert signed_in(admin).get(f"/playground/raw/?answer={asked.answer.pk}").status_code == 404
    menu = signed_in(operator).get(f"/playground/c/{asked.conversation.pk}/").content.decode()
    assert f"/playground/raw/?answer={asked.answer.pk}" in menu


# The same in code

HOSTILE = 'it\'s "quoted" $HOME `id` \\ \n </script> 你好 \u2028'


@pytest.mark.parametrize("path", JSON_PATHS)
def test_every_address_has_an_example_and_code_that_parses(path: str) -> None:
    body = json.loads(example_body(path, "tiny")) | {"user": HOSTILE, "top_k": 5}
    codes = {code.key: code.text for code in code_for(path, body)}
    assert {"curl", "httpx", "javascript"} <= set(codes)
    for key in ("openai", "ollama", "httpx"):
        if key in codes:
            ast.parse(codes[key])
    words = shlex.split(codes["curl"])
    assert json.loads(words[words.index("-d") + 1]) == body
    assert all(PLACEHOLDER in text for text in codes.values())


@pytest.mark.parametrize("path", [path for path in JSON_PATHS if path.startswith(("/v1/", "/api/"))])
def test_the_libraries_take_what_the_code_passes(path: str) -> None:
    body = json.loads(example_body(path, "tiny"))
    codes = {code.key: code.text for code in code_for(path, body | ({"top_k": 5} if path.startswith("/v1/") else {}))}
    clients = {"openai": openai.OpenAI(api_key="x"), "ollama": ollama.Client()}
    for key in codes.keys() & clients.keys():
        call = next(
            node for node in ast.walk(ast.parse(codes[key])) if isinstance(node, ast.Assign) and _is_answer(node)
        )
        assert isinstance(call.value, ast.Call)
        method: Any = clients[key]
        for name in ast.unparse(call.value.func).split(".")[1:]:
            method = getattr(method, name)
        given = {each.arg: ast.literal_eval(each.value) for each in call.value.keywords if each.arg}
        inspect.signature(method).bind(**given)
        assert given.pop("extra_body", {}) | given == body | ({"top_k": 5} if key == "openai" else {})


def _is_answer(node: ast.Assign) -> bool:
    return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "answer"


def test_ollamas_client_is_offered_only_for_what_it_can_say() -> None:
    keys = [code.key for code in code_for("/api/chat", {"model": "tiny", "messages": [], "nonsense": 1})]
    assert "ollama" not in keys
