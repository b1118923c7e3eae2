"""The playground's page: what it offers, and what it says when nothing can be asked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from deployments.lifecycle.phases import Phase
from deployments.models import CatalogueModel, Config, Deployment, Node

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]

CHAT = "/playground/"


def a_config(name: str, *, model: str = "Tiny-1B", protocol: str = "openai-text") -> Config:
    """A config in the catalogue."""
    owner, _made = CatalogueModel.objects.get_or_create(name=model)
    return Config.objects.create(
        name=name,
        model=owner,
        protocol=protocol,
        engine="vllm",
        image="vllm/vllm-openai",
        served_name=name,
        port=8000,
        readiness_path="/health",
    )


def a_run(config: Config, phase: Phase = Phase.READY, *, replica: int = 0) -> Deployment:
    """A run of ``config``."""
    node, _made = Node.objects.get_or_create(name="gpu-01", defaults={"heartbeat_at": timezone.now()})
    return Deployment.objects.create(
        config=config,
        replica=replica,
        spec=config.serving_spec().to_json(),
        spec_digest="",
        revision=1,
        node=node,
        started_by="ops",
        phase=phase,
        phase_since=timezone.now(),
        endpoint="http://127.0.0.1:1",
    )


def page(person: User, query: str = "", **options: object) -> str:
    """The page as ``person`` sees it."""
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get(CHAT + query, **options)  # type: ignore[arg-type]
    assert answer.status_code == 200
    return str(answer.content.decode())


def offered(shown: str, mark: str = "") -> list[str]:
    """The configs that may be chosen; with ``mark`` those that have it."""
    choice = shown.partition('<select id="target"')[2].partition("</select>")[0]
    return re.findall(rf'<option value="([^"]*)"{mark}', choice)


def chosen(shown: str) -> str:
    """The config that the choice stands at."""
    return offered(shown, " selected")[0]


def test_ready_text_configs_are_offered_and_nothing_else(operator: User) -> None:
    for name, protocol, phase in (
        ("b-ready", "openai-text", Phase.READY),
        ("a-ready", "openai-text", Phase.READY),
        ("loading", "openai-text", Phase.LOADING),
        ("flux", "openai-image", Phase.READY),
    ):
        a_run(a_config(name, protocol=protocol), phase)
    shown = page(operator)
    assert offered(shown) == ["a-ready", "b-ready"]
    assert chosen(shown) == "a-ready"
    assert "gpu-01" in shown


def test_a_config_or_model_is_preselected(operator: User) -> None:
    a_run(a_config("first"))
    a_run(a_config("second", model="Other-2B"))
    a_run(Config.objects.get(name="second"), replica=1)
    assert chosen(page(operator, "?config=second")) == "second"
    shown = page(operator, "?config=Other-2B")
    assert chosen(shown) == "second"
    assert "2 replicas" in shown


def test_a_config_that_is_not_running_says_where_to_start_it(operator: User) -> None:
    a_run(a_config("other"))
    a_config("tiny")
    shown = page(operator, "?config=tiny")
    assert chosen(shown) == "tiny"
    assert "data-not-ready" in shown
    assert "never run" in shown
    assert reverse("deployments:config", args=["tiny"]) in shown


def test_a_config_that_was_stopped_says_so_and_where_to_start_it(operator: User) -> None:
    a_run(a_config("tiny"), Phase.STOPPED)
    shown = page(operator, "?config=tiny")
    assert 'data-phase="stopped"' in shown
    assert "never run" not in shown
    assert reverse("deployments:config", args=["tiny"]) in shown


def test_a_config_on_its_way_shows_its_state(operator: User) -> None:
    run = a_run(a_config("tiny"), Phase.LOADING)
    shown = page(operator, "?config=tiny")
    assert 'data-phase="loading"' in shown
    assert reverse("deployments:detail", args=[run.pk]) in shown


def test_a_config_of_another_protocol_and_an_unknown_one_are_named(operator: User) -> None:
    a_config("flux", protocol="openai-image")
    assert "It speaks openai-image" in page(operator, "?config=flux")
    assert "There is no config called nope&lt;" in page(operator, "?config=nope<")


def test_an_empty_fleet_leads_to_the_catalogue(operator: User) -> None:
    shown = page(operator)
    assert "nothing is ready" in shown
    assert f"{reverse('deployments:catalogue')}?protocol=openai-text" in shown


def test_htmx_gets_the_choice_alone(operator: User) -> None:
    a_run(a_config("tiny"))
    shown = page(operator, "?config=tiny", headers={"HX-Request": "true"})
    assert shown.strip().startswith('<div id="targets"')
    assert "data-composer" not in shown


def test_who_may_not_send_is_told_why(viewer: User) -> None:
    a_run(a_config("tiny"))
    shown = page(viewer)
    assert "needs the operator role" in shown
    assert "data-send" not in shown


def test_the_modules_find_their_words(operator: User) -> None:
    shown = page(operator)
    found = re.search(r'id="playground-strings" type="application/json">(.*?)</script>', shown)
    assert found
    assert json.loads(found[1])["first_token"] == "{ms} ms to the first token"


def test_signing_in_comes_first_and_only_reading_is_allowed(operator: User) -> None:
    assert Client().get(CHAT).status_code == 302
    client = Client()
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(CHAT).status_code == 405


def test_the_page_costs_the_same_however_many_run(operator: User) -> None:
    client = Client()
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    a_run(a_config("tiny"))
    client.get(CHAT)
    with CaptureQueriesContext(connection) as few:
        client.get(CHAT)
    for number in range(10):
        a_run(a_config(f"tiny-{number}"))
    with CaptureQueriesContext(connection) as many:
        client.get(CHAT)
    assert len(few) == len(many) < 10
