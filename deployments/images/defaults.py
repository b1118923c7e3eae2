"""The limits of an image, and what a request that says nothing gets."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

#: Latent images have an eighth of the size.
STEP_PX: Final = 8
LEAST_PX: Final = 64
MOST_PX: Final = 4096
MOST_PIXELS: Final = 4096 * 2048
MOST_STEPS: Final = 150
MOST_GUIDANCE: Final = 30.0
LONGEST_PROMPT: Final = 32_000
_SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageDefaults:
    """``size`` as in 1024x1024; ``guidance`` is the CFG scale."""

    size: str = "1024x1024"
    steps: int = 20
    guidance: float = 7.0
    negative_prompt: str = ""


BUILT_IN: Final = ImageDefaults()
NAMES: Final = tuple(ImageDefaults.__dataclass_fields__)


def size_in(text: object) -> tuple[int, int] | None:
    """Width and height in pixels, or None for what no engine can draw."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    fits = all(LEAST_PX <= side <= MOST_PX and side % STEP_PX == 0 for side in (width, height))
    return (width, height) if fits and width * height <= MOST_PIXELS else None


def are_steps(value: object) -> bool:
    """Whether a sampler can take so many steps."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_STEPS


def is_guidance(value: object) -> bool:
    """Whether it is a CFG scale."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= MOST_GUIDANCE  # type: ignore[arg-type,operator]


def defaults_in(text: str) -> ImageDefaults:
    """The defaults of a config. Raises ValueError where :func:`defaults_fault` has a sentence."""
    fault, told = _parsed(text)
    if fault is not None:
        raise ValueError("not a config's defaults of images")
    return ImageDefaults(**told)


def defaults_fault(text: str) -> str | Promise | None:
    """Why ``text`` cannot be a config's defaults: a sentence to put into words when it is shown."""
    return _parsed(text)[0]


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[str | Promise | None, dict[str, Any]]:
    if not text.strip():
        return None, {}
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        return format_lazy(_("It is not valid JSON: {reason}."), reason=str(error)[:200]), {}
    names = ", ".join(NAMES)
    if not isinstance(told, dict):
        return format_lazy(_("It must be a JSON object with some of: {names}."), names=names), {}
    if unknown := next((name for name in told if name not in NAMES), None):
        return format_lazy(
            _("There is no “{name}” among the defaults; there are: {names}."), name=unknown, names=names
        ), {}
    return _value_fault(told), told


def _value_fault(told: dict[str, Any]) -> str | Promise | None:
    if "size" in told and size_in(told["size"]) is None:
        return size_sentence("size")
    if "steps" in told and not are_steps(told["steps"]):
        return range_sentence("steps", "1", str(MOST_STEPS))
    if "guidance" in told and not is_guidance(told["guidance"]):
        return range_sentence("guidance", "0", f"{MOST_GUIDANCE:g}")
    negative = told.get("negative_prompt", "")
    if not isinstance(negative, str) or len(negative) > LONGEST_PROMPT:
        return format_lazy(
            _("“{name}” must be a text of at most {most} characters."), name="negative_prompt", most=LONGEST_PROMPT
        )
    return None


def size_sentence(name: str) -> str | Promise:
    """What a size may be."""
    return format_lazy(
        _(
            "“{name}” is WIDTHxHEIGHT as in 1024x1024: both multiples of {step} from {least} to {most}, "
            "at most {pixels} pixels in all."
        ),
        name=name,
        step=STEP_PX,
        least=LEAST_PX,
        most=MOST_PX,
        pixels=MOST_PIXELS,
    )


def range_sentence(name: str, least: str, most: str) -> str | Promise:
    """What a number may be."""
    return format_lazy(_("“{name}” must be a number from {least} to {most}."), name=name, least=least, most=most)
