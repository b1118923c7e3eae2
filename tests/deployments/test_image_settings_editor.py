"""The editor's fields for images: checked on save, shown readable, kept out of the engine's environment."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from deployments.config_checks import check_values
from deployments.images.workflow import shipped_workflow
from deployments.lifecycle.launching import run_spec
from deployments.models import Config
from deployments.revisions import value_lines
from deployments.selectors import ready_endpoints
from tests.deployments.editing import VALID, make_config, make_run, signed_in, typed, values

pytestmark = pytest.mark.django_db
PAINTER: dict[str, Any] = {
    "protocol": "openai-image",
    "engine": "comfyui",
    "image": "example/comfyui:1",
    "arguments": [],
    "readiness_path": "/system_stats",
    "port": 8188,
}
WORKFLOW = json.dumps(json.loads(shipped_workflow()))
TYPED = {**PAINTER, "arguments": "", "environment": "A=b"}


def post(**changes: Any) -> tuple[int, str]:
    """Save the config of a page; the status and what the page says."""
    client = signed_in("ed", "editor")
    data = typed(**{"base_revision": "1", **TYPED, **changes, "name": "llama3-8b"})
    response = client.post(reverse("deployments:config_edit", args=["llama3-8b"]), data)
    return response.status_code, unescape(response.content.decode())


def environment() -> dict[str, str]:
    found: dict[str, str] = Config.objects.get().environment
    return found


def test_a_workflow_and_defaults_are_saved_beside_the_environment() -> None:
    make_config(**PAINTER, environment={"A": "b"})
    own = shipped_workflow().strip()
    status, _page = post(workflow=own.replace("\n", "\r\n"), image_defaults='{"steps": 4}')
    assert status == 303
    assert environment() == {"A": "b", "BERTH_WORKFLOW": own, "BERTH_IMAGE_DEFAULTS": '{"steps": 4}'}
    assert post(base_revision="2")[0] == 303
    assert environment() == {"A": "b"}


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("workflow", "{", "It is not valid JSON"),
        ("workflow", WORKFLOW.replace("%seed%", "1"), "It has no %seed%"),
        ("image_defaults", '{"steps": 0}', "“steps” must be a number from 1 to 150."),
    ],
)
def test_a_mistake_is_told_at_its_field_and_what_was_typed_stays(field: str, text: str, words: str) -> None:
    make_config(**PAINTER)
    status, page = post(**{field: text})
    assert status == 422
    problem = page.partition(f'id="id_{field}_error"')[2].partition("</ul>")[0]
    assert words in problem
    assert "BERTH_" not in problem
    assert text in page
    assert Config.objects.get().revision == 1


def test_a_workflow_on_one_line_is_edited_on_many_and_unchanged_saves_nothing() -> None:
    make_config(**PAINTER, environment={"A": "b", "BERTH_WORKFLOW": WORKFLOW})
    client = signed_in("ed", "editor")
    page = unescape(client.get(reverse("deployments:config_edit", args=["llama3-8b"])).content.decode())
    shown = json.dumps(json.loads(WORKFLOW), indent=2)
    assert shown in page
    assert "BERTH_WORKFLOW=" not in page.partition('id="id_environment"')[2].partition("</textarea>")[0]
    assert post(workflow=shown.replace("\n", "\r\n"))[0] == 303
    assert Config.objects.get().revision == 1


def test_the_page_shows_the_workflow_and_what_holds() -> None:
    make_config(**PAINTER, environment={"BERTH_WORKFLOW": WORKFLOW, "BERTH_IMAGE_DEFAULTS": '{"steps": 33}'})
    client = signed_in("vi", "viewer")
    page = unescape(client.get(reverse("deployments:config", args=["llama3-8b"])).content.decode())
    assert '"class_type": "KSampler"' in page
    assert "<code>steps</code> 33" in page
    # Neither is part of what the container gets.
    assert "BERTH_WORKFLOW" not in page


def test_a_catalogue_file_is_checked_too() -> None:
    raw = {**VALID, **PAINTER, "environment": {"BERTH_WORKFLOW": "{\n}", "BERTH_IMAGE_DEFAULTS": "{}"}}
    checked = check_values(raw, models={VALID["model"]})
    assert [(problem.field, problem.item) for problem in checked.problems] == [("environment", "BERTH_WORKFLOW")]
    assert checked.problems[0].message.startswith("BERTH_WORKFLOW: It must be an object of nodes")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment": {"BERTH_WORKFLOW": WORKFLOW}}, "Only ComfyUI uses a workflow"),
        ({"environment": {"BERTH_IMAGE_DEFAULTS": "{}"}}, "Defaults for images are used with"),
        (
            {**PAINTER, "environment": {"BERTH_WORKFLOW": WORKFLOW.replace("PreviewImage", "SendToPrinter")}},
            "no SaveImage or PreviewImage node",
        ),
    ],
)
def test_what_is_odd_is_a_warning(changes: dict[str, Any], words: str) -> None:
    checked = check_values({**VALID, **changes}, models={VALID["model"]})
    assert any(words in warning.message for warning in checked.warnings)


def test_a_revision_shows_a_workflow_line_by_line() -> None:
    lines = value_lines("environment", {"BERTH_WORKFLOW": WORKFLOW, "A": "b"})
    assert lines[:3] == ["A=b", "BERTH_WORKFLOW={", '  "checkpoint": {']


def test_the_gateway_gets_the_settings_and_the_engine_does_not() -> None:
    """A single variable may have 128 KiB, which a workflow can pass."""
    config = make_config(**PAINTER, environment={"A": "b", "BERTH_WORKFLOW": WORKFLOW, "BERTH_IMAGE_DEFAULTS": "{}"})
    run = make_run(config, endpoint="http://127.0.0.1:1")
    (endpoint,) = ready_endpoints()
    assert (endpoint.workflow, endpoint.image_defaults) == (WORKFLOW, "{}")
    assert [name for name, _value in run_spec(run).environment if name.startswith("BERTH")] == []
    assert values(**PAINTER).environment == (("HF_TOKEN", "${HF_TOKEN}"),)
