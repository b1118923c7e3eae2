"""The requirement's page: what is typed stays, what is known is filled in, and only editors write."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments.deliveries.forms import RequirementForm
from deployments.deliveries.requirement import Requirement
from deployments.models import CatalogueModel, Delivery, Gpu, Node
from deployments.services.deliveries import change_requirement, close_delivery
from tests.deployments.deliveries import OPS, make_delivery, make_requirement, only_step
from tests.deployments.editing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def editor() -> Client:
    return signed_in("editor", "editor")


def _typed(**changes: Any) -> dict[str, Any]:
    initial = RequirementForm.initial_of(make_requirement())
    return {name: "" if value is None else value for name, value in {**initial, **changes}.items()}


def _saved() -> Requirement:
    return Requirement.from_json(Delivery.objects.get().requirement)


def test_what_was_typed_is_kept(editor: Client) -> None:
    address = f"/deliveries/{make_delivery().pk}/requirement/"
    assert editor.post(address, _typed()).status_code == 303
    assert _saved() == make_requirement()
    page = editor.get(address).content.decode()
    assert "meta-llama/Meta-Llama-3-8B-Instruct" in page
    assert "Llama3-8B on 1 × NVIDIA H100 80GB HBM3." in page


def test_what_is_refused_is_said_at_the_field_and_stays_typed(editor: Client) -> None:
    address = f"/deliveries/{make_delivery().pk}/requirement/"
    answer = editor.post(address, _typed(repository="https://x/y", layers="many", note="", first_token_ms="-5"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Nothing was saved: 3 fields need a change." in page
    assert "without an address" in page
    assert "Enter a whole number." in page
    for typed in ("https://x/y", "many", "-5", "NVIDIA H100 80GB HBM3"):
        assert f'value="{typed}"' in page
    assert Delivery.objects.get().requirement == {}


@pytest.mark.parametrize("number", ["nan", "inf", "1e999"])
def test_numbers_that_are_none_are_refused(editor: Client, number: str) -> None:
    answer = editor.post(f"/deliveries/{make_delivery().pk}/requirement/", _typed(parameters_b=number))
    assert answer.status_code == 422
    assert Delivery.objects.get().requirement == {}


def test_catalogue_and_nodes_fill_in_what_was_left_empty(editor: Client) -> None:
    CatalogueModel.objects.create(name="Tiny", parameters_b=0.5, layers=24, kv_heads=2, head_dimension=64)
    node = Node.objects.create(name="gpu-01")
    Gpu.objects.create(node=node, uuid="GPU-1", index=0, name="L4", memory_bytes=24 * 1024**3, seen_at=timezone.now())
    empty = dict.fromkeys(("parameters_b", "layers", "kv_heads", "head_dimension", "gpu_memory_gib"), "")
    editor.post(f"/deliveries/{make_delivery().pk}/requirement/", _typed(**empty, model="Tiny", gpu="L4"))
    saved = _saved()
    assert (saved.parameters_b, saved.layers, saved.hardware.memory_gib) == (0.5, 24, 24)


def test_what_was_typed_goes_before_what_is_known(editor: Client) -> None:
    CatalogueModel.objects.create(name="Tiny", parameters_b=0.5, layers=24, kv_heads=2, head_dimension=64)
    editor.post(f"/deliveries/{make_delivery().pk}/requirement/", _typed(model="Tiny", parameters_b="0.6"))
    assert (_saved().parameters_b, _saved().layers) == (0.6, 32)


def test_a_viewer_looks_and_does_not_write() -> None:
    delivery = make_delivery()
    change_requirement(delivery.pk, make_requirement(), actor=OPS)
    viewer = signed_in("viewer", "viewer")
    address = f"/deliveries/{delivery.pk}/requirement/"
    page = viewer.get(address).content.decode()
    assert "needs the editor role" in page
    assert "Save the requirement" not in page
    assert viewer.post(address, _typed(model="Other")).status_code == 403
    assert _saved().model == "Llama3-8B"


def test_a_closed_one_says_so(editor: Client) -> None:
    delivery = make_delivery()
    close_delivery(delivery.pk, actor=OPS)
    address = f"/deliveries/{delivery.pk}/requirement/"
    assert "Open it again before you change it." in editor.get(address).content.decode()
    assert editor.post(address, _typed()).status_code == 409


def test_the_page_takes_a_fixed_number_of_queries(
    editor: Client, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    only_step(monkeypatch, "requirement")
    delivery = make_delivery()
    address = f"/deliveries/{delivery.pk}/requirement/"
    editor.get(address)
    with django_assert_num_queries(9):  # session, person, permissions (2), role; delivery (2), GPUs, models
        editor.get(address)
