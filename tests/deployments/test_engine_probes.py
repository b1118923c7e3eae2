"""Probes against a scripted server: they never raise, never hang, and repeat the server's own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deployments.engines import engine_named, http
from deployments.spec import ServingSpec

Answer = Callable[[httpx.Request], httpx.Response]
ENDPOINT = "http://127.0.0.1:8000"


def spec(engine: str = "vllm", protocol: str = "openai-text", readiness_path: str = "/health") -> ServingSpec:
    return ServingSpec(
        config="c",
        model="m",
        protocol=protocol,
        engine=engine,
        runtime="docker",
        image="i",
        served_name="tiny",
        readiness_path=readiness_path,
    )


class Server:
    """Answers by path; notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, json.loads(request.content) if request.content else None))
        answer = self.answers.get(request.url.path, httpx.Response(404, text="nothing here"))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    with httpx.Client(transport=httpx.MockTransport(made)) as client:
        monkeypatch.setattr(http, "_client", lambda: client)
        yield made


def test_a_healthy_server_answers(server: Server) -> None:
    server.answers["/health"] = httpx.Response(200)
    assert engine_named("vllm").probe(ENDPOINT, spec(), thorough=False).answering
    assert server.asked == [("/health", None)]


def test_a_loading_server_is_quoted(server: Server) -> None:
    error = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    server.answers["/health"] = httpx.Response(503, json=error)
    result = engine_named("llama.cpp").probe(ENDPOINT, spec("llama.cpp"), thorough=True)
    assert (result.answering, result.detail) == (False, "503: Loading model")


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("connection refused"), httpx.ReadTimeout("too slow"), httpx.RemoteProtocolError("cut")]
)
def test_a_broken_connection_is_no_answer(server: Server, error: Exception) -> None:
    server.answers["/health"] = error
    result = engine_named("vllm").probe(ENDPOINT, spec(), thorough=False)
    assert (result.answering, result.detail) == (False, str(error))


def test_an_impossible_address_is_no_answer() -> None:
    assert not engine_named("vllm").probe("http://[", spec(), thorough=False).answering
    assert not engine_named("vllm").probe("", spec(), thorough=False).answering


def test_thorough_asks_for_one_token_by_the_served_name(server: Server) -> None:
    server.answers["/health"] = httpx.Response(200)
    server.answers["/v1/chat/completions"] = httpx.Response(200, json={"choices": [{}]})
    assert engine_named("vllm").probe(ENDPOINT, spec(), thorough=True).answering
    path, body = server.asked[-1]
    assert (path, body["model"], body["max_tokens"]) == ("/v1/chat/completions", "tiny", 1)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (httpx.Response(404, json={"error": {"message": "no such model"}}), "404: no such model"),
        (httpx.Response(500, text="oops"), "500: oops"),
        (httpx.Response(200, json={"choices": []}), "a chat completion without choices"),
        (httpx.Response(200, text="<html>"), "a chat completion without choices"),
    ],
)
def test_a_health_page_that_lies_is_found_out(server: Server, answer: httpx.Response, detail: str) -> None:
    server.answers["/health"] = httpx.Response(200)
    server.answers["/v1/chat/completions"] = answer
    result = engine_named("vllm").probe(ENDPOINT, spec(), thorough=True)
    assert not result.answering
    assert result.detail.startswith(detail)


@pytest.mark.parametrize(
    ("loaded", "answering"), [([], False), ([{"name": "other:latest"}], False), ([{"name": "tiny:latest"}], True)]
)
def test_ollama_is_ready_when_the_model_is_resident(server: Server, loaded: list[object], answering: bool) -> None:
    server.answers["/api/version"] = httpx.Response(200, json={"version": "0.32.15"})
    server.answers["/api/ps"] = httpx.Response(200, json={"models": loaded})
    ollama = spec("ollama", "ollama-text", "/api/version")
    assert engine_named("ollama").probe(ENDPOINT, ollama, thorough=True).answering is answering


@pytest.mark.parametrize(
    ("engine", "asked", "answer"),
    [
        ("localai", "/v1/models", {"data": [{"id": "tiny"}]}),
        ("comfyui", "/object_info/CheckpointLoaderSimple", {"CheckpointLoaderSimple": {}}),
        ("sd-webui", "/sdapi/v1/sd-models", [{"model_name": "v1-5"}]),
    ],
)
def test_no_image_is_made_to_probe(server: Server, engine: str, asked: str, answer: object) -> None:
    server.answers["/ready"] = httpx.Response(200)
    server.answers[asked] = httpx.Response(200, json=answer)
    image = spec(engine, "openai-image", "/ready")
    assert engine_named(engine).probe(ENDPOINT, image, thorough=True).answering
    assert [path for path, _body in server.asked] == ["/ready", asked]


def test_an_answer_without_end_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 65536

    server.answers["/health"] = httpx.Response(200, stream=Endless())
    result = engine_named("vllm").probe(ENDPOINT, spec(), thorough=False)
    assert not result.answering
