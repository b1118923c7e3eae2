"""A config's settings of images, checked and readable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from . import DEFAULTS_VARIABLE, WORKFLOW_VARIABLE
from .defaults import BUILT_IN, defaults_fault, defaults_in
from .workflow import places_in, shipped_workflow, shows_images, workflow_fault, workflow_in

#: The engines that Berth asks for images in their own way; what others do with defaults is their affair.
ADAPTED_ENGINES: Final = frozenset({"comfyui", "sd-webui"})


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """As pages show them. ``workflow`` is empty for engines without one; ``ships`` tells that it is Berth's own."""

    workflow: str
    ships: bool
    places: tuple[str, ...]
    defaults: tuple[tuple[str, str], ...]


def setting_faults(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The name and a sentence for each setting that is wrong."""
    for name, fault_of in ((WORKFLOW_VARIABLE, workflow_fault), (DEFAULTS_VARIABLE, defaults_fault)):
        fault = fault_of(environment.get(name, ""))
        if fault is not None:
            yield name, str(fault)


def setting_warnings(environment: Mapping[str, str], engine: str) -> Iterator[str]:
    """What is odd about settings without a fault."""
    text = environment.get(WORKFLOW_VARIABLE, "")
    if text.strip() and engine != "comfyui":
        yield _("Only ComfyUI uses a workflow; this engine does not.")
    elif text.strip() and not shows_images(workflow_in(text)):
        yield _(
            "The workflow has no SaveImage or PreviewImage node: unless another node tells of its images, none comes."
        )
    if environment.get(DEFAULTS_VARIABLE, "").strip() and engine not in ADAPTED_ENGINES:
        yield _("Defaults for images are used with ComfyUI and Stable Diffusion web UI only.")


def image_settings(environment: Mapping[str, str], engine: str) -> ImageSettings | None:
    """What requests for images get; None for other engines and while something is wrong."""
    if engine not in ADAPTED_ENGINES or next(setting_faults(environment), None) is not None:
        return None
    defaults = dataclasses.asdict(defaults_in(environment.get(DEFAULTS_VARIABLE, "")))
    own = environment.get(WORKFLOW_VARIABLE, "").strip()
    draws = engine == "comfyui"
    return ImageSettings(
        workflow=readable(own or shipped_workflow()) if draws else "",
        ships=not own,
        places=tuple(places_in(workflow_in(own))) if draws else (),
        defaults=tuple(
            (name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in defaults.items()
        ),
    )


def built_in_defaults() -> str:
    """What holds where a config says nothing, as a config would write it."""
    return json.dumps(dataclasses.asdict(BUILT_IN))


def readable(text: str) -> str:
    """JSON on one line with a member a line; other text as it is."""
    if "\n" in text.strip():
        return text.strip()
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
