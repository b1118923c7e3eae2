"""OpenAI's streams as Ollama's lines: however the bytes are cut, whatever the engine sends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.exceptions import BadRequestError, UpstreamError
from playground.gateway.ollama.answers import Clock, Objects
from playground.gateway.ollama.asking import Asked
from playground.gateway.ollama.server_events import MOST_BYTES, ServerEvents
from playground.gateway.ollama.streaming import LineStream
from playground.gateway.ollama.whole import translated, words_in

STOPPED = Clock(ticks=lambda: 0, now=lambda: 1_700_000_000.0)
AT = "2023-11-14T22:13:20Z"


def event(delta: dict[str, Any] | None = None, *, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], **more}, ensure_ascii=False).encode() + b"\n\n"


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = [
    b": ping\r\n\r\n",
    event({"role": "assistant", "content": ""}),
    event({"reasoning_content": "Hm."}),
    event({"content": "He"}),
    b"event: message\nid: 5\nretry: 3\n\n",
    event({"content": "llo 你好"}).replace(b"\n\n", b"\r\n\r\n"),
    event({"tool_calls": [{"index": 0, "id": "call_a", "function": {"name": "add", "arguments": ""}}]}),
    event({"tool_calls": [{"index": 1, "id": "call_b", "function": {"name": "now"}}]}),
    event({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]}),
    event({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}).replace(b"\n\n", b"\r\r"),
    event(finish="tool_calls"),
    USAGE,
    DONE,
]


def lines_of(*chunks: bytes, asked: Asked = "chat", thinks: bool = True) -> tuple[list[dict[str, Any]], LineStream]:
    stream = LineStream(Objects(asked, "tiny", thinks=thinks, clock=STOPPED))
    out = b"".join([*(stream.feed(chunk) for chunk in chunks), stream.end()])
    assert out == b"" or out.endswith(b"\n")
    return [json.loads(line) for line in out.split(b"\n")[:-1]], stream


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def message(**content: Any) -> dict[str, Any]:
    return {"model": "tiny", "created_at": AT, "message": {"role": "assistant", "content": "", **content}}


EXPECTED = [
    {**message(thinking="Hm."), "done": False},
    {**message(content="He"), "done": False},
    {**message(content="llo 你好"), "done": False},
    {
        **message(
            tool_calls=[
                {"id": "call_a", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}},
                {"id": "call_b", "function": {"index": 1, "name": "now", "arguments": {}}},
            ]
        ),
        "done": False,
    },
    {
        **message(),
        "done": True,
        "done_reason": "stop",
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": 7,
        "prompt_eval_duration": 0,
        "eval_count": 3,
        "eval_duration": 0,
    },
]


def test_a_chat_becomes_lines() -> None:
    lines, stream = lines_of(*CHAT)
    assert lines == EXPECTED
    assert stream.ended
    assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (7, 3)


@given(places=st.lists(st.integers(0, sum(map(len, CHAT)))))
def test_it_does_not_matter_where_a_stream_is_cut(places: list[int]) -> None:
    assert lines_of(*cut(b"".join(CHAT), places))[0] == EXPECTED


def test_a_stream_may_come_byte_by_byte() -> None:
    assert lines_of(*(bytes([byte]) for byte in b"".join(CHAT)))[0] == EXPECTED


PIECES = st.lists(
    st.sampled_from(
        [
            *CHAT,
            b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
            event(finish="length"),
            b'data: {"error": {"message": "out of memory", "code": 500}}\n\n',
            b"data: {garbage\n\n",
            b"data: 17\n\n",
            b"data\n\n",
            b"\n",
            b"\r",
            b"\xff\xfe nonsense\n",
            b'data: {"choices": 3}\n\n',
            b'data: {"choices": [{"delta": []}]}\n\n',
            b'data: {"choices": [{"delta": {"content": 5, "tool_calls": [1, {}, {"function": 2}]}}]}\n\n',
            b'data: {"half": ',
        ]
    )
    | st.binary(max_size=20)
)


@given(pieces=PIECES, data=st.data())
def test_whatever_comes_the_cuts_do_not_matter_and_nothing_is_raised(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    places = data.draw(st.lists(st.integers(0, len(stream))))
    whole, first = lines_of(stream)
    parts, second = lines_of(*cut(stream, places))
    assert whole == parts
    assert str(first.failure) == str(second.failure)
    assert first.ended == second.ended == bool(whole and whole[-1]["done"])
    assert not (first.ended and first.failure)


@given(pieces=PIECES, data=st.data())
def test_events_do_not_depend_on_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    places = data.draw(st.lists(st.integers(0, len(stream))))

    def events(chunks: list[bytes]) -> list[bytes]:
        parser = ServerEvents()
        return [*(each for chunk in chunks for each in parser.feed(chunk)), *parser.end()]

    assert events([stream]) == events(cut(stream, places))


def test_data_over_several_lines_is_one_event() -> None:
    parser = ServerEvents()
    assert parser.feed(b"\xef\xbb\xbfdata: a\ndata:b\ndata:  c\n\n") == [b"a\nb\n c"]


def test_a_stream_without_its_mark_is_complete_once_it_said_why_it_stopped() -> None:
    lines, stream = lines_of(event({"content": "a"}), event(finish="length"))
    assert stream.ended
    assert lines[-1]["done_reason"] == "length"
    assert "eval_count" not in lines[-1]


def test_the_last_event_may_lack_its_empty_line() -> None:
    lines, stream = lines_of(event({"content": "a"}), event(finish="stop"), b"data: [DONE]")
    assert stream.ended
    assert lines[-1]["done"] is True


@pytest.mark.parametrize("rest", [b"", b'data: {"choices": [{"del', b": bye\n\n"])
def test_a_stream_that_breaks_off_has_no_end(rest: bytes) -> None:
    lines, stream = lines_of(event({"content": "a"}), rest)
    assert [line["done"] for line in lines] == [False]
    assert not stream.ended
    assert stream.failure is None


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'data: {"error": {"message": "no room", "type": "x", "code": 400}}\n\n', BadRequestError),
        (b'data: {"error": {"message": "no room", "code": "whatever"}}\n\n', UpstreamError),
        (b'data: {"error": "no room", "error_type": "generation"}\n\n', UpstreamError),
    ],
)
def test_an_error_in_the_stream_is_told_in_its_own_words(frame: bytes, kind: type[Exception]) -> None:
    lines, stream = lines_of(event({"content": "a"}), frame, event({"content": "b"}), DONE)
    assert len(lines) == 1
    assert isinstance(stream.failure, kind)
    assert str(stream.failure) == "no room"
    assert not stream.ended


def test_what_is_no_event_is_a_failure_and_the_lines_before_it_stay() -> None:
    lines, stream = lines_of(event({"content": "a"}) + b"data: <html>\n\n" + DONE)
    assert [line["message"]["content"] for line in lines] == ["a"]
    assert isinstance(stream.failure, UpstreamError)


def test_an_event_without_an_end_is_a_failure() -> None:
    stream = LineStream(Objects("chat", "tiny"))
    for _ in range(MOST_BYTES // 1_000_000 + 1):
        stream.feed(b"data: " + b"x" * 1_000_000)
    assert isinstance(stream.failure, UpstreamError)


def test_nothing_follows_the_end() -> None:
    lines, _stream = lines_of(event({"content": "a"}, finish="stop"), DONE, event({"content": "b"}), DONE)
    assert [line["message"]["content"] for line in lines] == ["a", ""]


def test_reasoning_that_was_not_wanted_is_left_out() -> None:
    lines, _stream = lines_of(event({"reasoning": "Hm."}), event({"content": "a"}, finish="stop"), DONE, thinks=False)
    assert [line["message"] for line in lines] == [
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": ""},
    ]


def test_halves_of_a_character_in_two_chunks_are_lines_that_can_be_read() -> None:
    lines, _stream = lines_of(
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n',
    )
    assert "".join(line["message"]["content"] for line in lines) == "\ud83d\ude00"


def test_a_line_ends_nowhere_else() -> None:
    text = "a\x85b\u2028c\u2029d\x0b\x1c\n"
    stream = LineStream(Objects("chat", "tiny"))
    out = stream.feed(event({"content": text})).decode()
    assert len(out.splitlines()) == 1
    assert json.loads(out)["message"]["content"] == text


def test_calls_without_an_index_are_whole_ones() -> None:
    calls = [{"function": {"name": "a", "arguments": {"x": 1}}}, {"function": {"name": "b", "arguments": "{}"}}]
    lines, _stream = lines_of(event({"tool_calls": calls}, finish="tool_calls"), DONE)
    assert [each["function"]["name"] for each in lines[0]["message"]["tool_calls"]] == ["a", "b"]
    assert lines[0]["message"]["tool_calls"][0]["function"]["arguments"] == {"x": 1}


def test_a_call_that_the_limit_cut_off_is_left_out() -> None:
    call = {"index": 0, "function": {"name": "a", "arguments": '{"x": '}}
    lines, stream = lines_of(event({"tool_calls": [call]}), event(finish="length"), DONE)
    assert [line["done"] for line in lines] == [True]
    assert lines[0]["done_reason"] == "length"
    assert stream.failure is None


def test_arguments_that_are_no_object_are_a_failure() -> None:
    call = {"index": 0, "function": {"name": "a", "arguments": "[1]"}}
    lines, stream = lines_of(event({"tool_calls": [call]}), event(finish="tool_calls"), DONE)
    assert lines == []
    assert "“a”" in str(stream.failure)


def test_times_are_those_that_passed_unless_the_engine_tells_its_own() -> None:
    ticks = iter([0, 100, 250, 250, 400, 400, 400])
    stream = LineStream(Objects("generate", "tiny", clock=Clock(ticks=lambda: next(ticks), now=lambda: 0.0)))
    out = stream.feed(event({"content": "a"}) + event({"content": "b"}) + event(finish="stop") + DONE)
    last = json.loads(out.splitlines()[-1])
    assert (last["prompt_eval_duration"], last["eval_duration"], last["total_duration"]) == (100, 150, 250)
    timings = {"prompt_ms": 12.5, "predicted_ms": 40}
    lines, _stream = lines_of(event({"content": "a"}, finish="stop", timings=timings), DONE, asked="generate")
    assert lines[-1]["prompt_eval_duration"] == 12_500_000
    assert lines[-1]["eval_duration"] == 40_000_000
    assert lines[-1]["response"] == ""


def test_completions_have_text() -> None:
    lines, _stream = lines_of(
        b'data: {"choices":[{"index":0,"text":"a"},{"index":1,"text":"other"}]}\n\n',
        b'data: {"choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\n',
        DONE,
        asked="generate",
    )
    assert [line["response"] for line in lines] == ["a", ""]


def whole(content: Any, asked: Asked = "chat") -> dict[str, Any]:
    body, _usage = translated(asked, json.dumps(content).encode(), Objects(asked, "tiny", clock=STOPPED))
    told: dict[str, Any] = json.loads(body)
    return told


def test_a_whole_answer() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    answer = {"role": "assistant", "content": None, "reasoning": "Hm.", "tool_calls": [call]}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    assert whole({"choices": [{"message": answer, "finish_reason": "tool_calls"}], "usage": usage}) == {
        **message(
            thinking="Hm.", tool_calls=[{"id": "c1", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}}]
        ),
        "done": True,
        "done_reason": "stop",
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": 7,
        "eval_count": 3,
        "eval_duration": 0,
    }


def test_log_probabilities_pass() -> None:
    entry = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    choice = {"message": {"content": "a"}, "finish_reason": "stop", "logprobs": {"content": [entry]}}
    assert whole({"choices": [choice]})["logprobs"] == [entry]


def test_embeddings_come_in_order_and_with_length_one() -> None:
    data = [{"index": 1, "embedding": [0.6, 0.8]}, {"index": 0, "embedding": [3, 4]}]
    told = whole({"data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}}, "embed")
    assert told["embeddings"] == [[0.6, 0.8], [0.6, 0.8]]
    assert told["prompt_eval_count"] == 4
    assert whole({"data": data}, "embeddings") == {"embedding": [3, 4]}
    assert whole({"data": [{"embedding": "AACAPwAAAAA="}]}, "embed")["embeddings"] == [[1.0, 0.0]]


@pytest.mark.parametrize("nonsense", [[], {}, {"choices": []}, {"choices": [7]}, "text", None])
def test_what_is_no_answer_is_a_failure(nonsense: Any) -> None:
    with pytest.raises(UpstreamError):
        whole(nonsense)
    with pytest.raises(UpstreamError):
        whole({"data": [nonsense]}, "embed")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"object": "error", "message": "too long"}', "too long"),
        (b'{"error": "too long", "error_type": "validation"}', "too long"),
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (b"Not Found", "Not Found"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"", ""),
    ],
)
def test_refusals_keep_their_words(raw: bytes, words: str) -> None:
    assert words_in(raw) == words
