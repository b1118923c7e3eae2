"""What Ctrl-K offers: only what the person may see, in few queries however much there is."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deployments.lifecycle.phases import Phase
from playground.models import Conversation
from tests.deployments.editing import make_config, make_run, person, signed_in

pytestmark = pytest.mark.django_db


def destinations(client: Client) -> dict[str, str]:
    """Title -> address."""
    return {each["title"]: each["url"] for each in client.get("/palette/").json()}


def test_pages_configs_live_runs_and_own_conversations_are_offered() -> None:
    run = make_run(make_config("tiny"), Phase.LOADING)
    mine = Conversation.objects.create(owner=person("vera", "viewer"), title="About tides")
    Conversation.objects.create(owner=person("else", "operator"), title="Not hers")
    found = destinations(signed_in("vera", "viewer"))
    assert found["Catalogue"] == "/catalogue/"
    assert found["tiny"] == "/catalogue/tiny/"
    assert found[f"tiny #{run.pk}"] == f"/deployments/{run.pk}/"
    assert found["About tides"] == f"/playground/c/{mine.pk}/"
    assert "Not hers" not in found
    assert "Admin" not in found


def test_it_costs_the_same_however_much_there_is() -> None:
    client = signed_in("vera", "viewer")
    make_run(make_config("tiny"), Phase.READY)
    destinations(client)
    with CaptureQueriesContext(connection) as few:
        destinations(client)
    for number in range(8):
        make_run(make_config(f"tiny-{number}"), Phase.READY)
    with CaptureQueriesContext(connection) as many:
        destinations(client)
    assert len(few) == len(many) <= 9
