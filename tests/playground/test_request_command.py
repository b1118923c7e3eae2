"""``manage.py request`` against a live gateway and a scripted model's server."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import redis
from django.core.management import call_command
from django.core.management.base import CommandError

from deployments.lifecycle.phases import Phase
from deployments.live import publish_routes
from deployments.models import Deployment
from playground.exceptions import RequestError
from playground.gateway.app import GatewayApplication
from playground.protocols import GatewayHttp, Question
from playground.protocols.ollama_text import ask_ollama_text
from playground.protocols.openai_image import ask_openai_image
from tests.fakes import upstream as scripts
from tests.fakes.comfyui import FakeComfyUi
from tests.fakes.gateway import serve_gateway, until
from tests.fakes.upstream import WHOLE, ScriptedUpstream
from tests.playground.test_playground_page import a_config, a_run

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@dataclass
class Stage:
    """A ready deployment of the config ``tiny`` behind a gateway that runs in a thread of its own."""

    deployment: Deployment
    upstream: ScriptedUpstream


@contextmanager
def a_stage(settings: Settings, script: scripts.Script) -> Iterator[Stage]:
    """Serve until the block ends; the command under test runs in the test's own thread."""
    upstream = ScriptedUpstream(script)
    run = a_run(a_config("tiny"))
    with serving(settings, upstream, run):
        yield Stage(deployment=run, upstream=upstream)


@contextmanager
def serving(settings: Settings, server: ScriptedUpstream | FakeComfyUi, run: Deployment) -> Iterator[None]:
    """``server`` as the one of ``run``, behind a gateway, in a thread."""
    started, ended = threading.Event(), threading.Event()
    addresses: list[str] = []

    async def serve() -> None:
        async with server, serve_gateway(application := GatewayApplication()) as url:
            addresses.append(url)
            started.set()
            await asyncio.to_thread(ended.wait)
            await until(lambda: application.table.in_flight.snapshot() == {})

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        Deployment.objects.filter(pk=run.pk).update(endpoint=server.endpoint)
        publish_routes()
        settings.BERTH_GATEWAY_AT = addresses[0]
        yield
    finally:
        ended.set()
        thread.join(15)


@pytest.fixture
def stage(redis_server: redis.Redis, settings: Settings) -> Iterator[Stage]:
    """A model's server that answers and streams."""
    with a_stage(settings, scripts.answer) as running:
        yield running


def failing(*args: str) -> int | str | None:
    """The exit code of a command that must fail."""
    with pytest.raises(SystemExit) as caught:
        call_command("request", *args)
    return caught.value.code


