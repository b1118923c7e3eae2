"""Workflows and defaults of images: what is refused with which sentence, and how places are filled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.images.defaults import BUILT_IN, defaults_fault, defaults_in, size_in
from deployments.images.settings import image_settings, readable
from deployments.images.workflow import (
    MOST_BYTES,
    PLACES,
    filled,
    places_in,
    shipped_workflow,
    workflow_fault,
    workflow_in,
)


def changed(**nodes: Any) -> str:
    """The shipped workflow with some nodes replaced."""
    return json.dumps({**json.loads(shipped_workflow()), **nodes})


def text(words: str) -> dict[str, Any]:
    return {"class_type": "CLIPTextEncode", "inputs": {"clip": ["checkpoint", 1], "text": words}}


def test_the_shipped_workflow_has_every_place_and_no_fault() -> None:
    assert workflow_fault("") is None
    assert workflow_fault(shipped_workflow()) is None
    assert places_in(workflow_in("")) == list(PLACES)


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ("{", "It is not valid JSON: "),
        ("[" * 100_000, "It is not valid JSON: "),
        ("[]", "It must be an object of nodes"),
        ("{}", "It must be an object of nodes"),
        ('{"nodes": [], "links": []}', "It is in the format of ComfyUI's editor."),
        (changed(prompt="x"), "Its node prompt has no class_type."),
        (changed(prompt={"class_type": 1, "inputs": {}}), "Its node prompt has no class_type."),
        (changed(prompt={"class_type": "CLIPTextEncode"}), "Its node prompt has no inputs."),
        (changed(prompt=text("a cat")), "It has no %prompt%."),
        (changed(sampler={"class_type": "KSampler", "inputs": {"seed": 1}}), "It has no %seed%, so that every image"),
        (
            changed(images={"class_type": "PreviewImage", "inputs": {"images": ["gone", 0]}}),
            "Its node images is linked to node gone, which is not there.",
        ),
        ("1" * (MOST_BYTES + 1), "It has more than 256 KiB."),
    ],
    ids=lambda value: value[:20],
)
def test_a_wrong_workflow_is_refused_with_a_sentence(workflow: str, words: str) -> None:
    assert str(workflow_fault(workflow)).startswith(words)
    with pytest.raises(ValueError, match="not a workflow"):
        workflow_in(workflow)


VALUES = {place: place.strip("%").upper() for place in PLACES} | {"%width%": 512, "%guidance%": 4.5}


def test_a_whole_place_keeps_its_type_and_one_within_a_text_becomes_text() -> None:
    workflow = {"1": {"class_type": "A", "inputs": {"w": "%width%", "list": ["%width%"], "t": "%width% by %guidance%"}}}
    inputs = filled(workflow, VALUES)["1"]["inputs"]
    assert inputs == {"w": 512, "list": [512], "t": "512 by 4.5"}
    assert workflow["1"]["inputs"]["w"] == "%width%"  # type: ignore[index]


def test_what_comfyui_fills_in_itself_is_left_to_it() -> None:
    workflow = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "%date:yyyy%/%KSampler.seed%"}}}
    assert filled(workflow, VALUES) == workflow


@given(st.text())
def test_a_prompt_comes_through_as_it_was_written(prompt: str) -> None:
    values = {**VALUES, "%prompt%": prompt}
    assert filled({"whole": "%prompt%", "part": "(%prompt%)"}, values) == {"whole": prompt, "part": f"({prompt})"}


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        ("{", "It is not valid JSON: "),
        ("[]", "It must be a JSON object with some of: size, steps, guidance, negative_prompt."),
        ('{"sampler": "euler"}', "There is no “sampler” among the defaults"),
        ('{"size": "100x101"}', "“size” is WIDTHxHEIGHT"),
        ('{"size": null}', "“size” is WIDTHxHEIGHT"),
        ('{"steps": 0}', "“steps” must be a number from 1 to 150."),
        ('{"steps": true}', "“steps” must be a number from 1 to 150."),
        ('{"guidance": NaN}', "“guidance” must be a number from 0 to 30."),
        ('{"negative_prompt": 1}', "“negative_prompt” must be a text"),
    ],
)
def test_wrong_defaults_are_refused_with_a_sentence(defaults: str, words: str) -> None:
    assert str(defaults_fault(defaults)).startswith(words)
    with pytest.raises(ValueError, match="defaults of images"):
        defaults_in(defaults)


def test_defaults_complete_the_built_in_ones() -> None:
    assert defaults_in("") == BUILT_IN
    assert defaults_in('{"steps": 4}').steps == 4
    assert defaults_in('{"steps": 4}').size == BUILT_IN.size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("64x64", (64, 64)),
        ("4096x2048", (4096, 2048)),
        ("4096x2056", None),
        ("4104x64", None),
        ("56x64", None),
        ("100x100", None),
        ("064x64", None),
        ("64X64", None),
        ("auto", None),
        (None, None),
    ],
)
def test_a_size_is_what_every_engine_can_draw(size: object, expected: tuple[int, int] | None) -> None:
    assert size_in(size) == expected


def test_pages_show_what_holds() -> None:
    own = image_settings({"BERTH_WORKFLOW": changed(), "BERTH_IMAGE_DEFAULTS": '{"steps": 4}'}, "comfyui")
    assert own is not None
    assert not own.ships
    assert '\n  "sampler": {' in own.workflow
    assert ("steps", "4") in own.defaults
    web = image_settings({}, "sd-webui")
    assert web is not None
    assert web.workflow == ""
    assert image_settings({}, "vllm") is None
    assert image_settings({"BERTH_WORKFLOW": "{"}, "comfyui") is None


def test_json_on_one_line_is_shown_on_many() -> None:
    assert readable('{"a": "é"}') == '{\n  "a": "é"\n}'
    assert readable("{\n}") == "{\n}"
    assert readable("{") == "{"
    assert readable("") == ""
