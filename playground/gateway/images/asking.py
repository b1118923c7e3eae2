"""A request for images, checked before any engine is asked."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.utils.translation import gettext_lazy as _

from deployments.images import DEFAULTS_VARIABLE
from deployments.images.defaults import (
    LONGEST_PROMPT,
    MOST_GUIDANCE,
    MOST_STEPS,
    ImageDefaults,
    are_steps,
    defaults_fault,
    defaults_in,
    is_guidance,
    range_sentence,
    size_in,
    size_sentence,
)
from playground.exceptions import BadRequestError, UpstreamError
from playground.gateway.routing import Route

MOST_IMAGES: Final = 10
#: What every sampler takes.
MOST_SEED: Final = 2**32 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRequest:
    """What is drawn. ``seed`` is that of the first image; the engine derives those of the others from it."""

    prompt: str
    negative: str
    width: int
    height: int
    count: int
    steps: int
    guidance: float
    seed: int
    response_format: Literal["b64_json", "url"]
    streams: bool

    @property
    def size(self) -> str:
        """As OpenAI writes it."""
        return f"{self.width}x{self.height}"


def image_request(content: Mapping[str, Any], route: Route) -> ImageRequest:
    """Check a body of ``/v1/images/generations``; what it leaves open are the config's defaults.

    ``quality``, ``style``, ``user`` and members that nobody knows say nothing to these engines. Raises
    BadRequestError naming the member, or UpstreamError when the config's defaults are wrong.
    """
    defaults = _defaults(route)
    width, height = _size(content.get("size"), defaults.size)
    guidance = content.get("guidance")
    if guidance is None:
        guidance = content.get("cfg_scale")
    return ImageRequest(
        prompt=_text(content.get("prompt"), "prompt", required=True),
        negative=_text(_or(content.get("negative_prompt"), defaults.negative_prompt), "negative_prompt"),
        width=width,
        height=height,
        count=_count(_or(content.get("n"), 1)),
        steps=_steps(_or(content.get("steps"), defaults.steps)),
        guidance=_guidance(_or(guidance, defaults.guidance)),
        seed=_seed(content.get("seed")),
        response_format=_response_format(content.get("response_format")),
        streams=content.get("stream") is True,
    )


def _defaults(route: Route) -> ImageDefaults:
    fault = defaults_fault(route.image_defaults)
    if fault is not None:
        raise UpstreamError(
            _("%(variable)s of %(config)s is wrong. %(reason)s Correct it in the config."),
            variable=DEFAULTS_VARIABLE,
            config=route.config,
            reason=fault,
        )
    return defaults_in(route.image_defaults)


def _response_format(value: object) -> Literal["b64_json", "url"]:
    if value in (None, "b64_json"):
        return "b64_json"
    if value == "url":
        return "url"
    raise BadRequestError(_("'response_format' is b64_json or url."), param="response_format")


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _text(value: object, name: str, *, required: bool = False) -> str:
    if not isinstance(value, str) or (required and not value.strip()):
        raise BadRequestError(_("'%(name)s' must be a text."), param=name, name=name)
    if len(value) > LONGEST_PROMPT:
        raise BadRequestError(
            _("'%(name)s' has more than %(most)s characters."), param=name, name=name, most=str(LONGEST_PROMPT)
        )
    return value


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_IMAGES:
        return value
    raise BadRequestError(range_sentence("n", "1", str(MOST_IMAGES)), param="n")


def _steps(value: Any) -> int:
    if are_steps(value):
        return int(value)
    raise BadRequestError(range_sentence("steps", "1", str(MOST_STEPS)), param="steps")


def _guidance(value: Any) -> float:
    if is_guidance(value):
        return float(value)
    raise BadRequestError(range_sentence("guidance", "0", f"{MOST_GUIDANCE:g}"), param="guidance")


def _seed(value: object) -> int:
    if value is None or value == -1:
        # -1 is what these engines call a random one. Nothing secret comes of it.
        return random.randint(0, MOST_SEED)  # noqa: S311
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SEED:
        return value
    raise BadRequestError(range_sentence("seed", "0", str(MOST_SEED)), param="seed")


def _size(value: object, default: str) -> tuple[int, int]:
    found = size_in(default if value in (None, "auto") else value)
    if found is None:
        raise BadRequestError(size_sentence("size"), param="size")
    return found
