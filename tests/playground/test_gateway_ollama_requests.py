"""Requests of Ollama's API as requests of OpenAI's. Shapes: ollama/ollama v0.32, docs/api.md and api/types.go."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.exceptions import BadRequestError
from playground.gateway.body import LARGE_BYTES
from playground.gateway.ollama.asking import Asked, Question, loads_only, question_for, unloads
from playground.gateway.ollama.engines import dialect_of
from playground.gateway.ollama.long_strings import LongStrings, parse
from playground.gateway.ollama.names import tagged

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).decode()


def question(asked: Asked, content: dict[str, Any], engine: str = "vllm") -> Question:
    return question_for(asked, content, LongStrings(), served_name="served", dialect=dialect_of(engine))


def chat(engine: str = "vllm", **content: Any) -> dict[str, Any]:
    content.setdefault("messages", [{"role": "user", "content": "Hi"}])
    return question("chat", content, engine).content


def test_a_chat_is_streamed_and_counted_unless_it_says_otherwise() -> None:
    asked = question("chat", {"messages": [{"role": "user", "content": "Hi"}]})
    assert asked.path == "/v1/chat/completions"
    assert asked.content == {
        "model": "served",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert chat(stream=False)["stream"] is False
    assert "stream_options" not in chat(stream=False)


def test_a_server_that_nobody_knows_gets_only_what_openai_names() -> None:
    content = chat("custom", options={"top_k": 3, "top_p": 0.5, "repeat_penalty": 1.1}, think=True)
    assert set(content) == {"model", "stream", "messages", "top_p"}


@pytest.mark.parametrize(("engine", "name"), [("vllm", "repetition_penalty"), ("llama.cpp", "repeat_penalty")])
def test_options_get_the_names_of_the_engine(engine: str, name: str) -> None:
    options = {
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 40.0,
        "num_predict": 128,
        "seed": 7,
        "stop": ["\n", "user:"],
        "repeat_penalty": 1.2,
        "presence_penalty": 1.5,
        "frequency_penalty": 1,
        "num_ctx": 1024,
        "num_gpu": 0,
        "mirostat": 1,
        "min_p": None,
    }
    content = chat(engine, options=options, keep_alive="5m")
    assert {key: value for key, value in content.items() if key not in ("model", "stream", "stream_options")} == {
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 40,
        "max_tokens": 128,
        "seed": 7,
        "stop": ["\n", "user:"],
        name: 1.2,
        "presence_penalty": 1.5,
        "frequency_penalty": 1,
    }


@pytest.mark.parametrize("unbounded", [-1, -2, 0])
def test_no_bound_of_the_answer_is_none(unbounded: int) -> None:
    assert "max_tokens" not in chat(options={"num_predict": unbounded})


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {"temperature": "hot"}},
        {"options": {"seed": True}},
        {"options": {"stop": [1]}},
        {"options": []},
        {"format": "yaml"},
        {"format": 3},
        {"think": "much"},
        {"messages": "Hi"},
        {"messages": [7]},
        {"messages": [{"content": "Hi"}]},
        {"messages": [{"role": "user", "content": [1]}]},
        {"messages": [{"role": "user", "content": "", "images": "x"}]},
        {"messages": [{"role": "user", "content": "", "images": ["http://somewhere.example/a.png"]}]},
        {"messages": [{"role": "user", "content": "", "images": ["aGVsbG8gd29ybGQhIQ=="]}]},
        {"messages": [{"role": "user", "content": "", "images": [None]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": {"a": 1}}]},
    ],
)
def test_what_is_wrong_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        chat(**wrong)


def test_formats() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    assert chat(format="json")["response_format"] == {"type": "json_object"}
    assert chat(format=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": schema, "strict": True},
    }
    assert chat("tgi", format=schema)["response_format"] == {"type": "json", "value": schema}
    assert "response_format" not in chat(format="")


def test_thinking() -> None:
    assert chat(think=False)["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert chat(think="low")["reasoning_effort"] == "low"
    assert "chat_template_kwargs" not in chat()
    assert "chat_template_kwargs" not in chat("tgi", think=True)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM", "image/bmp"),
    ],
)
def test_images_get_their_type_from_their_bytes(head: bytes, kind: str) -> None:
    image = base64.b64encode(head + bytes(30)).decode()
    content = chat(messages=[{"role": "user", "content": "What is it?", "images": [image]}])
    assert content["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{image}"}},
    ]


def test_calls_of_tools_and_their_results_find_each_other() -> None:
    def call(name: str, **arguments: Any) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": arguments}}

    content = chat(
        tools=[{"type": "function", "function": {"name": "weather"}}],
        messages=[
            {"role": "user", "content": "Paris and Toronto?"},
            {
                "role": "assistant",
                "content": "",
                "thinking": "Two calls.",
                "tool_calls": [call("weather", city="Paris"), call("time", city="Toronto"), call("weather")],
            },
            {"role": "tool", "tool_name": "time", "content": "noon"},
            {"role": "tool", "content": "rain"},
            {"role": "tool", "tool_name": "weather", "content": "sun"},
        ],
    )
    assistant, *results = content["messages"][1:]
    assert assistant["reasoning"] == "Two calls."
    assert [each["id"] for each in assistant["tool_calls"]] == ["call_0", "call_1", "call_2"]
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    assert assistant["tool_calls"][2]["function"] == {"name": "weather", "arguments": "{}"}
    assert [each["tool_call_id"] for each in results] == ["call_1", "call_0", "call_2"]
    assert content["tools"] == [{"type": "function", "function": {"name": "weather"}}]


def test_ids_of_calls_that_are_given_stay() -> None:
    content = chat(
        messages=[
            {"role": "assistant", "tool_calls": [{"id": "abc", "function": {"name": "f", "arguments": {}}}]},
            {"role": "tool", "tool_call_id": "abc", "content": "1"},
            {"role": "tool", "content": "nobody asked"},
        ]
    )
    assert content["messages"][0]["tool_calls"][0]["id"] == "abc"
    assert content["messages"][1]["tool_call_id"] == "abc"
    assert content["messages"][2]["tool_call_id"]


def test_generate_asks_the_chat_template() -> None:
    asked = question("generate", {"prompt": "Why?", "system": "Be short.", "images": [PNG], "think": True})
    assert asked.path == "/v1/chat/completions"
    assert asked.content["messages"] == [
        {"role": "system", "content": "Be short."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Why?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
    ]


def test_a_raw_prompt_passes_without_a_template() -> None:
    asked = question("generate", {"prompt": "[INST] why? [/INST]", "raw": True, "options": {"num_predict": 3}})
    assert asked.path == "/v1/completions"
    assert asked.content["prompt"] == "[INST] why? [/INST]"
    assert asked.content["max_tokens"] == 3


@pytest.mark.parametrize(
    "content",
    [
        {"prompt": "a", "context": [1, 2]},
        {"prompt": "a", "template": "{{ .Prompt }}"},
        {"prompt": "a", "suffix": "b"},
        {"prompt": "a", "raw": True, "system": "b"},
        {"prompt": "a", "raw": True, "images": [PNG]},
        {"prompt": ["a"]},
    ],
)
def test_what_cannot_be_asked_through_openai_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        question("generate", content)


def test_embeddings() -> None:
    asked = question("embed", {"input": ["a", "b"], "truncate": True, "dimensions": 8, "keep_alive": "1m"})
    assert asked.path == "/v1/embeddings"
    assert asked.content == {"model": "served", "input": ["a", "b"], "encoding_format": "float", "dimensions": 8}
    assert question("embeddings", {"prompt": "a"}).content["input"] == "a"
    with pytest.raises(BadRequestError):
        question("embed", {"input": [1]})


@pytest.mark.parametrize(
    ("asked", "content", "expected"),
    [
        ("chat", {}, True),
        ("chat", {"messages": []}, True),
        ("chat", {"messages": [{"role": "user", "content": ""}]}, False),
        ("generate", {}, True),
        ("generate", {"prompt": ""}, True),
        ("generate", {"images": ["x"]}, False),
        ("embed", {"input": ""}, True),
        ("embed", {"input": ["a"]}, False),
        ("embeddings", {"prompt": ""}, True),
    ],
)
def test_a_request_without_a_question_only_loads(asked: Asked, content: dict[str, Any], expected: bool) -> None:
    assert loads_only(asked, content) is expected


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0s", "0m", "-0s"])
def test_a_time_of_zero_unloads(zero: object) -> None:
    assert unloads({"keep_alive": zero})


@pytest.mark.parametrize("kept", [None, -1, 300, "5m", "-1s", "10s", False])
def test_any_other_time_keeps(kept: object) -> None:
    assert not unloads({"keep_alive": kept})


def test_names_have_tags() -> None:
    assert tagged("tiny") == "tiny:latest"
    assert tagged("qwen3:0.6b") == "qwen3:0.6b"
    assert tagged("here:5000/tiny") == "here:5000/tiny:latest"


def test_a_large_image_is_never_parsed_and_arrives_whole() -> None:
    image = base64.b64encode(b"\xff\xd8\xff" + bytes(LARGE_BYTES)).decode()
    sent = {"model": "m", "messages": [{"role": "user", "content": 'a "quoted\\" word', "images": [image, PNG]}]}
    raw = bytearray(json.dumps(sent).encode())
    content, strings, opaque = parse(raw)
    assert opaque == len(image)
    assert len(json.dumps(content)) < 1000
    asked = question_for("chat", content, strings, served_name="s", dialect=dialect_of("vllm"))
    parts = strings.encode(asked.content)
    assert isinstance(parts, list)
    message = json.loads(b"".join(parts))["messages"][0]
    assert message["content"][0]["text"] == 'a "quoted\\" word'
    assert [each["image_url"]["url"] for each in message["content"][1:]] == [
        f"data:image/jpeg;base64,{image}",
        f"data:image/png;base64,{PNG}",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["A" * 5000, "a/" * 3000, "\\" * 5000]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(content=st.dictionaries(st.text(), JSON), escapes=st.booleans())
def test_taking_long_strings_out_changes_nothing(content: dict[str, Any], escapes: bool) -> None:
    content["padding"] = "B" * LARGE_BYTES
    text = json.dumps(content)
    if escapes:
        text = text.replace("/", "\\/")
    parsed, strings, _opaque = parse(bytearray(text.encode()))
    payload = strings.encode({"all": parsed, "as text": json.dumps(parsed)})
    assert isinstance(payload, list)
    told = json.loads(b"".join(payload))
    assert told["all"] == content
    assert json.loads(told["as text"]) == content


@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_however_large(garbage: bytes) -> None:
    for raw in (garbage, garbage + b'"' + b"A" * (LARGE_BYTES + 1)):
        try:
            parse(raw)
        except BadRequestError:
            continue
