"""Decodes pictures that people add to messages: what a name or first bytes claim is no proof."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _
from PIL import Image, ImageOps

from deployments.exceptions import InvalidInputError

from .pictures import Picture

#: A picture is decoded to 4 bytes a pixel: 200 MB.
MOST_PIXELS: Final = 50_000_000
#: Pillow's format -> media type. Vision models are told of no others.
MEDIA_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class DecodedPicture(Picture):
    """A picture that was decoded whole; ``width`` and ``height`` in pixels."""

    width: int
    height: int


def decode_picture(content: bytes, *, name: str, longest_side: int | None = None) -> DecodedPicture:
    """Decode ``content`` whole; ``longest_side`` in pixels makes a larger one smaller, which also drops its metadata.

    Raises InvalidInputError naming the picture as ``name``. Holds a processor for up to a second.
    """
    try:
        with warnings.catch_warnings():
            # Pillow only warns of bombs up to twice its own limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decoded(content, name, longest_side)
    except InvalidInputError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise InvalidInputError(_("%(path)s is no PNG, JPEG, GIF or WebP picture.") % {"path": name}) from error


def thumbnail(content: bytes, *, side: int) -> bytes:
    """A picture that was taken before, as a WebP that fits into a square of ``side`` pixels.

    Costs a processor some 20 ms for a million pixels.
    """
    with Image.open(io.BytesIO(content), formats=list(MEDIA_TYPES)) as image:
        # JPEGs are decoded smaller at once.
        image.draft("RGB", (side, side))
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
        written = io.BytesIO()
        upright.convert("RGBA" if upright.has_transparency_data else "RGB").save(written, format="WEBP", quality=80)
    return written.getvalue()


def _decoded(content: bytes, name: str, longest_side: int | None) -> DecodedPicture:
    with Image.open(io.BytesIO(content), formats=list(MEDIA_TYPES)) as image:
        if image.width * image.height > MOST_PIXELS:
            raise InvalidInputError(_("%(path)s has more than 50 million pixels. Make it smaller.") % {"path": name})
        kind = str(image.format)
        image.load()
        if longest_side is not None and max(image.size) > longest_side:
            content, kind, width, height = _smaller(image, kind, longest_side)
        else:
            width, height = image.size
    return DecodedPicture(content=content, media_type=MEDIA_TYPES[kind], width=width, height=height)


def _smaller(image: Image.Image, kind: str, longest_side: int) -> tuple[bytes, str, int, int]:
    """The first frame, upright, as a JPEG if it was one, else as a PNG."""
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    kind = "JPEG" if kind == "JPEG" else "PNG"
    shown = upright if upright.mode in ("RGB", "L") else upright.convert("RGB" if kind == "JPEG" else "RGBA")
    written = io.BytesIO()
    shown.save(written, format=kind, quality=88)
    return written.getvalue(), kind, *shown.size
