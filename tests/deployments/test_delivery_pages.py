"""The list of deliveries: what it shows, what the form refuses, who may press what, and how many queries it takes."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deployments.models import Delivery, ImageBuild, ImageTransfer, Node
from deployments.services.deliveries import change_requirement, close_delivery
from tests.deployments.deliveries import OPS, make_delivery, make_requirement
from tests.deployments.editing import make_config, make_run, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def editor() -> Client:
    return signed_in("editor", "editor")


def test_an_empty_list_says_what_to_do(editor: Client) -> None:
    page = editor.get("/deliveries/").content.decode()
    assert "Nobody has asked for an image yet." in page
    assert "Begin the delivery" in page


def test_a_viewer_sees_the_list_without_the_form() -> None:
    make_delivery()
    page = signed_in("viewer", "viewer").get("/deliveries/").content.decode()
    assert "smollm-service" in page
    assert "Begin the delivery" not in page
    assert "needs the editor role" in page


def test_the_form_begins_a_delivery(editor: Client) -> None:
    answer = editor.post("/deliveries/", {"name": "ward-llm", "asked_by": "Radiology", "note": ""})
    made = Delivery.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/deliveries/{made.pk}/")
    assert (made.name, made.asked_by, made.created_by) == ("ward-llm", "Radiology", "editor")


def test_what_the_form_refuses_stays_in_it(editor: Client) -> None:
    make_delivery("ward-llm")
    answer = editor.post("/deliveries/", {"name": "ward-llm", "asked_by": "Radiology", "note": "quickly"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "There is a delivery of this name already." in page
    assert "Radiology" in page
    assert "quickly" in page


@pytest.mark.parametrize("address", ["/deliveries/", "{}close/", "{}reopen/", "{}delete/"])
def test_a_viewer_presses_nothing(address: str) -> None:
    delivery = make_delivery()
    answer = signed_in("viewer", "viewer").post(address.format(f"/deliveries/{delivery.pk}/"), {"name": "x"})
    assert answer.status_code == 403
    assert Delivery.objects.get().closed_at is None


@pytest.mark.parametrize("address", ["close", "reopen", "delete"])
def test_deciding_takes_a_post(editor: Client, address: str) -> None:
    assert editor.get(f"/deliveries/{make_delivery().pk}/{address}/").status_code == 405


def test_closing_opening_and_deleting(editor: Client) -> None:
    delivery = make_delivery()
    editor.post(f"/deliveries/{delivery.pk}/close/")
    assert Delivery.objects.get().closed_at is not None
    assert "closed" in editor.get("/deliveries/").content.decode()
    editor.post(f"/deliveries/{delivery.pk}/reopen/")
    assert Delivery.objects.get().closed_at is None
    assert editor.post(f"/deliveries/{delivery.pk}/delete/").headers["Location"] == "/deliveries/"
    assert not Delivery.objects.exists()


def test_a_delivery_that_is_gone_is_said(editor: Client) -> None:
    answer = editor.get("/deliveries/4711/")
    assert answer.status_code == 404
    assert "no such delivery" in answer.content.decode()


def _worked_on(name: str, node: Node) -> None:
    """A delivery with something for each step to look at."""
    delivery = make_delivery(name)
    change_requirement(delivery.pk, make_requirement(), actor=OPS)
    config = make_config(name)
    Delivery.objects.filter(pk=delivery.pk).update(config=config, dockerfile="FROM scratch")
    make_run(config)
    ImageBuild.objects.create(delivery=delivery, node=node, tag=name, dockerfile="FROM scratch", requested_by="ops1")
    ImageTransfer.objects.create(delivery=delivery, node=node, kind="push", requested_by="ops1")


def test_the_list_takes_as_many_queries_for_many_as_for_one(editor: Client) -> None:
    node = Node.objects.create(name="quay")
    _worked_on("delivery-0", node)
    close_delivery(make_delivery("closed-one").pk, actor=OPS)
    editor.get("/deliveries/")
    counts = []
    for more in ("delivery-1", "delivery-2"):
        with CaptureQueriesContext(connection) as captured:
            editor.get("/deliveries/")
        counts.append(len(captured))
        _worked_on(more, node)
    # Session, person, permissions (2), role; count and rows; for the steps: runs and their attempts, builds with their
    # nodes, transfers, tests.
    assert counts == [12, 12]
