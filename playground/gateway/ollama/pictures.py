"""Images of a request: bare base64 in Ollama's API, data URIs with their type in OpenAI's."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError

from .long_strings import LongStrings

#: Enough for every mark below, and a whole number of base64's groups of four.
_HEAD: Final = 32
_MARKS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def data_uri(image: object, strings: LongStrings) -> str:
    """``image`` as a data URI. Raises BadRequestError for all but an image in base64: no address is fetched."""
    if not isinstance(image, str):
        raise _no_image()
    head = strings.head(image, _HEAD)
    if head.startswith("data:image/"):
        return image
    try:
        start = base64.b64decode(head[: len(head) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        raise _no_image() from None
    kind = _type_of(start)
    if kind is None:
        raise _no_image()
    return f"data:{kind};base64,{image}"


def _type_of(start: bytes) -> str | None:
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in _MARKS if start.startswith(mark)), None)


def _no_image() -> BadRequestError:
    return BadRequestError(
        _("Each of 'images' must be a PNG, JPEG, WebP, GIF, BMP or TIFF image in base64."), param="images"
    )
