"""The settings of a chat: what is taken, what is sent in each protocol, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.exceptions import InvalidInputError
from playground.answers.progress import LONGEST, Progress
from playground.chat.settings import ChatSettings, read_settings
from playground.pictures import Picture
from playground.protocols.streams import CHAT_PROTOCOLS, ChatQuestion
from playground.protocols.streams.events import Failure, Finish, Reasoning, Text, ToolCall, Usage
from playground.protocols.streams.question import Turn

TOLD: dict[str, Any] = {
    "system": " Be brief. ",
    "numbers": {"temperature": 0.2, "max_tokens": 60, "top_k": 40.0, "seed": None},
    "stop": ["END", ""],
    "json_mode": True,
    "think": "high",
    "ollama_options": {"num_ctx": 8192, "temperature": 0.9},
    "extra": {"tools": [{"type": "function"}], "top_p": 0.5},
}
PIXEL = Picture(content=b"png", media_type="image/png")
TURNS = (
    Turn(role="user", content="Hi", pictures=(PIXEL,)),
    Turn(role="assistant", content="Yes?"),
    Turn(role="user", content="Go on"),
)


def body(protocol: str, settings: ChatSettings) -> dict[str, Any]:
    return CHAT_PROTOCOLS[protocol].body(ChatQuestion(model="tiny", turns=TURNS, settings=settings))


def test_openai_gets_everything_at_the_top() -> None:
    assert body("openai-text", read_settings(TOLD)) == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
                ],
            },
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Go on"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "max_tokens": 60,
        "top_k": 40,
        "top_p": 0.5,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function"}],
    }


def test_ollama_gets_options_think_and_format() -> None:
    asked = body("ollama-text", read_settings(TOLD))
    assert asked["options"] == {
        "temperature": 0.9,
        "num_predict": 60,
        "top_k": 40,
        "stop": ["END"],
        "num_ctx": 8192,
    }
    assert (asked["think"], asked["format"], asked["tools"]) == ("high", "json", [{"type": "function"}])
    assert asked["messages"][1] == {"role": "user", "content": "Hi", "images": ["cG5n"]}
    assert "stream_options" not in asked


def test_what_is_empty_is_not_sent() -> None:
    assert set(body("openai-text", ChatSettings())) == {"model", "messages", "stream", "stream_options"}
    assert set(body("ollama-text", ChatSettings())) == {"model", "messages", "stream"}
    assert body("ollama-text", ChatSettings(think=False))["think"] is False


def test_what_is_kept_reads_back_as_it_was() -> None:
    settings = read_settings(TOLD)
    assert read_settings(settings.to_json()) == settings
    assert ChatSettings().to_json() == {}
    assert read_settings(ChatSettings(think=False).to_json()).think is False


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ([], None),
        ({"temprature": 1}, None),
        ({"system": 3}, "system"),
        ({"system": "x" * 100_001}, "system"),
        ({"numbers": []}, "numbers"),
        ({"numbers": {"temprature": 1}}, None),
        ({"numbers": {"temperature": 2.1}}, "temperature"),
        ({"numbers": {"temperature": True}}, "temperature"),
        ({"numbers": {"temperature": "1"}}, "temperature"),
        ({"numbers": {"temperature": float("nan")}}, "temperature"),
        ({"numbers": {"seed": 1.5}}, "seed"),
        ({"stop": "END"}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["x" * 201]}, "stop"),
        ({"think": "much"}, "think"),
        ({"ollama_options": []}, "ollama_options"),
        ({"extra": {"model": "other"}}, "extra"),
        ({"extra": {"messages": []}}, "extra"),
        ({"extra": {"x": "y" * 70_000}}, "extra"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(told: Any, field: str | None) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_settings(told)
    assert field is None or field in caught.value.fields


# What came of an answer


def test_progress_adds_up_and_keeps_times() -> None:
    progress = Progress(sent_at=10.0)
    for now, event in (
        (10.25, Reasoning("Hm\0")),
        (10.5, Text("He")),
        (11.25, Text("llo \ud800")),
        (11.25, ToolCall(index=1, call_id="c", name="tide", arguments='{"at"')),
        (11.5, ToolCall(index=1, call_id="c", name="tide", arguments=":1}")),
        (11.6, Finish("stop")),
        (11.7, Usage(prompt_tokens=7, completion_tokens=None)),
        (11.8, Usage(prompt_tokens=None, completion_tokens=3)),
    ):
        progress.apply(event, now=now)
    assert (progress.content, progress.reasoning) == ("Hello ?", "Hm�")
    assert progress.calls == [{"index": 1, "id": "c", "name": "tide", "arguments": '{"at":1}'}]
    assert (progress.first_token_ms, progress.stream_ms, progress.pieces) == (250, 1250, 5)
    assert (progress.prompt_tokens, progress.completion_tokens, progress.finish_reason) == (7, 3, "stop")
    assert progress.has_something
    assert not progress.is_too_long


def test_progress_has_an_end() -> None:
    progress = Progress(sent_at=0)
    progress.apply(Text("x" * LONGEST), now=1)
    before = progress.is_too_long
    progress.apply(Text("x"), now=1)
    assert (before, progress.is_too_long) == (False, True)
    calls = Progress(sent_at=0)
    for index in range(201):
        calls.apply(ToolCall(index=index), now=1)
    assert calls.is_too_long


def test_nothing_but_a_failure_is_nothing() -> None:
    progress = Progress(sent_at=0)
    progress.apply(Failure(message="no"), now=1)
    assert not progress.has_something
    assert progress.first_token_ms is None
