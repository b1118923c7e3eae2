"""Pictures that go with a prompt: read from a file, their type told from their first bytes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError

MOST_BYTES: Final = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file's bytes and media type."""

    content: bytes
    media_type: str

    @property
    def base64(self) -> str:
        """The bytes in base64 without line breaks."""
        return base64.b64encode(self.content).decode()

    @property
    def data_uri(self) -> str:
        """``data:image/png;base64,…``."""
        return f"data:{self.media_type};base64,{self.base64}"


def read_picture(path: Path) -> Picture:
    """Read a PNG, JPEG, GIF or WebP file. Raises InvalidInputError with the reason."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInputError(_("%(path)s has more than 20 MB. Make it smaller.") % {"path": path})
        content = path.read_bytes()
    except OSError as error:
        reason = {"path": path, "reason": error.strerror}
        raise InvalidInputError(_("%(path)s cannot be read: %(reason)s.") % reason) from error
    media_type = _media_type(content)
    if media_type is None:
        raise InvalidInputError(_("%(path)s is no PNG, JPEG, GIF or WebP picture.") % {"path": path})
    return Picture(content=content, media_type=media_type)


def _media_type(content: bytes) -> str | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None
