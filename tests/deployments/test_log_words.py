"""The tab of the log: its attempts with their outcome, the line of an address, and why there is nothing to read."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.utils import timezone

from deployments.lifecycle.phases import Phase
from deployments.models import Attempt, Deployment
from deployments.presentation.log_words import attempt_choices, empty_log_words, outcome_of
from tests.deployments.editing import make_config, make_run, signed_in

pytestmark = pytest.mark.django_db


def attempt(run: Deployment, number: int, **columns: Any) -> Attempt:
    now = timezone.now()
    return Attempt.objects.create(deployment=run, number=number, started_at=now, **{"ended_at": now, **columns})


def page(run: Deployment, **query: Any) -> str:
    return unescape(str(signed_in("vera", "viewer").get(f"/deployments/{run.pk}/", query).content, "utf-8"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"cause": "cuda_out_of_memory"}, "CUDA out of memory"),
        ({"cause": "exited", "exit_code": 3}, "exit code 3"),
        ({"exit_code": -9}, "killed by signal 9"),
        ({}, "has ended"),
        ({"cause": "no_disk_space"}, "The disk is full"),
        ({"cause": "fetch_failed", "cause_params": {"detail": "no route"}}, "Fetching failed"),
        ({"cause": "of_a_newer_release"}, "of_a_newer_release"),
    ],
)
def test_an_outcome_is_a_few_words(columns: dict[str, Any], words: str) -> None:
    assert outcome_of(attempt(make_run(make_config(), Phase.FAILED), 1, **columns)) == words


def test_attempts_are_listed_with_their_outcome_newest_first() -> None:
    run = make_run(make_config(), Phase.LOADING, attempt=3)
    rows = [attempt(run, 1, cause="cuda_out_of_memory"), attempt(run, 2, exit_code=1)]
    choices = attempt_choices(run, rows, 2)
    assert [(choice.label, choice.is_chosen) for choice in choices] == [
        ("attempt 3 – loading", False),
        ("attempt 2 – exit code 1", True),
        ("attempt 1 – CUDA out of memory", False),
    ]


def test_without_a_choice_the_newest_attempt_is_shown_and_how_the_one_before_ended() -> None:
    run = make_run(make_config(), Phase.LOADING, attempt=2)
    attempt(run, 1, cause="cuda_out_of_memory")
    text = page(run)
    assert 'data-attempt="2" data-follows-attempts' in text
    assert "Attempt 1 ended: CUDA out of memory." in text
    chosen = page(run, tab="log", attempt=1)
    assert "data-follows-attempts" not in chosen
    assert "Attempt 1 ended" not in chosen


@pytest.mark.parametrize(("line", "shown"), [("12", True), ("x", False), ("-1", False), ("9" * 16, False), ("", False)])
def test_an_address_may_name_a_line(line: str, shown: bool) -> None:
    run = make_run(make_config(), Phase.READY)
    assert (f'data-line="{line}"' in page(run, tab="log", attempt=1, line=line)) is shown


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"cause": "vanished"}, "was not kept because its process or container was gone"),
        ({"exit_code": 0}, "This attempt ended without printing anything."),
    ],
)
def test_an_empty_log_says_why(columns: dict[str, Any], words: str) -> None:
    run = make_run(make_config(), Phase.FAILED, ended_at=timezone.now())
    attempt(run, 1, **columns)
    assert words in page(run)


def test_an_attempt_that_never_began_has_no_log() -> None:
    assert empty_log_words(None) == "This attempt ended before anything was started, so there is no log."
