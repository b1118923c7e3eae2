"""Stretches of a log, the search over it and its file: from the stream or the kept text, for people with a role."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone

from deployments import log_pages
from deployments.lifecycle.phases import Phase
from deployments.log_text import plain
from deployments.models import Attempt, Deployment
from deployments.views import logs
from tests.deployments.editing import make_config, make_run, person, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


@pytest.fixture
def run(redis_server: redis.Redis) -> Deployment:
    return make_run(make_config(), Phase.LOADING)


def ship(server: redis.Redis, run: Deployment, *cursors: int, text: str = "line {}") -> None:
    for cursor in cursors:
        fields: dict[Any, Any] = {"c": cursor, "t": f"{cursor}.5", "s": "err", "l": text.format(cursor)}
        server.xadd(f"berth:log:{run.pk}:1", fields, id=f"{cursor}-0")


def end(run: Deployment, log: str) -> None:
    now = timezone.now()
    Attempt.objects.create(deployment=run, number=1, started_at=now, ended_at=now, log=log)
    run.phase = Phase.FAILED
    run.save()


def lines(viewer: Client, run: Deployment, **place: int) -> Any:
    response = viewer.get(f"/deployments/{run.pk}/log/1/lines/", place)
    assert response.status_code == 200, response.content
    assert response.headers["Cache-Control"] == "no-store"
    return response.json()


def found(viewer: Client, run: Deployment, text: str) -> Any:
    response = viewer.get(f"/deployments/{run.pk}/log/1/search/", {"q": text})
    assert response.status_code == 200, response.content
    return response.json()


def cursors(answer: Any) -> list[int]:
    return [item["c"] for item in answer["items"]]


# Stretches


def test_of_a_live_log_the_page_before_a_line_comes_from_the_stream(
    viewer: Client, run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "PAGE_LINES", 3)
    ship(redis_server, run, *range(1, 11))
    answer = lines(viewer, run, before=8)
    assert answer["items"][0] == {"c": 5, "t": 5.5, "s": "err", "l": "line 5"}
    assert (cursors(answer), answer["older"], answer["newer"]) == ([5, 6, 7], True, True)
    assert (cursors(lines(viewer, run, before=3)), lines(viewer, run, before=3)["older"]) == ([1, 2], False)


def test_the_page_after_a_line_says_whether_more_follows(
    viewer: Client, run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "PAGE_LINES", 3)
    ship(redis_server, run, *range(1, 7))
    assert cursors(lines(viewer, run, after=2)) == [3, 4, 5]
    assert lines(viewer, run, after=2)["newer"] is True
    assert lines(viewer, run, after=3)["newer"] is False


def test_the_page_around_a_line_has_it_in_the_middle(
    viewer: Client, run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "PAGE_LINES", 4)
    ship(redis_server, run, *range(1, 11))
    answer = lines(viewer, run, around=6)
    assert (cursors(answer), answer["older"], answer["newer"]) == ([5, 6, 7, 8], True, True)
    beyond = lines(viewer, run, around=500)
    assert (cursors(beyond), beyond["newer"]) == ([9, 10], False)


def test_a_gap_is_an_item_with_the_number_of_its_last_line(
    viewer: Client, run: Deployment, redis_server: redis.Redis
) -> None:
    ship(redis_server, run, 1)
    redis_server.xadd(f"berth:log:{run.pk}:1", {"gap": 40}, id="41-1")
    ship(redis_server, run, 42)
    assert lines(viewer, run, before=43)["items"][1] == {"c": 41, "gap": 40}
    assert lines(viewer, run, before=42)["items"][-1] == {"c": 41, "gap": 40}
    assert lines(viewer, run, after=1)["items"][0] == {"c": 41, "gap": 40}


def test_what_was_trimmed_from_the_stream_is_a_gap_at_the_beginning(
    viewer: Client, run: Deployment, redis_server: redis.Redis
) -> None:
    ship(redis_server, run, 41, 42)
    answer = lines(viewer, run, before=41)
    assert (answer["items"], answer["older"]) == ([{"c": 40, "gap": 40}], False)


def test_of_an_ended_attempt_the_kept_text_counts_with_the_times_that_the_stream_knows(
    viewer: Client, run: Deployment, redis_server: redis.Redis
) -> None:
    ship(redis_server, run, 3)
    end(run, "one\n… 1 lines left out …\nthree")
    assert lines(viewer, run, around=1)["items"] == [
        {"c": 1, "t": None, "s": "", "l": "one"},
        {"c": 2, "gap": 1},
        {"c": 3, "t": 3.5, "s": "err", "l": "three"},
    ]


def test_an_ended_attempt_can_be_read_while_redis_is_away(
    viewer: Client, run: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(run, "one\ntwo")
    take_redis_away(monkeypatch)
    assert cursors(lines(viewer, run, before=3)) == [1, 2]


def test_a_live_log_says_so_when_redis_is_away(
    viewer: Client, run: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_redis_away(monkeypatch)
    response = viewer.get(f"/deployments/{run.pk}/log/1/lines/", {"before": 3})
    assert response.status_code == 503
    assert "Redis does not answer" in response.json()["error"]


def take_redis_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(log_pages, "client", Away)


@pytest.mark.parametrize(
    "query", ["", "before=", "before=x", "before=-1", "after=1.5", "around=٣", "around=" + "9" * 16]
)
def test_a_place_that_is_none_is_refused(viewer: Client, run: Deployment, query: str) -> None:
    response = viewer.get(f"/deployments/{run.pk}/log/1/lines/?{query}")
    assert response.status_code == 400
    assert response.json() == {"error": "Say before, after or around which line, as a number."}


@pytest.mark.parametrize("attempt", [0, 2])
@pytest.mark.parametrize("part", ["lines/?before=9", "search/?q=a", ""])
def test_an_attempt_that_never_was_is_not_found(viewer: Client, run: Deployment, attempt: int, part: str) -> None:
    assert viewer.get(f"/deployments/{run.pk}/log/{attempt}/{part}").status_code == 404


@pytest.mark.parametrize("part", ["lines/?before=9", "search/?q=a", ""])
def test_the_log_is_for_people_with_a_role(run: Deployment, part: str) -> None:
    address = f"/deployments/{run.pk}/log/1/{part}"
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger"))
    assert stranger.get(address).status_code == 403
    assert Client().get(address).status_code == 302


@pytest.mark.parametrize("part", ["lines/?before=9", "search/?q=a", ""])
def test_a_log_is_only_read(viewer: Client, run: Deployment, part: str) -> None:
    assert viewer.post(f"/deployments/{run.pk}/log/1/{part}").status_code == 405


# Search


def test_a_search_counts_the_lines_and_names_them(
    viewer: Client, run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "READ_LINES", 4)
    ship(redis_server, run, *range(1, 13))
    assert found(viewer, run, "LINE 1") == {"total": 4, "lines": [1, 10, 11, 12], "upto": 12}
    assert found(viewer, run, "nowhere") == {"total": 0, "lines": [], "upto": 12}


def test_of_very_many_matches_the_newest_are_named(
    viewer: Client, run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "MOST_MATCHES", 2)
    ship(redis_server, run, *range(1, 6))
    assert found(viewer, run, "line") == {"total": 5, "lines": [4, 5], "upto": 5}


def test_what_is_kept_is_searched_whole(viewer: Client, run: Deployment) -> None:
    end(run, "模型 loading\nready\n模型 loaded")
    assert found(viewer, run, "模型 LOAD")["lines"] == [1, 3]


def test_colours_do_not_hide_a_word(viewer: Client, run: Deployment) -> None:
    end(run, "\x1b[31mCUDA out\x1b[0m of \x1b[1mmemory\x1b[0m")
    assert found(viewer, run, "cuda out of memory")["total"] == 1
    assert found(viewer, run, "[31m")["total"] == 0


def test_a_search_is_plain_text_and_never_a_pattern(viewer: Client, run: Deployment) -> None:
    end(run, f"{'a' * 4000}\nvalue (a+)+$ here\n.*")
    began = time.monotonic()
    assert found(viewer, run, "(a+)+$")["lines"] == [2]
    assert found(viewer, run, ".*")["lines"] == [3]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["", "  ", "x" * 201])
def test_a_search_for_nothing_or_too_much_is_refused(viewer: Client, run: Deployment, text: str) -> None:
    response = viewer.get(f"/deployments/{run.pk}/log/1/search/", {"q": text})
    assert response.status_code == 400
    assert response.json() == {"error": "Search for at least one character and at most 200."}


@pytest.mark.parametrize(
    ("printed", "read"),
    [
        ("plain", "plain"),
        ("\x1b[1;38;2;255;0;0mred\x1b[0m", "red"),
        ("\x1b]0;title\x07shown \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "shown link"),
        ("\x1b[2J\x1b[10;10Hmoved\x1b[?25l", "moved"),
        ("10 %\r20 %\r", "20 %"),
        ("a\tb\x07\x00c\x9b", "a\tbc"),
        ("\x1b]never ended", ""),
        ("\x1b[" + ";" * 50_000, ";" * 50_000),
    ],
)
def test_escapes_are_left_out_of_what_is_read(printed: str, read: str) -> None:
    assert plain(printed) == read


# The file


async def file_of(run: Deployment) -> tuple[Any, list[bytes]]:
    """The response, and its parts as they are sent."""
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(person)("vera", "viewer"))
    response: Any = await client.get(f"/deployments/{run.pk}/log/1/")
    return response, [part async for part in response]


async def make_a_run(phase: Phase) -> Deployment:
    return await sync_to_async(lambda: make_run(make_config(), phase))()


@pytest.mark.django_db(transaction=True)
async def test_the_file_is_sent_as_it_is_read_and_without_colours(
    redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_LINES", 2)
    run = await make_a_run(Phase.LOADING)
    ship(redis_server, run, *range(1, 6), text="\x1b[32mline\x1b[0m {}")
    response, parts = await file_of(run)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Content-Disposition"] == f'attachment; filename="llama3-8b-{run.pk}-attempt-1.log"'
    assert len(parts) == 3
    assert b"".join(parts).splitlines()[0] == b"1970-01-01T00:00:01.500+00:00 err   line 1"


@pytest.mark.django_db(transaction=True)
async def test_the_file_marks_gaps_and_keeps_the_text_as_it_is(redis_server: redis.Redis) -> None:
    run = await make_a_run(Phase.READY)
    ship(redis_server, run, 1, text="loading <b>weights</b>")
    redis_server.xadd(f"berth:log:{run.pk}:1", {"gap": 7}, id="8-1")
    ship(redis_server, run, 9, text="模型已加载")
    _response, parts = await file_of(run)
    assert str(b"".join(parts), "utf-8").splitlines() == [
        "1970-01-01T00:00:01.500+00:00 err   loading <b>weights</b>",
        "… 7 lines left out …",
        "1970-01-01T00:00:09.500+00:00 err   模型已加载",
    ]


@pytest.mark.django_db(transaction=True)
async def test_the_file_is_there_after_the_stream_is_gone(redis_server: redis.Redis) -> None:
    run = await make_a_run(Phase.FAILED)
    await sync_to_async(end)(run, "first\nlast")
    _response, parts = await file_of(run)
    assert b"".join(parts) == b"first\nlast\n"
