"""The activity page: every mutation, who did it, when."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from deployments.actors import Actor
from deployments.audit import record_audit
from tests.deployments.editing import signed_in

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}
OPS1 = Actor(name="ops1", via="cli")
ADA = Actor(name="ada", via="web")


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


def text_of(response: Any) -> str:
    return unescape(str(response.content, "utf-8"))


def rows(response: Any) -> list[tuple[str, str]]:
    return [(row.actor, row.target) for row in response.context["rows"].object_list]


def test_rows_are_newest_first_and_link_to_the_run(viewer: Client) -> None:
    record_audit(OPS1, "deployment.start", "llama3-8b", deployment=12)
    record_audit(ADA, "config.save", "gemma2-27b_4", revision=3)
    response = viewer.get("/activity/")
    assert rows(response) == [("ada", "gemma2-27b_4"), ("ops1", "llama3-8b")]
    page = text_of(response)
    assert '<a href="/deployments/12/">llama3-8b #12</a>' in page
    assert "revision: 3" in page


def test_rows_are_narrowed_by_person_action_and_target(viewer: Client) -> None:
    record_audit(OPS1, "deployment.start", "llama3-8b")
    record_audit(ADA, "deployment.start", "gemma2-27b_4")
    record_audit(ADA, "deployment.stop", "llama3-8b")
    assert len(rows(viewer.get("/activity/", {"actor": "ada"}))) == 2
    assert len(rows(viewer.get("/activity/", {"action": "deployment.start"}))) == 2
    assert rows(viewer.get("/activity/", {"actor": "ada", "target": "LLAMA"})) == [("ada", "llama3-8b")]


def test_no_match_says_so_and_leads_back(viewer: Client) -> None:
    record_audit(OPS1, "deployment.start", "llama3-8b")
    page = text_of(viewer.get("/activity/", {"actor": "nobody"}))
    assert "Nothing to show." in page
    assert "Show all" in page


def test_pages_keep_the_filter_and_the_number_of_queries(
    viewer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(60):
        record_audit(OPS1, "deployment.start", "llama3-8b")
    with django_assert_num_queries(9):
        page = text_of(viewer.get("/activity/", {"actor": "ops1"}))
    assert "page 1 of 2" in page
    assert "?actor=ops1&page=2" in page


def test_htmx_gets_the_table_alone(viewer: Client) -> None:
    fragment = text_of(viewer.get("/activity/", headers=FRAGMENT))
    assert fragment.lstrip().startswith('<section id="activity"')


def test_only_get_is_answered(viewer: Client) -> None:
    assert viewer.post("/activity/").status_code == 405
