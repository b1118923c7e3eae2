"""The handler of pages: one thread for a page, many pages at once, and a connection to the database that stays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from dashboard.environment import read_environment
from dashboard.pages import THREADS, PagesHandler

View = Callable[[HttpRequest], HttpResponse]


class Addresses:
    """A module of addresses with one page."""

    def __init__(self, view: View) -> None:
        self.urlpatterns = [path("", view)]


@contextmanager
def serving(view: View, *middleware: str) -> Iterator[PagesHandler]:
    with override_settings(ROOT_URLCONF=Addresses(view), MIDDLEWARE=list(middleware), ALLOWED_HOSTS=["*"]):
        yield PagesHandler()


async def answer_of(handler: PagesHandler) -> tuple[int, bytes]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", handler)), base_url="http://quay") as client:
        answer = await client.get("/")
    return answer.status_code, answer.content


SEEN: list[str] = []


class Looks:
    """A middleware that notes its thread at each step."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        SEEN.append(threading.current_thread().name)
        response = self.get_response(request)
        SEEN.append(threading.current_thread().name)
        return response

    def process_view(self, *_seen: Any) -> None:
        SEEN.append(threading.current_thread().name)


async def test_middleware_and_view_run_in_one_thread() -> None:
    SEEN.clear()

    def view(_request: HttpRequest) -> HttpResponse:
        SEEN.append(threading.current_thread().name)
        return HttpResponse("here")

    with serving(view, f"{__name__}.Looks") as handler:
        assert await answer_of(handler) == (200, b"here")
    assert len(SEEN) == 4
    assert len(set(SEEN)) == 1
    assert SEEN[0].startswith("page")


async def test_what_a_view_raises_is_an_answer() -> None:
    def view(_request: HttpRequest) -> HttpResponse:
        raise RuntimeError("adrift")

    with serving(view) as handler:
        status, body = await answer_of(handler)
    assert status == 500
    assert b"adrift" not in body


async def test_slow_pages_do_not_hold_up_others() -> None:
    everybody = threading.Barrier(THREADS, timeout=10)

    def view(_request: HttpRequest) -> HttpResponse:
        everybody.wait()
        return HttpResponse("together")

    with serving(view) as handler:
        answers = await asyncio.gather(*(answer_of(handler) for _each in range(THREADS)))
    assert answers == [(200, b"together")] * THREADS


@pytest.mark.parametrize(("role", "kept_s"), [("web", 60), ("worker", 0), ("gateway", 0), ("library", 0)])
def test_only_the_web_keeps_connections(monkeypatch: pytest.MonkeyPatch, role: str, kept_s: int) -> None:
    monkeypatch.setenv("BERTH_ROLE", role)
    database = read_environment().database
    assert database["CONN_MAX_AGE"] == kept_s
    assert database["CONN_HEALTH_CHECKS"] is (role == "web")
