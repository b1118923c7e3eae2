"""The overview: the fleet's line, what needs attention, what runs."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from deployments.lifecycle.phases import Phase
from deployments.models import Node
from tests.deployments.editing import make_config, make_run, signed_in

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


def text_of(response: Any) -> str:
    return unescape(str(response.content, "utf-8"))


def node(name: str = "gpu-01", *, silent_for_s: float = 0) -> Node:
    return Node.objects.create(name=name, heartbeat_at=timezone.now() - timedelta(seconds=silent_for_s))


def kinds(response: Any) -> list[str]:
    return [item.kind for item in response.context["fleet"].attention]


def test_the_first_visit_says_what_to_do_next(viewer: Client) -> None:
    assert "No node has reported yet." in text_of(viewer.get("/"))
    node()
    page = text_of(viewer.get("/"))
    assert "No model runs." in page
    assert "Nothing needs attention" in page


def test_the_fleet_counts_what_is_ready_and_on_its_way(viewer: Client) -> None:
    here = node()
    make_run(make_config("a"), Phase.READY, node=here)
    make_run(make_config("b"), Phase.LOADING, node=here)
    make_run(make_config("c"), Phase.QUEUED)
    fleet = viewer.get("/").context["fleet"]
    assert (len(fleet.nodes), fleet.ready, fleet.on_their_way, fleet.configs) == (1, 1, 2, 3)


def test_a_failure_of_today_needs_attention_with_its_reason_and_a_way_on() -> None:
    operator = signed_in("ops2", "operator")
    make_run(make_config(), Phase.FAILED, ended_at=timezone.now(), reason="no_disk_space")
    page = text_of(operator.get("/"))
    assert "The disk is full." in page
    assert "Free space where it writes" in page
    assert 'data-action="start"' in page


def test_an_old_failure_and_one_that_was_started_again_need_none(viewer: Client) -> None:
    make_run(make_config("old"), Phase.FAILED, ended_at=timezone.now() - timedelta(hours=25))
    again = make_config("again")
    make_run(again, Phase.FAILED, ended_at=timezone.now())
    make_run(again, Phase.STOPPED, ended_at=timezone.now())
    assert kinds(viewer.get("/")) == []


def test_silent_nodes_unhealthy_and_overlooked_runs_need_attention(viewer: Client) -> None:
    node("gpu-02", silent_for_s=60)
    make_run(make_config("a"), Phase.UNHEALTHY, reason="not_answering")
    make_run(make_config("b"), Phase.LOADING, next_check_at=timezone.now() - timedelta(minutes=2))
    make_run(make_config("c"), Phase.READY, reason="paused")
    make_run(make_config("d"), Phase.READY, reason="ready_without_gateway")
    response = viewer.get("/")
    assert sorted(kinds(response)) == ["hindered", "overlooked", "silent", "unhealthy"]
    assert "Let it go on with docker unpause" in text_of(response)
    assert "gpu-02 has been silent for" in text_of(response).replace("<strong>", "").replace("</strong>", "")


def test_the_query_count_is_constant(viewer: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(10):
        viewer.get("/")
    here = node()
    for number in range(8):
        config = make_config(f"config-{number}")
        make_run(config, Phase.FAILED if number % 2 else Phase.READY, node=here, ended_at=timezone.now())
    with django_assert_num_queries(10):
        viewer.get("/")


def test_htmx_gets_the_body_alone(viewer: Client) -> None:
    fragment = text_of(viewer.get("/", headers=FRAGMENT))
    assert fragment.lstrip().startswith('<div id="overview"')


def test_only_get_is_answered(viewer: Client) -> None:
    assert viewer.post("/").status_code == 405


def test_a_person_without_a_role_is_told_whom_to_ask(client: Client) -> None:
    client.force_login(User.objects.create_user("nora"))
    response = client.get("/")
    assert response.status_code == 403
    assert "Ask an admin." in text_of(response)


def test_the_rail_leads_to_pages_that_exist_and_the_admin_only_for_staff(viewer: Client) -> None:
    page = text_of(viewer.get("/"))
    assert 'href="/admin/"' not in page
    for place in viewer.get("/").context["frame"]["places"]:
        assert viewer.get(place.url).status_code in {200, 403}, place.url
    User.objects.update(is_staff=True)
    assert 'href="/admin/"' in text_of(viewer.get("/"))


@pytest.mark.parametrize("address", ["/", "/deployments/", "/catalogue/", "/nodes/", "/gpus/", "/usage/", "/activity/"])
def test_every_page_says_that_the_gpus_are_a_recording(viewer: Client, settings: Settings, address: str) -> None:
    said = 'title="replay: a recording, nothing of it is now"'
    assert said not in viewer.get(address).content.decode()
    settings.BERTH_GPU_SOURCE = "replay:h200x4"
    assert said in viewer.get(address).content.decode()


def test_the_policy_forbids_injected_code_and_the_page_obeys_it(viewer: Client) -> None:
    make_run(make_config(), Phase.READY)
    response = viewer.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "'unsafe" not in policy
    page = text_of(response)
    assert "style=" not in page
    assert "onclick" not in page
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'<script type="importmap" nonce="{nonce}">' in page


def test_the_theme_of_the_cookie_is_in_the_first_paint(viewer: Client) -> None:
    assert "data-bs-theme" not in text_of(viewer.get("/"))
    viewer.cookies["berth_theme"] = "dark"
    assert 'data-bs-theme="dark"' in text_of(viewer.get("/"))
    viewer.cookies["berth_theme"] = '"><script>'
    assert "data-bs-theme" not in text_of(viewer.get("/"))