def test_the_answer_streams_to_stdout(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("request", "tiny", "Hi")
    assert capsys.readouterr().out == "Hello 你好\n"
    sent = stage.upstream.seen[0].json
    assert sent["stream"] is True
    assert sent["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("name", ["Tiny-1B", "tiny-1b"])
def test_a_models_name_will_do_and_without_a_stream_too(
    stage: Stage, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    call_command("request", name, "Hi", "--no-stream")
    assert capsys.readouterr().out == "Hello 你好\n"
    assert stage.upstream.seen[0].json["stream"] is False


def test_the_prompt_may_come_from_stdin(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines"))
    call_command("request", "tiny")
    assert stage.upstream.seen[0].json["messages"][0]["content"] == "two\nlines"


def test_json_prints_the_whole_response(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("request", "tiny", "Hi", "--json")
    assert json.loads(capsys.readouterr().out) == WHOLE


def test_out_writes_the_text(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("request", "tiny", "Hi", "--out", str(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text() == "Hello 你好"
    assert capsys.readouterr().out == ""


def test_a_picture_goes_along_as_a_data_uri(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(PNG)
    call_command("request", "tiny", "What is this?", "--image", str(tmp_path / "p.png"))
    text, picture = stage.upstream.seen[0].json["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_a_file_that_is_no_picture_or_not_there_is_an_error(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.png").write_text("text")
    assert failing("tiny", "Hi", "--image", str(tmp_path / "p.png")) == 1
    assert "is no PNG, JPEG, GIF or WebP picture" in capsys.readouterr().err
    assert failing("tiny", "Hi", "--image", str(tmp_path / "none.png")) == 1
    assert "No such file" in capsys.readouterr().err
    assert stage.upstream.seen == []


def test_an_answer_that_breaks_off_keeps_what_came(
    redis_server: redis.Redis, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_stage(settings, scripts.end_without_done):
        assert failing("tiny", "Hi") == 1
    said = capsys.readouterr()
    assert said.out == "He"
    assert "broke off" in said.err


def test_the_models_servers_own_words_are_shown(
    redis_server: redis.Redis, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_stage(settings, scripts.refuse):
        assert failing("tiny", "Hi") == 1
    assert capsys.readouterr().err.strip() == "the prompt is too long for the context"


def test_a_model_that_is_not_running_lists_what_could_serve_it(
    redis_server: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    a_config("tiny-a")
    a_run(a_config("tiny-b"), Phase.LOADING)
    assert failing("Tiny-1B", "Hi") == 1
    said = capsys.readouterr().err
    assert "Tiny-1B is not running" in said
    assert "tiny-a (openai-text, not started): berth start tiny-a --wait" in said
    assert "tiny-b (openai-text, loading): berth start tiny-b --wait" in said


def test_an_unknown_model_names_near_ones(redis_server: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    a_config("tiny")
    assert failing("tinny", "Hi") == 1
    assert "Did you mean tiny" in capsys.readouterr().err


def test_another_protocol_than_the_configs_is_an_error_that_names_it(
    redis_server: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(a_config("tiny"))
    assert failing("tiny", "Hi", "--protocol", "ollama-text") == 1
    assert "tiny speaks openai-text, not ollama-text" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["ollama-text", "openai-image"])
def test_what_the_gateway_does_not_serve_is_said(
    stage: Stage, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    a_run(a_config("other", model="Other", protocol=protocol))
    assert failing("other", "Hi") == 1
    assert re.search("does not serve|There is nothing at|No ready model", capsys.readouterr().err)


def test_a_gateway_that_is_away_says_how_to_start_it(
    redis_server: redis.Redis, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BERTH_GATEWAY_AT = "http://127.0.0.1:1"
    a_run(a_config("tiny"))
    assert failing("tiny", "Hi") == 1
    assert "berth up" in capsys.readouterr().err


def test_wrong_usage_exits_with_2(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(a_config("flux", protocol="openai-image"))
    assert failing("flux", "Hi", "--image", "x.png") == 2
    assert failing("flux", "  ") == 2
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert failing("flux") == 2
    with pytest.raises(CommandError):
        call_command("request", "flux", "Hi", "--protocol", "telepathy")


def test_ctrl_c_stops_the_request(
    redis_server: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with a_stage(settings, scripts.stream_until_left) as running:
        monkeypatch.setattr("playground.management.commands.request.Command._printer", lambda *_: interrupt)
        assert failing("tiny", "Hi") == 130
        assert running.upstream.seen


def a_gateway(answer: httpx.Response) -> GatewayHttp:
    """A gateway that always answers the same."""
    http = GatewayHttp("http://gateway", "token")
    http._client = httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(lambda _request: answer))
    return http


def test_a_generated_picture_is_decoded() -> None:
    question = Question(model="flux", prompt="a ship", stream=False)
    with a_gateway(httpx.Response(200, json={"data": [{"b64_json": "iVBORw0KGgo="}]})) as http:
        assert ask_openai_image(http, question, lambda _text: None).pictures == [PNG[:8]]
    without: list[dict[str, object]] = [{"data": []}, {"data": [{"url": "x"}]}, {"data": [{"b64_json": "%"}]}]
    for nothing in without:
        with a_gateway(httpx.Response(200, json=nothing)) as http, pytest.raises(RequestError, match="no picture"):
            ask_openai_image(http, question, lambda _text: None)


def test_ollamas_lines_are_read_to_the_last() -> None:
    question = Question(model="m", prompt="Hi", stream=True)
    lines = [
        {"message": {"content": "He"}, "done": False},
        {"message": {"content": "y"}, "done": False},
        {"message": {"content": ""}, "done": True, "prompt_eval_count": 3, "eval_count": 2},
    ]
    pieces: list[str] = []
    text = "\n".join(json.dumps(line) for line in lines)
    with a_gateway(httpx.Response(200, text=text)) as http:
        answer = ask_ollama_text(http, question, pieces.append)
    assert (answer.text, answer.prompt_tokens, answer.answer_tokens) == ("Hey", 3, 2)
    assert "".join(pieces) == "Hey"
    broken = json.dumps(lines[0]) + '\n{"error": "out of memory"}'
    with a_gateway(httpx.Response(200, text=broken)) as http, pytest.raises(RequestError, match="out of memory"):
        ask_ollama_text(http, question, pieces.append)
    cut = json.dumps(lines[0])
    with a_gateway(httpx.Response(200, text=cut)) as http, pytest.raises(RequestError, match="before its end"):
        ask_ollama_text(http, question, pieces.append)


def test_a_picture_drawn_by_comfyui_is_written_to_the_file(
    redis_server: redis.Redis, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = a_config("painter", protocol="openai-image")
    config.engine, config.served_name = "comfyui", "tiny.safetensors"
    config.save()
    engine = FakeComfyUi()
    with serving(settings, engine, a_run(config)):
        out = tmp_path / "lighthouse.png"
        call_command("request", "painter", "a lighthouse", "--protocol", "openai-image", "--out", str(out))
    assert out.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "The picture is in" in capsys.readouterr().err
    assert engine.queued[0].prompt["prompt"]["inputs"]["text"] == "a lighthouse"
