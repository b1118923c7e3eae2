"""Raw requests: as they were written, through the gateway as the person, and the same in other tools' words."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import ollama
import openai
import pytest
from asgiref.sync import sync_to_async
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from deployments.actors import Actor
from playground import views_raw
from playground.gateway.endpoints import ENDPOINTS
from playground.protocols import raw as sending
from playground.raw import checking
from playground.raw.addresses import FILE_FIELDS, SAMPLE_FILES, kind_at, read_paths
from playground.raw.checking import check_request, read_request
from playground.raw.examples import example_body
from playground.raw.request import Asked
from playground.raw.snippets import Code
from playground.raw.snippets import code_for as code_of
from playground.raw.writing import PLACEHOLDER
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
FORM_PATHS = [endpoint.path for endpoint in ENDPOINTS if endpoint.body == "multipart"]
READ_PATHS = read_paths("tiny", "ollama-text")


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


async def sent(client: AsyncClient, body: str = BODY, *, to: str = CHAT) -> list[dict[str, Any]]:
    """The lines of an answer."""
    content = json.dumps({"path": to, "body": body})
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
async def test_a_file_goes_out_as_a_form(gateway: RunningGateway, raw: AsyncClient) -> None:
    sound = b"RIFF\0\r\n--x--\r\n"
    async with ScriptedUpstream(scripts.telling({"text": "All aboard."})) as upstream:
        await gateway.serve(upstream.route(engine="vllm"))
        body = json.dumps({"model": "tiny", "temperature": 0.5, "timestamp_granularities[]": ["word", "segment"]})
        form = {"path": "/v1/audio/transcriptions", "body": body, "file": ContentFile(sound, name="pier.wav")}
        answer: Any = await raw.post("/playground/raw/send/", form)
        lines = [json.loads(line) for line in b"".join([part async for part in answer]).splitlines()]
    assert lines[0]["head"]["status"] == 200, lines
    assert "All aboard." in "".join(line["frame"]["text"] for line in lines[1:-1])
    (seen,) = upstream.seen
    assert b'filename="pier.wav"' in seen.body
    assert sound in seen.body
    assert b'name="temperature"\r\n\r\n0.5\r\n' in seen.body
    assert seen.body.count(b'name="timestamp_granularities[]"') == 2


@pytest.mark.django_db(transaction=True)
async def test_what_may_be_read_is_read(gateway: RunningGateway, raw: AsyncClient) -> None:
    async with ScriptedUpstream(scripts.saying(STREAM[-1])) as upstream:
        await gateway.serve(upstream.route())
        for path in READ_PATHS:
            head, *frames, _end = await sent(raw, "", to=path)
            assert head["head"]["status"] == 200, path
            shown = json.loads("".join(each["frame"]["text"] for each in frames))
            assert ("version" in shown) or "tiny" in json.dumps(shown), path
    assert upstream.seen == []


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
@pytest.mark.parametrize(
    "path",
    [
        "/v1/model",
        "/v1/models/",
        "/v1/models/a b",
        "/v1/models/?x",
        "/admin/",
        "//el/",
        "",
        "/v1/models/../../metrics",
        "/v1/models/%2e%2E/%2e%2e/metrics",
        "/v1/models/..%2fx",
        "/v1/models/a\\..\\b",
        "/v1/models/你好",
        "/tgi/../generate",
        "/tgi/./a/generate",
        "/tgi/a%2f%2e%2e/generate",
        "/tgi/a?b/generate",
        "/tgi/a#b/generate",
        "/tgi/a\\b/generate",
    ],
)
def test_only_addresses_of_the_gateway_are_asked(operator: User, path: str) -> None:
    status, told = post(signed_in(operator), "send", to=path)
    assert (status, list(told["fields"])) == (422, ["path"])


def test_dots_and_percents_in_a_name_are_asked() -> None:
    assert kind_at("/v1/models/qwen-2.5%20b") == kind_at("/v1/models/org/..b") == "get"
    assert kind_at("/tgi/tiny/generate") == "json"


@pytest.mark.django_db
def test_a_form_needs_its_file_and_takes_no_other(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in(operator)
    status, told = post(client, "send", '{"model": "tiny"}', to="/v1/audio/transcriptions")
    assert (status, told["fields"].keys()) == (422, {"files"})
    assert "file" in told["error"]

    def send(name: str, content: bytes) -> tuple[int, Any]:
        form = {"path": "/v1/audio/transcriptions", "body": '{"model": "tiny"}', name: io.BytesIO(content)}
        answer = client.post("/playground/raw/send/", form)
        return answer.status_code, answer.json()

    assert send("mask", b"x")[0] == 422
    monkeypatch.setattr(checking, "LARGEST_FILES", 3)
    status, told = send("file", b"1234")
    assert (status, "25 MiB" in told["error"]) == (422, True)
    code = {"path": "/v1/images/edits", "body": "{}", "files": {"image": 3}}
    assert client.post("/playground/raw/code/", json.dumps(code), content_type="application/json").status_code == 422


@pytest.mark.django_db
def test_files_are_read_only_as_far_as_all_of_them_together_may_go(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    whole = UploadedFile.read

    def read(file: UploadedFile, size: int) -> bytes:
        asked.append(size)
        content: bytes = whole.fget(file)(size)
        return content

    monkeypatch.setattr(UploadedFile, "read", read)
    monkeypatch.setattr(checking, "LARGEST_FILES", 5)
    monkeypatch.setattr(views_raw, "send_raw", lambda *_args, **_options: pytest.fail("it was sent"))
    form = {"path": "/v1/images/edits", "body": '{"model": "tiny"}'}
    parts = {"image": ContentFile(b"123", name="a.png"), "mask": ContentFile(b"123456", name="b.png")}
    answer = signed_in(operator).post("/playground/raw/send/", form | parts)
    assert (answer.status_code, "25 MiB" in answer.json()["error"]) == (422, True)
    assert asked == [6, 3]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("told", "sent_as"),
    [
        ("audio/x-wav", "audio/x-wav"),
        ("image/svg+xml", "image/svg+xml"),
        ("", "application/octet-stream"),
        ("audio", "application/octet-stream"),
        ("text/plain\n", "application/octet-stream"),
        ("text/plain\r\nX-Model: other", "application/octet-stream"),
        ("text/plain; charset=utf-8", "application/octet-stream"),
        ("téxt/plain", "application/octet-stream"),
    ],
)
def test_a_file_goes_out_as_a_media_type_and_nothing_else(operator: User, told: str, sent_as: str) -> None:
    file = SimpleUploadedFile("a.wav", b"x", content_type=told)
    checked = check_request("/v1/audio/transcriptions", "{}", files={"file": file}, actor=Actor.person(operator))
    assert checked.files == {"file": ("a.wav", b"x", sent_as)}


@pytest.mark.django_db
@pytest.mark.parametrize(("role", "field", "status"), [("viewer", "image", 403), ("operator", "speech", 422)])
def test_what_is_refused_anyway_is_not_read(
    role: str, field: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UploadedFile, "read", lambda *_args: pytest.fail("it was read"))
    form = {"path": "/v1/images/edits", "body": "{}", field: ContentFile(b"x", name="a.png")}
    answer = signed_in(make_person("somebody", role)).post("/playground/raw/send/", form)
    assert answer.status_code == status
    assert ("no such file" in answer.json()["error"]) == (status == 422)


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
    assert next(each["files"] for each in tiny["addresses"] if each["path"] == "/v1/audio/transcriptions") == ["file"]
    assert {"path": "/v1/models/tiny", "kind": "get", "example": "", "files": []} in tiny["addresses"]
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


def code_for(path: str, body: dict[str, Any], files: dict[str, str] | None = None) -> list[Code]:
    return code_of(read_request(path, json.dumps(body), files or {}))


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


@pytest.mark.parametrize("path", FORM_PATHS)
def test_code_of_forms_names_fields_and_files(path: str) -> None:
    name = 'a;type=b "c",d.wav'
    files = {FILE_FIELDS[path][0]: name}
    codes = {code.key: code.text for code in code_for(path, {"model": "tiny", "prompt": "@" + HOSTILE, "n": 2}, files)}
    assert set(codes) == {"curl", "openai", "httpx", "javascript"}
    words = shlex.split(codes["curl"])
    given = [words[place + 1] for place, word in enumerate(words) if word == "--form-string"]
    assert given == ["model=tiny", f"prompt=@{HOSTILE}", "n=2"]
    assert words[words.index("-F") + 1] == f'{next(iter(files))}=@"' + name.replace('"', '\\"') + '"'
    for key in ("openai", "httpx"):
        opened = [node for node in ast.walk(ast.parse(codes[key])) if isinstance(node, ast.Call) and _calls_open(node)]
        assert [ast.literal_eval(each.args[0]) for each in opened] == [name]
    assert f"openAsBlob({json.dumps(name)})" in codes["javascript"]
    method: Any = openai.OpenAI(api_key="x")
    for part in codes["openai"].partition("answer = client.")[2].partition("(")[0].split("."):
        method = getattr(method, part)
    assert {*files, "model"} <= inspect.signature(method).parameters.keys()


def _calls_open(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "open"


@pytest.mark.parametrize("path", READ_PATHS)
def test_code_of_what_is_read_sends_nothing(path: str) -> None:
    codes = {code.key: code.text for code in code_for(path, {})}
    assert codes.keys() >= {"curl", "httpx", "javascript"}
    assert ("openai" in codes, "ollama" in codes) == (path.startswith("/v1/"), path in ("/api/tags", "/api/ps"))
    for text in codes.values():
        assert not {"POST", "Content-Type", "JSON"} & set(re.findall(r"[\w-]+", text)), text
    for key in codes.keys() & {"openai", "ollama", "httpx"}:
        ast.parse(codes[key])


def test_what_a_form_says_is_text() -> None:
    asked = Asked(kind="form", path="/v1/images/edits", body={"n": 2, "a": ["x", True], "b": {"c": "é"}})
    assert asked.form == {"n": ["2"], "a": ["x", "true"], "b": ['{"c": "é"}']}
    assert set(SAMPLE_FILES) == {name for names in FILE_FIELDS.values() for name in names}


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
