"""A request for images, checked before any engine is asked."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError, UpstreamError
from playground.gateway.routing import Route

MOST_IMAGES: Final = 10
LONGEST_PROMPT: Final = 32_000
#: Latent images have an eighth of the size.
STEP_PX: Final = 8
LEAST_PX: Final = 64
MOST_PX: Final = 4096
MOST_PIXELS: Final = 4096 * 2048
MOST_STEPS: Final = 150
MOST_GUIDANCE: Final = 30.0
#: What every sampler takes.
MOST_SEED: Final = 2**32 - 1
#: The variable of a config that holds its defaults, as a JSON object.
DEFAULTS_VARIABLE: Final = "BERTH_IMAGE_DEFAULTS"
_SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_BUILT_IN: Final[dict[str, Any]] = {"size": "1024x1024", "steps": 20, "guidance": 7.0, "negative_prompt": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRequest:
    """What is drawn. ``seed`` is that of the first image; those of the others follow it."""

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
    response_format: Literal["b64_json", "url"] = content.get("response_format") or "b64_json"
    if response_format not in ("b64_json", "url"):
        raise BadRequestError(_("'response_format' is b64_json or url."), param="response_format")
    width, height = _size(content.get("size"), defaults["size"])
    seed = content.get("seed")
    guidance = content.get("guidance")
    if guidance is None:
        guidance = content.get("cfg_scale")
    return ImageRequest(
        prompt=_text(content.get("prompt"), "prompt", required=True),
        negative=_text(_or(content.get("negative_prompt"), defaults["negative_prompt"]), "negative_prompt"),
        width=width,
        height=height,
        count=_integer(_or(content.get("n"), 1), "n", 1, MOST_IMAGES),
        steps=_integer(_or(content.get("steps"), defaults["steps"]), "steps", 1, MOST_STEPS),
        guidance=_guidance(_or(guidance, defaults["guidance"])),
        # -1 is what these engines call a random one. Nothing secret comes of it.
        seed=random.randint(0, MOST_SEED) if seed in (None, -1) else _integer(seed, "seed", 0, MOST_SEED),  # noqa: S311
        response_format=response_format,
        streams=content.get("stream") is True,
    )


def _defaults(route: Route) -> dict[str, Any]:
    if not route.image_defaults:
        return _BUILT_IN
    try:
        told = json.loads(route.image_defaults)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not told.keys() <= _BUILT_IN.keys():
        raise _wrong_defaults(route)
    defaults = {**_BUILT_IN, **told}
    try:
        _size(None, defaults["size"])
        _integer(defaults["steps"], "steps", 1, MOST_STEPS)
        _guidance(defaults["guidance"])
        _text(defaults["negative_prompt"], "negative_prompt")
    except BadRequestError:
        raise _wrong_defaults(route) from None
    return defaults


def _wrong_defaults(route: Route) -> UpstreamError:
    return UpstreamError(
        _("%(variable)s of %(config)s must be a JSON object with some of: %(names)s. Correct it in the config."),
        variable=DEFAULTS_VARIABLE,
        config=route.config,
        names=", ".join(_BUILT_IN),
    )


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


def _integer(value: object, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _out_of_range(name, str(least), str(most))
    return value


def _guidance(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST_GUIDANCE:
        raise _out_of_range("guidance", "0", f"{MOST_GUIDANCE:g}")
    return float(value)


def _out_of_range(name: str, least: str, most: str) -> BadRequestError:
    return BadRequestError(
        _("'%(name)s' must be a number from %(least)s to %(most)s."), param=name, name=name, least=least, most=most
    )


def _size(value: object, default: object) -> tuple[int, int]:
    asked = default if value in (None, "auto") else value
    found = _SIZE.fullmatch(asked) if isinstance(asked, str) else None
    if found is not None:
        width, height = int(found[1]), int(found[2])
        fits = all(LEAST_PX <= side <= MOST_PX and side % STEP_PX == 0 for side in (width, height))
        if fits and width * height <= MOST_PIXELS:
            return width, height
    raise BadRequestError(
        _(
            "'size' is auto, or WIDTHxHEIGHT as in 1024x1024: both multiples of %(step)s from %(least)s to %(most)s, "
            "at most %(pixels)s pixels in all."
        ),
        param="size",
        step=str(STEP_PX),
        least=str(LEAST_PX),
        most=str(MOST_PX),
        pixels=str(MOST_PIXELS),
    )
