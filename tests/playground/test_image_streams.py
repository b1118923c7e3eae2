"""Images as they arrive: the same events however the bytes were cut, and nothing of what is no answer."""

from __future__ import annotations

import json

import pytest

from playground.protocols.streams import images
from playground.protocols.streams.events import BrokeOff, Drawn, Event, Failure, Served, Step
from playground.protocols.streams.images import ImageReader

STREAM = (
    b": progress "
    + json.dumps({"step": 3, "steps": 20}).encode()
    + b"\n\n: x-berth-deployment=7 x-berth-queue-ms=12\n\n: keep-alive\n\n"
    b'event: image_generation.partial_image\ndata: {"type":"image_generation.partial_image","b64_json":"no"}\n\n'
    b'event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":"QUJD","seed":5}\r\n\r\n'
    b"data: [DONE]\n\n"
)
EVENTS = [
    Step(step=3, steps=20),
    Served((("x-berth-deployment", 7), ("x-berth-queue-ms", 12))),
    Drawn(image="QUJD", seed=5),
]


def read(content: bytes, size: int = 10_000) -> list[Event]:
    reader = ImageReader()
    found = [event for start in range(0, len(content), size) for event in reader.feed(content[start : start + size])]
    return found + reader.end()


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_a_stream_is_read_however_it_is_cut(size: int) -> None:
    assert read(STREAM, size) == EVENTS


def test_a_whole_answer_is_read_without_a_line_s_end() -> None:
    whole = b'{"created":1,"data":[{"b64_json":"QQ=="},{"b64_json":"Qg=="}],"seed":true}'
    assert read(whole) == [Drawn(image="QQ=="), Drawn(image="Qg==")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"error":{"message":"no","code":"unsafe"}}', "unsafe"),
        (b'{"data":[]}', "no_image"),
        (b'{"data":[{"url":"http://127.0.0.1/x.png"}]}', "no_image"),
        (b"data: {not json}\n\n", "not_json"),
        (b'{"data":[' + b",".join([b'{"b64_json":"QQ=="}'] * 17) + b"]}", "too_many"),
    ],
)
def test_what_is_no_image_is_a_failure(content: bytes, code: str) -> None:
    failure = read(content)[-1]
    assert isinstance(failure, Failure)
    assert failure.code == code


@pytest.mark.parametrize("content", [b"", b": progress {}\n\n", b": progress {"])
def test_a_stream_without_an_image_broke_off(content: bytes) -> None:
    assert read(content) == [BrokeOff()]


def test_more_than_is_taken_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGEST", 100)
    found = read(b"x" * 300, 50)
    assert [type(event) for event in found] == [Failure]
