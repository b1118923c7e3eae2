"""Any chunking of any valid stream comes out byte for byte, but for usage that the client did not ask for."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from playground.gateway.events import EventStream
from playground.gateway.usage import Usage
from tests.fakes.upstream import STREAM, USAGE

text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30)
events = st.one_of(
    text.map(lambda line: f": {line}"),
    text.map(lambda line: f"event: x\ndata: {line}"),
    text.map(lambda content: "data: " + json.dumps({"choices": [{"delta": {"content": content}}], "usage": None})),
    text.map(lambda content: "data:" + json.dumps({"choices": [], "prompt_filter_results": [content]})),
)
streams = st.lists(st.tuples(events, st.sampled_from(["\n\n", "\r\n\r\n", "\n\n\n"])), max_size=20).map(
    lambda pairs: "".join(event + end for event, end in pairs).encode()
)


def through(stream: EventStream, data: bytes, cuts: list[int]) -> bytes:
    """``data`` cut at ``cuts``."""
    places = sorted({min(cut, len(data)) for cut in cuts})
    bounds = zip([0, *places], [*places, len(data)], strict=True)
    fed = [stream.feed(data[start:end]) for start, end in bounds if end > start]
    return b"".join([*fed, stream.end()])


@given(data=streams, rest=text, cuts=st.lists(st.integers(0, 2000)), strips=st.booleans())
def test_any_stream_in_any_chunks_comes_out_as_it_went_in(
    data: bytes, rest: str, cuts: list[int], strips: bool
) -> None:
    whole = data + rest.encode()
    assert through(EventStream("done", strips=strips), whole, cuts) == whole


@given(data=streams, cuts=st.lists(st.integers(0, 2000)))
def test_usage_that_nobody_asked_for_is_taken_out_and_read(data: bytes, cuts: list[int]) -> None:
    stream = EventStream("done", strips=True)
    assert through(stream, data + USAGE + STREAM[-1], cuts) == data + STREAM[-1]
    assert stream.usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert stream.complete


@given(lines=st.lists(text, max_size=10), cuts=st.lists(st.integers(0, 300)))
def test_lines_of_json_come_out_as_they_went_in(lines: list[str], cuts: list[int]) -> None:
    data = "".join(json.dumps({"response": line, "done": False}) + "\n" for line in lines).encode()
    stream = EventStream("ollama", lines=True)
    assert through(stream, data, cuts) == data
    assert not stream.complete
    stream.feed(b'{"done": true, "eval_count": 3}\n')
    assert stream.complete


def test_text_that_looks_like_an_end_is_none() -> None:
    stream = EventStream("done")
    stream.feed(b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n')
    assert not stream.complete
