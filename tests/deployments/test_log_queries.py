"""Older lines and searches that only the node can answer: asked through Redis, bounded, refused when it is silent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.utils import timezone
from pytest_django import Settings

from deployments import log_answers, log_pages, log_queries
from deployments.exceptions import NotFoundError, RuntimeUnavailableError
from deployments.lifecycle.phases import Phase
from deployments.log_answers import answer_next
from deployments.log_position import Gap
from deployments.logs import stream_key
from deployments.models import Deployment, Node
from deployments.redis_keys import log_questions
from deployments.runtimes import use_runtime
from deployments.runtimes.base import RunSpec
from tests.deployments.editing import make_run
from tests.deployments.hosts import small_config
from tests.fakes.runtime import FakeRuntime

pytestmark = pytest.mark.django_db(transaction=True)
NODE = "gpu-01"


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    made = FakeRuntime("process", images=("none",))
    use_runtime("process", made)
    yield made
    use_runtime("process", None)


@pytest.fixture
def run(runtime: FakeRuntime, redis_server: redis.Redis) -> Deployment:
    node = Node.objects.create(name=NODE, heartbeat_at=timezone.now())
    made = make_run(small_config(), Phase.LOADING, node=node)
    runtime.create(RunSpec(name=made.run_name, image="none", argv=()))
    runtime.start(made.run_name)
    return made


@pytest.fixture
def agent(run: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The thread of the agent that answers."""
    monkeypatch.setattr(log_answers, "WAIT_S", 0.1)
    ending = threading.Event()

    def answers() -> None:
        from django.db import connection

        while not ending.is_set():
            answer_next(NODE)
        connection.close()

    thread = threading.Thread(target=answers)
    thread.start()
    yield
    ending.set()
    thread.join(10)


def write(runtime: FakeRuntime, run: Deployment, first: int, last: int) -> None:
    runtime.write(run.run_name, *(f"line {number}" for number in range(first, last + 1)))


def stream(server: redis.Redis, run: Deployment, *cursors: int) -> None:
    for cursor in cursors:
        fields: dict[Any, Any] = {"c": cursor, "t": "1.5", "s": "out", "l": f"line {cursor}"}
        server.xadd(stream_key(run.pk, 1), fields, id=f"{cursor}-0")


def asked(about: Callable[[], object], at: dict[str, object], node: str = NODE) -> str:
    """The refusal that `about` raises."""
    Node.objects.filter(name=node).update(**at)
    with pytest.raises(RuntimeUnavailableError) as refusal:
        about()
    return str(refusal.value)


@pytest.mark.usefixtures("agent")
def test_older_lines_come_from_the_node(runtime: FakeRuntime, run: Deployment) -> None:
    write(runtime, run, 1, 50)
    page = log_queries.older(run.pk, 1, 31, limit=10)
    assert [line.text for line in page.lines] == [f"line {number}" for number in range(21, 31)]
    assert (page.first_cursor, page.newest_cursor, page.reached_start) == (1, 50, False)
    assert log_queries.older(run.pk, 1, 6, limit=10).reached_start
    assert [line.cursor for line in log_queries.newer(run.pk, 1, 47).lines] == [48, 49, 50]
    assert [line.cursor for line in log_queries.whole(run.pk, 1)] == list(range(1, 51))


@pytest.mark.usefixtures("agent")
def test_older_lines_before_a_gap_are_found(runtime: FakeRuntime, run: Deployment) -> None:
    write(runtime, run, 1, 200)
    runtime._runs[run.run_name].lines[20:180] = []
    assert [line.cursor for line in log_queries.older(run.pk, 1, 181, limit=3).lines] == [18, 19, 20]
    assert [line.cursor for line in log_queries.older(run.pk, 1, 182, limit=3).lines] == [19, 20, 181]


@pytest.mark.usefixtures("agent")
def test_the_node_searches_everything_and_counts(
    runtime: FakeRuntime, run: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_answers, "MOST_MATCHES", 3)
    write(runtime, run, 1, 40)
    found = log_queries.search(run.pk, 1, "LINE 3")
    assert (found.total, list(found.cursors), found.upto) == (11, [37, 38, 39], 40)


