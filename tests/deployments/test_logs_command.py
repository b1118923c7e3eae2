"""``berth logs``: which attempt it shows, and how it goes on over a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from django.core.management import call_command
from django.utils import timezone

from deployments.lifecycle.phases import Phase
from deployments.management.commands import logs as command
from deployments.models import Attempt, Deployment
from tests.deployments.editing import make_config, make_run
from tests.deployments.test_log_reader import end, mark_end, numbered, ship

pytestmark = pytest.mark.django_db
Act = Callable[[], object]


@pytest.fixture
def run(redis_server: redis.Redis) -> Deployment:
    return make_run(make_config("llama3-8b"), Phase.LOADING)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[list[str], str]]:
    """What is printed: the log's lines, and what is said beside it."""

    def said(*flags: str) -> tuple[list[str], str]:
        capsys.readouterr()
        call_command("logs", "llama3-8b", *flags)
        printed = capsys.readouterr()
        return printed.out.splitlines(), printed.err

    return said


Said = Callable[..., tuple[list[str], str]]


def while_it_waits(monkeypatch: pytest.MonkeyPatch, *acts: Act) -> Iterator[Act]:
    """Let the world go one step on each time the command waits."""
    steps = iter(acts)

    class Naps:
        def sleep(self, _seconds: float) -> None:
            next(steps)()

    monkeypatch.setattr(command, "time", Naps())
    return steps


def change(run: Deployment, **columns: object) -> None:
    Deployment.objects.filter(pk=run.pk).update(**columns)


def test_a_restart_while_following_shows_the_next_attempt_from_its_start(
    run: Deployment, redis_server: redis.Redis, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    Attempt.objects.create(deployment=run, number=1, started_at=timezone.now())
    ship(redis_server, run, 1, 2, 3)

    def restart() -> None:
        change(run, generation=2)
        ship(redis_server, run, 4)
        mark_end(redis_server, run, 4)

    def begin_again() -> None:
        now = timezone.now()
        Attempt.objects.filter(deployment=run).update(ended_at=now, log=numbered(1, 4))
        change(run, attempt=2, applied_generation=2, phase=Phase.QUEUED)

    def finish() -> None:
        ship(redis_server, run, 1, 2, attempt=2)
        end(run, numbered(1, 2), number=2)
        change(run, phase=Phase.STOPPED)

    steps = while_it_waits(monkeypatch, restart, begin_again, finish)
    lines, beside = said("-f")
    assert lines == [*(f"line {number}" for number in (1, 2, 3, 4)), "line 1", "line 2"]
    assert beside == "attempt 2\n"
    assert next(steps, None) is None


def test_lines_of_an_attempt_that_ended_meanwhile_are_not_lost(
    run: Deployment, redis_server: redis.Redis, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(redis_server, run, 1)

    def all_at_once() -> None:
        ship(redis_server, run, 2)
        end(run, numbered(1, 3))
        ship(redis_server, run, 1, attempt=2)
        end(run, numbered(1, 1), number=2)
        change(run, attempt=2, phase=Phase.FAILED)

    while_it_waits(monkeypatch, all_at_once)
    assert said("-f")[0] == ["line 1", "line 2", "line 3", "line 1"]


@pytest.mark.parametrize("flags", [(), ("-f",)])
def test_before_the_newest_attempt_began_the_one_before_is_shown(
    run: Deployment, said: Said, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    end(run, "the cause")
    change(run, attempt=2, phase=Phase.PREPARING)
    while_it_waits(monkeypatch, lambda: change(run, phase=Phase.STOPPED))
    lines, beside = said(*flags)
    assert lines == ["the cause"]
    assert beside.startswith("Attempt 2 of llama3-8b has no log yet. This is the log of attempt 1:\n")


def test_where_nothing_was_printed_yet_that_is_said(run: Deployment, said: Said) -> None:
    assert said() == ([], "Attempt 1 of llama3-8b has no log yet.\n")


def test_a_stream_that_lost_its_head_says_how_much(run: Deployment, redis_server: redis.Redis, said: Said) -> None:
    ship(redis_server, run, 8)
    assert said() == (["… 7 lines left out …", "line 8"], "")
