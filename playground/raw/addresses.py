"""Addresses of the gateway as Raw asks them: with JSON, with the fields of a form and files, or with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from playground.gateway.app import MODELS
from playground.gateway.endpoints import endpoint_at

Kind = Literal["json", "form", "get"]

#: Fields that are files, the first of each required: https://platform.openai.com/docs/api-reference
FILE_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "/v1/images/edits": ("image", "mask"),
    "/v1/audio/transcriptions": ("file",),
}
#: Names in code until somebody chose a file.
SAMPLE_FILES: Final[Mapping[str, str]] = {"image": "image.png", "mask": "mask.png", "file": "speech.wav"}
_OLLAMA_LISTS: Final = ("/api/tags", "/api/ps", "/api/version")


def kind_at(path: str) -> Kind | None:
    """How ``path`` is asked; None for what the gateway does not have."""
    if path == MODELS or path in _OLLAMA_LISTS:
        return "get"
    name = path.removeprefix(f"{MODELS}/")
    if name != path:
        # As it goes over the wire: a name with other characters is written in percents.
        return "get" if name and name.isascii() and name.isprintable() and not set(name) & set(" ?#\\") else None
    found = endpoint_at(path)
    if found is None:
        return None
    return "form" if found[0].body == "multipart" else "json"


def read_paths(config: str, protocol: str) -> tuple[str, ...]:
    """What may be read about ``config``."""
    openai = (MODELS, f"{MODELS}/{config}")
    return (*_OLLAMA_LISTS, *openai) if protocol == "ollama-text" else openai
