"""What is text and whole goes out compressed; streams and pictures go out as they are."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from dashboard.compression import TextCompressionMiddleware

TEXT = b"The tide rises and falls. " * 100


def passed_on(response: HttpResponseBase) -> HttpResponseBase:
    """What a browser gets of ``response``."""
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip, br"})
    got = TextCompressionMiddleware(lambda _request: response)(request)
    assert isinstance(got, HttpResponseBase)
    return got


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
def test_text_that_is_whole_is_compressed(kind: str) -> None:
    got = passed_on(HttpResponse(TEXT, content_type=kind))
    assert isinstance(got, HttpResponse)
    assert got["Content-Encoding"] == "gzip"
    assert len(got.content) < len(TEXT) / 5
    assert gzip.decompress(got.content) == TEXT


def test_a_stream_is_passed_on_piece_by_piece() -> None:
    given: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            given.append(number)
            yield TEXT

    got = passed_on(StreamingHttpResponse(pieces(), content_type="application/json"))
    assert "Content-Encoding" not in got.headers
    assert next(iter(got)) == TEXT
    assert given == [0]


def test_a_picture_is_left_alone() -> None:
    got = passed_on(HttpResponse(TEXT, content_type="image/png"))
    assert "Content-Encoding" not in got.headers
