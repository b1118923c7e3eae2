"""ComfyUI's workflows as templates: JSON in its API format with places for what a request says.

The format: https://docs.comfy.org/development/core-concepts/workflow ("Export (API)"); a link is
``[node, output]`` as in script_examples/basic_api_example.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

PROMPT: Final = "%prompt%"
SEED: Final = "%seed%"
BATCH: Final = "%batch%"
#: In the order in which they are listed for people.
PLACES: Final = (
    PROMPT,
    "%negative%",
    "%width%",
    "%height%",
    SEED,
    "%steps%",
    "%guidance%",
    BATCH,
    "%checkpoint%",
)
#: More than any workflow seen in the wild; the routing table holds one for each config.
MOST_BYTES: Final = 256 * 1024
_PLACE: Final = re.compile("|".join(PLACES))
_TELLING: Final = frozenset({"SaveImage", "PreviewImage"})
_DEFAULT: Final = Path(__file__).with_name("default_workflow.json")

Workflow = dict[str, Any]


def workflow_in(text: str) -> Workflow:
    """The template in ``text``, the shipped one where it is empty.

    Raises ValueError where :func:`workflow_fault` has a sentence.
    """
    fault, workflow = _parsed(text.strip() or shipped_workflow())
    if fault is not None:
        raise ValueError("not a workflow")
    return workflow


def workflow_fault(text: str) -> str | Promise | None:
    """Why ``text`` cannot be a template: a sentence to put into words when it is shown."""
    return _parsed(text)[0] if text.strip() else None


@lru_cache(maxsize=1)
def shipped_workflow() -> str:
    """Text to image with a checkpoint of the classic kind, for configs that have none of their own."""
    return _DEFAULT.read_text(encoding="utf-8")


def places_in(workflow: Workflow) -> list[str]:
    """The places that it has, in the order of :data:`PLACES`."""
    texts = list(_texts(workflow))
    return [place for place in PLACES if any(place in text for text in texts)]


def shows_images(workflow: Workflow) -> bool:
    """Whether a node of it is one of ComfyUI's own that tell of their images; nodes of others may do so too."""
    return any(node["class_type"] in _TELLING for node in workflow.values())


def draws_batches(workflow: Workflow) -> bool:
    """Whether one run can draw several images."""
    return BATCH in places_in(workflow)


def filled(workflow: Workflow, values: Mapping[str, Any]) -> Workflow:
    """``workflow`` with its places filled from ``values``; ``workflow`` stays as it is.

    A place that is a whole value becomes the value in its own type; within a longer text it becomes text.
    """
    content: Workflow = _fill(workflow, values)
    return content


def _fill(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {name: _fill(value, values) for name, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values) for value in node]
    if not isinstance(node, str):
        return node
    # In one pass: a prompt that names a place stays as it was written.
    return values[node] if node in values else _PLACE.sub(lambda found: str(values[found[0]]), node)


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[str | Promise | None, Workflow]:
    if len(text) > MOST_BYTES:
        return format_lazy(_("It has more than {most} KiB."), most=MOST_BYTES // 1024), {}
    try:
        workflow = json.loads(text)
    except (ValueError, RecursionError) as error:
        return format_lazy(_("It is not valid JSON: {reason}."), reason=str(error)[:200]), {}
    return _fault(workflow), workflow


def _fault(workflow: Any) -> str | Promise | None:
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
        return _("It is in the format of ComfyUI's editor. Export it there with “Export (API)”.")
    if not isinstance(workflow, dict) or not workflow:
        return _("It must be an object of nodes, as ComfyUI's “Export (API)” writes it.")
    for name, node in workflow.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            return format_lazy(_("Its node {name} has no class_type."), name=name[:50])
        if not isinstance(node.get("inputs"), dict):
            return format_lazy(_("Its node {name} has no inputs."), name=name[:50])
        missing = next((link for link in _links(node["inputs"]) if link not in workflow), None)
        if missing is not None:
            return format_lazy(
                _("Its node {name} is linked to node {missing}, which is not there."),
                name=name[:50],
                missing=missing[:50],
            )
    texts = list(_texts(workflow))
    if not any(PROMPT in text for text in texts):
        return format_lazy(
            _("It has no {place}. Write {place} where the text of the request belongs, as in a CLIPTextEncode node."),
            place=PROMPT,
        )
    if not any(SEED in text for text in texts):
        return format_lazy(
            _('It has no {place}, so that every image would be the same. Write "{place}" as the seed of its sampler.'),
            place=SEED,
        )
    return None


def _links(inputs: Mapping[str, Any]) -> Iterator[str]:
    for value in inputs.values():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
            yield value[0]


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node
