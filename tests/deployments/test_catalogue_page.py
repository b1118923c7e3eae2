"""The catalogue's table: search, chips, rows that refresh alone, and the buttons in them."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from deployments.lifecycle.phases import Phase
from deployments.models import Config, Deployment
from tests.deployments.editing import make_config, make_run, signed_in

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}
PAGE = "/catalogue/"


@pytest.fixture
def operator() -> Client:
    return signed_in("ops2", "operator")


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


def text_of(response: Any) -> str:
    return unescape(str(response.content, "utf-8"))


def names(response: Any) -> list[str]:
    return [row.config.name for row in response.context["page"].rows]


def test_the_page_shows_one_row_for_each_config(viewer: Client) -> None:
    make_config(gpus=4, memory_gib=144, licence="llama3", gated=True)
    page = text_of(viewer.get(PAGE))
    assert "llama3-8b" in page
    assert "4 × 36 GiB" in page
    assert "gated" in page
    assert "never run" in page
    assert "<title>Catalogue · Berth</title>" in page


def test_htmx_gets_the_table_alone(viewer: Client) -> None:
    make_config()
    fragment = text_of(viewer.get(PAGE, headers=FRAGMENT))
    assert fragment.lstrip().startswith('<section id="catalogue"')
    assert "<html" not in fragment


def test_going_back_in_the_history_gets_the_whole_page(viewer: Client) -> None:
    headers = {**FRAGMENT, "HX-History-Restore-Request": "true"}
    assert "<html" in text_of(viewer.get(PAGE, headers=headers))


@pytest.mark.parametrize("searched", ["llama3-70b_1", "LLAMA3-70B", "casperhansen", "awq llama3-70b"])
def test_search_finds_config_model_and_weights(viewer: Client, searched: str) -> None:
    make_config("llama3-70b_1", model="Llama3-70B", weights_repository="casperhansen/llama-3-70b-instruct-awq")
    make_config("gemma2-27b_4", model="Gemma-2-27B")
    assert names(viewer.get(PAGE, {"q": searched})) == ["llama3-70b_1"]


def test_chips_of_one_group_widen_and_groups_narrow(viewer: Client) -> None:
    make_config("one", gpus=1)
    make_config("four", gpus=4)
    make_config("flux", gpus=1, protocol="openai-image", engine="localai")
    assert names(viewer.get(PAGE, {"gpus": ["1", "4"]})) == ["flux", "four", "one"]
    assert names(viewer.get(PAGE, {"gpus": ["1", "4"], "protocol": "openai-text"})) == ["four", "one"]


def test_a_chip_counts_what_it_would_show_and_links_to_it(viewer: Client) -> None:
    make_config("one", gpus=1)
    make_config("four", gpus=4)
    page = viewer.get(PAGE, {"q": "o", "engine": "vllm"}).context["page"]
    gpus = next(facet for facet in page.facets if facet.name == "gpus")
    assert [(chip.label, chip.count, chip.chosen) for chip in gpus.chips] == [("1", 1, False), ("4", 1, False)]
    assert gpus.chips[0].href == "?q=o&engine=vllm&gpus=1"
    engine = next(facet for facet in page.facets if facet.name == "engine")
    assert engine.chips[0].href == "?q=o"


def test_the_state_chips_group_what_is_on_its_way(viewer: Client) -> None:
    for name, phase in (("a", Phase.LOADING), ("b", Phase.READY), ("c", Phase.FAILED), ("d", Phase.STOPPED)):
        make_run(make_config(name), phase)
    make_config("e")
    assert names(viewer.get(PAGE, {"state": "moving"})) == ["a"]
    assert names(viewer.get(PAGE, {"state": "off"})) == ["d", "e"]


def test_an_empty_answer_says_how_to_see_all(viewer: Client) -> None:
    make_config()
    page = text_of(viewer.get(PAGE, {"q": "nothing like it"}))
    assert "No config matches." in page
    assert "There is 1 config without search and filters." in page


def test_an_unknown_filter_value_shows_nothing_and_can_be_switched_off(viewer: Client) -> None:
    make_config()
    page = viewer.get(PAGE, {"engine": "<script>"})
    assert names(page) == []
    assert "<script>" not in str(page.content, "utf-8").split("</head>")[1]


def test_the_query_count_does_not_grow_with_configs_and_past_runs(
    viewer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_run(make_config(), Phase.READY)
    make_config("idle")
    with django_assert_num_queries(17):
        viewer.get(PAGE)
    for number in range(12):
        config = make_config(f"config-{number}")
        for _ in range(3):
            make_run(config, Phase.STOPPED)
        make_run(config, Phase.READY)
    with django_assert_num_queries(17):
        viewer.get(PAGE)


def test_a_row_refreshes_alone(viewer: Client) -> None:
    config = make_config()
    make_run(config, Phase.LOADING, progress={"done": 24e9, "total": 40e9, "rate": 3e8, "eta_s": 53})
    row = text_of(viewer.get("/catalogue/llama3-8b/row/", headers=FRAGMENT))
    assert f'id="config-{config.pk}"' in row
    assert 'data-live="config:llama3-8b"' in row
    assert 'value="60"' in row
    assert "about 53 s left · 24.0 of 40.0 GB · 300 MB/s" in row


def test_a_row_of_no_config_is_explained(viewer: Client) -> None:
    make_config()
    response = viewer.get("/catalogue/lama3-8b/row/", headers=FRAGMENT)
    assert response.status_code == 404
    assert "Did you mean llama3-8b?" in text_of(response)


def test_start_answers_with_the_row_and_who_started_it(operator: Client) -> None:
    make_config()
    response = operator.post("/catalogue/llama3-8b/start/", {"shown_in": "catalogue"}, headers=FRAGMENT)
    row = text_of(response)
    assert "queued" in row
    assert "ops2 started this" in row
    assert "Cancel" in row
    assert Deployment.objects.get().started_by == "ops2"


def test_starting_what_runs_says_so_and_starts_nothing(operator: Client) -> None:
    make_run(make_config(), Phase.READY)
    response = operator.post("/catalogue/llama3-8b/start/", {"shown_in": "catalogue"}, headers=FRAGMENT)
    assert "is running or on its way already" in text_of(response)
    assert Deployment.objects.count() == 1


def test_without_htmx_start_leads_to_the_run(operator: Client) -> None:
    make_config()
    response = operator.post("/catalogue/llama3-8b/start/")
    assert response.status_code == 303
    assert response.headers["Location"] == reverse("deployments:detail", args=[Deployment.objects.get().pk])


def test_start_while_it_still_stops_is_refused_with_a_sentence(operator: Client) -> None:
    make_run(make_config(), Phase.STOPPING, desired="stopped", stopped_by="ops1")
    response = operator.post("/catalogue/llama3-8b/start/", headers=FRAGMENT)
    assert response.status_code == 409
    assert "is still stopping" in text_of(response)
    assert "data-notice" in text_of(response)


def test_while_it_stops_the_row_says_who_stops_it(operator: Client) -> None:
    make_run(make_config(), Phase.STOPPING, desired="stopped", stopped_by="ops1")
    assert "ops1 is stopping this" in text_of(operator.get(PAGE))


def test_stopping_what_answers_lists_what_is_lost(operator: Client) -> None:
    make_run(make_config(grace_s=30), Phase.READY)
    page = text_of(operator.get(PAGE))
    assert 'data-confirm="Stop llama3-8b?"' in page
    assert "Requests under way have 30 seconds to end" in page


def test_cancelling_what_does_not_answer_yet_is_not_asked_about(operator: Client) -> None:
    make_run(make_config(), Phase.LOADING)
    page = text_of(operator.get(PAGE))
    assert "Cancel" in page
    assert "data-confirm=" not in page


def test_a_viewer_sees_start_with_the_reason_why_not(viewer: Client) -> None:
    make_config()
    page = text_of(viewer.get(PAGE))
    assert 'aria-disabled="true" data-why="Starting and stopping needs the operator role.' in page
    assert 'data-action="start"' not in page


def test_a_viewer_who_posts_anyway_is_refused(viewer: Client) -> None:
    make_config()
    assert viewer.post("/catalogue/llama3-8b/start/", headers=FRAGMENT).status_code == 403
    assert not Deployment.objects.exists()


def test_get_starts_nothing(operator: Client) -> None:
    make_config()
    assert operator.get("/catalogue/llama3-8b/start/").status_code == 405


def test_a_removed_config_is_not_in_the_table(viewer: Client) -> None:
    make_config()
    Config.objects.update(archived_at="2026-01-01T00:00:00Z")
    assert "The catalogue is empty." in text_of(viewer.get(PAGE))


def test_removed_configs_are_found_below_the_table_and_editors_may_restore_them(viewer: Client) -> None:
    config = make_config()
    restore = f'action="/catalogue/{config.name}/restore/"'
    assert "Removed configs" not in text_of(viewer.get(PAGE))
    Config.objects.update(archived_at="2026-01-01T00:00:00Z")
    page = text_of(viewer.get(PAGE))
    assert "Removed configs" in page
    assert f'href="/catalogue/{config.name}/"' in page
    assert restore not in page
    assert restore in text_of(signed_in("ed2", "editor").get(PAGE))


def test_try_is_offered_for_what_is_ready(operator: Client) -> None:
    make_run(make_config(), Phase.READY)
    assert 'href="/playground/?config=llama3-8b"' in text_of(operator.get(PAGE))
