"""ComfyUI's workflows as templates: JSON in its API format with places for what a request says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import UpstreamError
from playground.gateway.routing import Route

from .asking import ImageRequest

#: The variable of a config that holds its own workflow, on one line.
WORKFLOW_VARIABLE: Final = "BERTH_WORKFLOW"
BATCH: Final = "%batch%"
PROMPT: Final = "%prompt%"
_PLACES: Final = frozenset(
    {
        PROMPT,
        "%negative%",
        "%width%",
        "%height%",
        "%seed%",
        "%steps%",
        "%guidance%",
        BATCH,
        "%checkpoint%",
    }
)
_PLACE: Final = re.compile("|".join(sorted(_PLACES)))
_DEFAULT: Final = Path(__file__).with_name("default_workflow.json")

Workflow = dict[str, Any]


def workflow_of(route: Route) -> Workflow:
    """The template of the config of ``route``, else the shipped one. Raises UpstreamError saying what is wrong."""
    reason, workflow = _parsed(route.workflow or _shipped())
    if reason is not None:
        raise UpstreamError(
            _("%(variable)s of %(config)s is no workflow: %(reason)s Correct it in the config."),
            variable=WORKFLOW_VARIABLE,
            config=route.config,
            reason=reason,
        )
    return workflow


def draws_batches(workflow: Workflow) -> bool:
    """Whether one run can draw several images."""
    return _has(workflow, BATCH)


def filled(workflow: Workflow, asked: ImageRequest, *, checkpoint: str, seed: int, batch: int) -> Workflow:
    """``workflow`` with each place replaced by a value of its own type; ``workflow`` stays as it is."""
    values = {
        PROMPT: asked.prompt,
        "%negative%": asked.negative,
        "%width%": asked.width,
        "%height%": asked.height,
        "%seed%": seed,
        "%steps%": asked.steps,
        "%guidance%": asked.guidance,
        BATCH: batch,
        "%checkpoint%": checkpoint,
    }
    content: Workflow = _fill(workflow, values)
    return content


def _fill(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {name: _fill(value, values) for name, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values) for value in node]
    return values.get(node, node) if isinstance(node, str) else node


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[Any, Workflow]:
    """Why ``text`` cannot be used, or None, and the workflow."""
    try:
        workflow = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _("it is not valid JSON (%(error)s).") % {"error": str(error)[:200]}, {}
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
        return _("it is in the format of ComfyUI's editor. Export it there with “Export (API)”."), {}
    if not isinstance(workflow, dict) or not workflow:
        return _("it must be an object of nodes."), {}
    for name, node in workflow.items():
        if not isinstance(node, dict) or "class_type" not in node or not isinstance(node.get("inputs", {}), dict):
            return _("its node %(name)s lacks class_type or inputs.") % {"name": name[:50]}, {}
    if not _has(workflow, PROMPT):
        return _("it has no %(place)s, so that every image would be the same.") % {"place": PROMPT}, {}
    if part := _part(workflow):
        return _("a place must be a whole value, which %(place)s is not.") % {"place": part}, {}
    return None, workflow


def _has(node: Any, place: str) -> bool:
    if isinstance(node, dict):
        return any(_has(value, place) for value in node.values())
    if isinstance(node, list):
        return any(_has(value, place) for value in node)
    return bool(node == place)


def _part(node: Any) -> str:
    """A place within a longer text; "" when there is none."""
    if isinstance(node, dict):
        return next((part for value in node.values() if (part := _part(value))), "")
    if isinstance(node, list):
        return next((part for value in node if (part := _part(value))), "")
    found = _PLACE.search(node) if isinstance(node, str) and node not in _PLACES else None
    return found[0] if found else ""


@lru_cache(maxsize=1)
def _shipped() -> str:
    return _DEFAULT.read_text(encoding="utf-8")
