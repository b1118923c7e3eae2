"""The step Tool: ranked tools with reasons and sources; an editor chooses, with a reason where one is excluded."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from deployments.deliveries.requirement import Hardware
from deployments.models import Delivery
from deployments.services.deliveries import change_requirement, choose_tool
from tests.deployments.deliveries import OPS, make_delivery, make_requirement, only_step
from tests.deployments.editing import make_config, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def editor() -> Client:
    return signed_in("editor", "editor")


@pytest.fixture
def delivery() -> Delivery:
    made = make_delivery()
    change_requirement(made.pk, make_requirement(), actor=OPS)
    return made


def test_without_a_requirement_it_leads_there(editor: Client) -> None:
    made = make_delivery()
    page = editor.get(f"/deliveries/{made.pk}/tool/").content.decode()
    assert "Write the requirement first" in page
    assert f"/deliveries/{made.pk}/requirement/" in page


def test_reasons_arithmetic_and_sources_are_shown(editor: Client, delivery: Delivery) -> None:
    page = editor.get(f"/deliveries/{delivery.pk}/tool/").content.decode()
    for name in ("vllm", "lmdeploy", "sglang", "tgi", "ollama", "localai", "llama.cpp", "comfyui", "sd-webui"):
        assert f'data-tool="{name}"' in page
    assert page.index('data-tool="vllm"') < page.index('data-tool="sd-webui"')
    assert "2 × 32 × 8 × 128 × 2 B × 8192 × 16" in page
    assert "https://docs.vllm.ai/en/v0.15.1/features/quantization/" in page
    assert "read 2026-11-28" in page


def test_the_licence_of_the_weights_is_what_the_catalogue_says_or_not_known(editor: Client, delivery: Delivery) -> None:
    address = f"/deliveries/{delivery.pk}/tool/"
    assert "The licence of the weights is not known" in editor.get(address).content.decode()
    make_config(licence="llama3", gated=True, licence_note="Name it in your product.")
    page = editor.get(address).content.decode()
    assert "as the catalogue has it: llama3." in page
    assert "Name it in your product." in page
    assert "Gated: the hub gives them to accepted accounts only" in page


def test_a_person_chooses(editor: Client, delivery: Delivery) -> None:
    address = f"/deliveries/{delivery.pk}/tool/"
    assert editor.post(address, {"tool": "lmdeploy", "reason": "We know it."}).status_code == 303
    chosen = Delivery.objects.get()
    assert (chosen.tool, chosen.tool_reason, chosen.tool_by) == ("lmdeploy", "We know it.", "editor")
    page = editor.get(address).content.decode()
    assert "editor chose this" in page
    assert "lmdeploy: We know it." in page


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"tool": "", "reason": ""}, "Choose one of the tools."),
        ({"tool": "nothing", "reason": ""}, "Choose one of the tools."),
        ({"tool": "vllm", "reason": "x" * 301}, "Write at most 300 characters."),
        ({"tool": "comfyui", "reason": ""}, "This tool was excluded. Say why you choose it nevertheless."),
    ],
)
def test_what_cannot_be_chosen_is_said(
    editor: Client, delivery: Delivery, typed: dict[str, str], sentence: str
) -> None:
    answer = editor.post(f"/deliveries/{delivery.pk}/tool/", typed)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert Delivery.objects.get().tool == ""


def test_an_excluded_tool_is_chosen_with_a_reason(editor: Client, delivery: Delivery) -> None:
    typed = {"tool": "comfyui", "reason": "A node of ours makes it write."}
    assert editor.post(f"/deliveries/{delivery.pk}/tool/", typed).status_code == 303
    assert Delivery.objects.get().tool == "comfyui"


def test_a_changed_requirement_puts_the_choice_out_of_date(editor: Client, delivery: Delivery) -> None:
    choose_tool(delivery.pk, "vllm", actor=OPS)
    changed = make_requirement(hardware=Hardware(gpu="L4", count=2, memory_gib=24))
    change_requirement(delivery.pk, changed, actor=OPS)
    page = editor.get(f"/deliveries/{delivery.pk}/tool/").content.decode()
    assert "vllm was chosen before the requirement was changed. Choose again." in page
    assert editor.get(f"/deliveries/{delivery.pk}/").headers["Location"].endswith("/tool/")


def test_a_viewer_looks_and_does_not_choose(delivery: Delivery) -> None:
    viewer = signed_in("viewer", "viewer")
    address = f"/deliveries/{delivery.pk}/tool/"
    page = viewer.get(address).content.decode()
    assert "needs the editor role" in page
    assert "Choose this tool" not in page
    assert viewer.post(address, {"tool": "vllm"}).status_code == 403
    assert Delivery.objects.get().tool == ""


def test_the_page_takes_a_fixed_number_of_queries(
    editor: Client,
    delivery: Delivery,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    only_step(monkeypatch, "tool")
    address = f"/deliveries/{delivery.pk}/tool/"
    editor.get(address)
    with django_assert_num_queries(8):  # session, person, permissions (2), role; delivery (2), licences
        editor.get(address)
