"""What is text and whole goes out compressed; streams and pictures go out as they are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory

from dashboard.compression import TextCompressionMiddleware

GZIP = {"Accept-Encoding": "gzip"}
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


@pytest.mark.django_db
def test_pages_go_out_compressed_to_who_takes_it(admin_client: Client, redis_server: object) -> None:
    page = admin_client.get("/keys/", headers=GZIP)
    assert (page.status_code, page["Content-Encoding"]) == (200, "gzip")
    assert "Accept-Encoding" in page["Vary"]
    assert b'id="keys"' in gzip.decompress(page.content)
    plain = admin_client.get("/keys/")
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain["Vary"]


@pytest.mark.django_db
def test_raws_answer_goes_out_as_it_comes(admin_client: Client) -> None:
    asked = json.dumps({"path": "/v1/models", "body": ""})
    answer = admin_client.post("/playground/raw/send/", asked, content_type="application/json", headers=GZIP)
    assert (answer.status_code, answer.streaming) == (200, True)
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    ("debug", "storage"),
    [
        ("0", "servestatic.storage.CompressedManifestStaticFilesStorage"),
        ("1", "django.contrib.staticfiles.storage.StaticFilesStorage"),
    ],
)
def test_static_files_are_compressed_when_they_are_collected(
    debug: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_DEBUG", debug)
    found = find_spec("dashboard.settings")
    assert found
    assert found.loader
    settings = module_from_spec(found)
    found.loader.exec_module(settings)
    assert settings.STORAGES["staticfiles"]["BACKEND"] == storage
