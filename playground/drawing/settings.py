"""What can be set for an image, checked; what is left empty is the config's or the engine's affair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.images.defaults import (
    LONGEST_PROMPT,
    MOST_GUIDANCE,
    MOST_STEPS,
    range_sentence,
    size_in,
    size_sentence,
)

MOST_IMAGES: Final = 10
MOST_SEED: Final = 2**32 - 1
#: Sizes that are offered; others may be typed.
SIZES: Final = ("512x512", "768x768", "1024x1024", "1344x768", "768x1344")


@dataclass(frozen=True, kw_only=True)
class DrawingSettings:
    """``source`` is a picture to edit, ``mask`` one of its size that is transparent where it may change: rows."""

    negative: str = ""
    size: str = ""
    count: int = 1
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    source: int | None = None
    mask: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For keeping: without what is empty."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def read_drawing(told: Mapping[str, Any]) -> DrawingSettings:
    """Settings as they were kept or as a form has them: numbers may be text, unknown members are left out.

    Raises InvalidInputError with the field.
    """
    negative = str(told.get("negative") or "").replace("\0", "").strip()
    if len(negative) > LONGEST_PROMPT:
        sentence = _("It has more than %(most)d characters.") % {"most": LONGEST_PROMPT}
        raise InvalidInputError(sentence, fields={"negative": [sentence]})
    size = str(told.get("size") or "").strip().lower().replace("×", "x")
    if size and size_in(size) is None:
        raise _wrong("size", str(size_sentence("size")))
    return DrawingSettings(
        negative=negative,
        size=size,
        count=_whole(told, "count", 1, MOST_IMAGES) or 1,
        seed=_whole(told, "seed", 0, MOST_SEED),
        steps=_whole(told, "steps", 1, MOST_STEPS),
        guidance=_number(told, "guidance", MOST_GUIDANCE),
        source=_whole(told, "source", 1, 2**63 - 1),
        mask=_whole(told, "mask", 1, 2**63 - 1),
    )


def _whole(told: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    text = str(told.get(name) if told.get(name) is not None else "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise _wrong(name, str(range_sentence(name, str(least), str(most))))


def _number(told: Mapping[str, Any], name: str, most: float) -> float | None:
    text = str(told.get(name) if told.get(name) is not None else "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 <= number <= most:
        return number
    raise _wrong(name, str(range_sentence(name, "0", f"{most:g}")))


def _wrong(name: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(sentence, fields={name: [sentence]})


#: The fields of the form that are not files.
NAMES: Final = tuple(each.name for each in fields(DrawingSettings))