@pytest.mark.usefixtures("agent")
def test_the_node_neither_tells_nor_finds_a_secret(runtime: FakeRuntime, run: Deployment, settings: Settings) -> None:
    settings.BERTH_SECRETS = {"HF_TOKEN": "hf_secret"}
    runtime.write(run.run_name, "token hf_secret", "end")
    assert [line.text for line in log_queries.older(run.pk, 1, 2).lines] == ["token ••••••"]
    assert log_queries.search(run.pk, 1, "hf_sec").total == 0
    assert log_queries.search(run.pk, 1, "token").total == 1


@pytest.mark.usefixtures("agent")
def test_an_answer_is_bounded_next_to_where_it_was_asked_from(
    runtime: FakeRuntime, run: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_answers, "MOST_TEXT", 20)
    write(runtime, run, 10, 50)
    assert [line.cursor for line in log_queries.older(run.pk, 1, 30).lines] == [28, 29]
    assert [line.cursor for line in log_queries.newer(run.pk, 1, 30).lines] == [31, 32]


@pytest.mark.usefixtures("agent")
def test_a_page_shows_what_was_trimmed_from_the_stream(
    runtime: FakeRuntime, run: Deployment, redis_server: redis.Redis
) -> None:
    write(runtime, run, 1, 40)
    stream(redis_server, run, *range(31, 41))
    before = log_pages.lines_before(run.pk, 1, 31)
    assert [piece.cursor for piece in before.pieces if not isinstance(piece, Gap)] == list(range(1, 31))
    assert not before.has_older
    around = log_pages.lines_around(run.pk, 1, 20)
    assert [piece.cursor for piece in around.pieces if not isinstance(piece, Gap)] == list(range(1, 41))
    found = log_pages.search_log(run.pk, 1, "line 1")
    assert (found.total, found.upto) == (11, 40)


def test_a_stream_that_has_everything_asks_nobody(
    runtime: FakeRuntime, run: Deployment, redis_server: redis.Redis
) -> None:
    stream(redis_server, run, *range(1, 11))
    assert len(log_pages.lines_before(run.pk, 1, 11).pieces) == 10
    assert log_pages.search_log(run.pk, 1, "line").total == 10


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ({"heartbeat_at": timezone.now() - timedelta(hours=1)}, "is silent, and only it has the older lines"),
        ({}, "did not answer within 0 s"),
    ],
)
def test_a_silent_node_is_said_to_be(
    run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch, at: dict[str, object], told: str
) -> None:
    monkeypatch.setattr(log_queries, "ANSWERED_WITHIN_S", 0.1)
    assert told in asked(lambda: log_queries.older(run.pk, 1, 10), at)
    assert redis_server.llen(log_questions(NODE)) == 0, "nobody waits for that answer any more"
    stream(redis_server, run, 5, 6)
    assert log_pages.lines_before(run.pk, 1, 5).pieces == [Gap(4, 4)], "the gap is shown"
    assert told in asked(lambda: log_pages.search_log(run.pk, 1, "line"), at)


def test_too_many_questions_are_refused_at_once(
    run: Deployment, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queries, "MOST_WAITING", 0)
    began = time.monotonic()
    asked(lambda: log_queries.search(run.pk, 1, "x"), {})
    assert time.monotonic() - began < 1


def test_a_question_that_nobody_waits_for_is_not_answered(run: Deployment, redis_server: redis.Redis) -> None:
    question = {"id": "old", "at": time.time() - 60, "deployment": run.pk, "attempt": 1, "kind": "search", "text": "x"}
    redis_server.rpush(log_questions(NODE), json.dumps(question))
    assert answer_next(NODE)
    assert redis_server.keys("berth:log-answer:*") == []


@pytest.mark.usefixtures("agent")
def test_what_the_node_cannot_do_is_told_as_it_says(runtime: FakeRuntime, run: Deployment) -> None:
    runtime.fail("logs", RuntimeUnavailableError("The disk is gone."))
    with pytest.raises(RuntimeUnavailableError, match=r"The disk is gone\."):
        log_queries.older(run.pk, 1, 10)


def test_a_run_that_is_not_there_or_on_no_node(run: Deployment) -> None:
    with pytest.raises(NotFoundError):
        log_queries.older(run.pk + 1, 1, 10)
    Deployment.objects.update(node=None)
    assert "on no node yet" in asked(lambda: log_queries.older(run.pk, 1, 10), {})


def test_the_name_of_an_attempts_run_is_its_own(run: Deployment) -> None:
    assert log_answers._Log(run.pk, 1, NODE)._name == run.run_name
    assert settings.BERTH_INSTALLATION in run.run_name
