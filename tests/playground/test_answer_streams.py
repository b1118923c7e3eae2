"""Answers as servers stream them: the same events however the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.protocols.streams import StreamReader
from playground.protocols.streams.base import LONGEST_LINE
from playground.protocols.streams.events import (
    BrokeOff,
    Event,
    Failure,
    Finish,
    Reasoning,
    Served,
    Text,
    ToolCall,
    Usage,
)
from playground.protocols.streams.ollama import OllamaReader
from playground.protocols.streams.openai import OpenAIReader


def chunk(delta: dict[str, Any] | None = None, *, finish: str | None = None, **members: Any) -> bytes:
    """An event of an OpenAI stream."""
    content = {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **members}
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


def line(**members: Any) -> bytes:
    """A line of an Ollama stream."""
    return json.dumps(members, ensure_ascii=False).encode() + b"\n"


DONE = b"data: [DONE]\n\n"
OPENAI = [
    b": keep-alive\n\n",
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Häfen "}),
    chunk({"reasoning": "sind 港"}),
    chunk({"content": "He"}),
    chunk({"content": [{"type": "text", "text": "llo 你好"}]}),
    chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "tide", "arguments": '{"at":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"noon"}'}}]}),
    chunk(finish="tool_calls"),
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n',
    DONE,
]
OLLAMA = [
    line(message={"role": "assistant", "content": "", "thinking": "Häfen sind 港"}, done=False),
    line(message={"role": "assistant", "content": "Hello 你好"}, done=False),
    line(message={"content": "", "tool_calls": [{"function": {"name": "tide", "arguments": {"at": "noon"}}}]}),
    line(done=True, done_reason="stop", prompt_eval_count=7, eval_count=3, load_duration=12_000_000),
]


def read(reader: StreamReader, chunks: Iterable[bytes]) -> list[Event]:
    """All events, pieces of one text joined."""
    events = [event for part in chunks for event in reader.feed(part)] + reader.end()
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + event.text)
        elif isinstance(event, Reasoning) and isinstance(last, Reasoning):
            joined[-1] = Reasoning(last.text + event.text)
        elif isinstance(event, ToolCall) and isinstance(last, ToolCall) and last.index == event.index:
            joined[-1] = ToolCall(
                index=last.index,
                call_id=last.call_id or event.call_id,
                name=last.name or event.name,
                arguments=last.arguments + event.arguments,
            )
        else:
            joined.append(event)
    return joined


def cut(content: bytes, places: list[int]) -> list[bytes]:
    """``content`` in parts."""
    bounds = [0, *sorted({place % (len(content) + 1) for place in places}), len(content)]
    return [content[start:end] for start, end in pairwise(bounds)]


@given(places=st.lists(st.integers(min_value=0, max_value=5000), max_size=60), carriage=st.booleans())
def test_an_openai_stream_means_the_same_however_it_is_cut(places: list[int], carriage: bool) -> None:
    content = b"".join(OPENAI)
    content = content.replace(b"\n", b"\r\n") if carriage else content
    assert read(OpenAIReader(), cut(content, places)) == [
        Reasoning("Häfen sind 港"),
        Text("Hello 你好"),
        ToolCall(index=0, call_id="c1", name="tide", arguments='{"at":"noon"}'),
        Finish("tool_calls"),
        Usage(prompt_tokens=7, completion_tokens=3),
    ]


@given(places=st.lists(st.integers(min_value=0, max_value=5000), max_size=60))
def test_an_ollama_stream_means_the_same_however_it_is_cut(places: list[int]) -> None:
    assert read(OllamaReader(), cut(b"".join(OLLAMA), places)) == [
        Reasoning("Häfen sind 港"),
        Text("Hello 你好"),
        ToolCall(index=0, name="tide", arguments='{"at": "noon"}'),
        Usage(prompt_tokens=7, completion_tokens=3, load_ms=12),
        Finish("stop"),
    ]


THOUGHTS = "\n<think>\n\nA harbour < a bay? </thin> no.\n\n</think>\n\nIt is <think> a harbour."


@given(places=st.lists(st.integers(min_value=0, max_value=500), max_size=30))
def test_thoughts_at_the_beginning_of_a_text_are_no_answer(places: list[int]) -> None:
    pieces = [part.decode() for part in cut(THOUGHTS.encode(), places)]
    events = read(OpenAIReader(), [chunk({"content": piece}) for piece in pieces] + [chunk(finish="stop"), DONE])
    assert events == [
        Reasoning("A harbour < a bay? </thin> no."),
        Text("It is <think> a harbour."),
        Finish("stop"),
    ]


@pytest.mark.parametrize("text", ["<thi", "<", " ", "a <think>b</think>", "<thought>"])
def test_what_only_looks_like_thoughts_is_answer(text: str) -> None:
    events = read(OllamaReader(), [line(message={"content": text}), line(done=True)])
    assert [event for event in events if isinstance(event, Text | Reasoning)] == [Text(text)]


def test_thoughts_that_never_end_are_still_thoughts() -> None:
    events = read(OpenAIReader(), [chunk({"content": "<think>and so on </thi"}), chunk(finish="length"), DONE])
    thoughts = [event for event in events if isinstance(event, Reasoning)]
    assert "".join(event.text for event in thoughts) == "and so on </thi"
    assert not any(isinstance(event, Text) for event in events)


@pytest.mark.parametrize(
    ("reader", "parts", "missing"),
    [
        (OpenAIReader, [chunk({"content": "He"})], True),
        (OpenAIReader, [chunk({"content": "He"}), chunk(finish="stop")], False),
        (OpenAIReader, [chunk({"content": "He"}), chunk(finish="stop").rstrip(b"\n")], False),
        (OpenAIReader, [chunk({"content": "He"}), DONE.rstrip(b"\n")], False),
        (OpenAIReader, [], True),
        (OllamaReader, [line(message={"content": "He"}, done=False)], True),
        (OllamaReader, [line(message={"content": "He"}, done=False), line(done=True).rstrip(b"\n")], False),
        (OllamaReader, [], True),
    ],
)
def test_only_an_end_that_was_said_is_an_end(
    reader: Callable[[], StreamReader], parts: list[bytes], missing: bool
) -> None:
    assert (BrokeOff() in read(reader(), parts)) is missing


@pytest.mark.parametrize(
    ("reader", "told", "expected"),
    [
        (
            OpenAIReader,
            b'data: {"error":{"message":"out of memory","code":"oom"}}\n\n',
            Failure(message="out of memory", code="oom"),
        ),
        (OpenAIReader, b'event: error\ndata: {"error":"out of memory"}\n\n', Failure(message="out of memory")),
        (
            OpenAIReader,
            b'data: {"object":"error","message":"too long","code":400}\n\n',
            Failure(message="too long", code="400"),
        ),
        (OpenAIReader, b"data: {nonsense\n\n", None),
        (OpenAIReader, b"data: [1]\n\n", None),
        (OllamaReader, b'{"error":"model requires more memory"}\n', Failure(message="model requires more memory")),
        (OllamaReader, b"nonsense\n", None),
    ],
)
def test_an_error_within_a_stream_ends_it_with_its_own_words(
    reader: Callable[[], StreamReader], told: bytes, expected: Failure | None
) -> None:
    before = chunk({"content": "He"}) if reader is OpenAIReader else line(message={"content": "He"})
    events = read(reader(), [before, told, before, DONE])
    assert events[0] == Text("He")
    assert isinstance(events[1], Failure)
    assert len(events) == 2
    if expected is None:
        assert events[1].code == "not_json"
    else:
        assert events[1] == expected


def test_a_server_that_leaves_out_empty_lines_is_understood() -> None:
    content = (chunk({"content": "He"}) + chunk({"content": "llo"}) + DONE).replace(b"\n\n", b"\n")
    assert read(OpenAIReader(), [content]) == [Text("Hello")]


def test_what_the_gateway_tells_in_a_comment_is_heard() -> None:
    told = b": waiting for tiny\n\n: x-berth-deployment=7 x-berth-queue-ms=3 x-berth-odd=x x-berth-start-ms=6100\n\n"
    served = Served((("x-berth-deployment", 7), ("x-berth-queue-ms", 3), ("x-berth-start-ms", 6100)))
    assert read(OpenAIReader(), [told, DONE]) == [served]


def test_one_event_over_several_lines_is_one() -> None:
    assert read(OpenAIReader(), [b'data: {"choices":\ndata: [{"delta":{"content":"Hi"}}]}\n\n', DONE]) == [Text("Hi")]


def test_a_whole_answer_is_read_too() -> None:
    whole = {
        "choices": [{"message": {"content": "Hello", "reasoning_content": "Hm"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
    assert read(OpenAIReader(), [json.dumps(whole).encode()]) == [
        Reasoning("Hm"),
        Text("Hello"),
        Finish("stop"),
        Usage(prompt_tokens=7, completion_tokens=3),
    ]


def test_odd_members_are_passed_over() -> None:
    odd = [
        b'data: {"choices":null,"usage":null}\n\n',
        b'data: {"choices":[null,{"delta":null},{"delta":[]},{"index":1,"delta":{"content":"other"}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[null,{"function":null}],"content":7}}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":true}}\n\n',
    ]
    assert read(OpenAIReader(), [*odd, DONE]) == [
        ToolCall(index=1),
        Usage(prompt_tokens=None, completion_tokens=None),
    ]


def test_bytes_that_are_no_text_become_marks() -> None:
    broken = chunk({"content": "x"}).replace(b"x", b"\xff")
    assert read(OpenAIReader(), [broken, DONE]) == [Text("�")]


def test_a_line_without_an_end_is_given_up() -> None:
    reader = OllamaReader()
    part = b"x" * (4 * 1024 * 1024)
    events: list[Event] = []
    for _each in range(LONGEST_LINE // len(part) + 1):
        events += reader.feed(part)
    assert [type(event) for event in events] == [Failure]
    assert reader.feed(part) == []
    assert reader.end() == []
