"""Addresses of the gateway as Raw asks them: with JSON, with the fields of a form and files, or with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote

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
    if not _goes_out_as_written(path):
        return None
    if path == MODELS or path in _OLLAMA_LISTS:
        return "get"
    name = path.removeprefix(f"{MODELS}/")
    if name != path:
        return "get" if name else None
    found = endpoint_at(path)
    if found is None:
        return None
    return "form" if found[0].body == "multipart" else "json"


def _goes_out_as_written(path: str) -> bool:
    """Whether what is asked is what was checked: httpx resolves dots, and begins a query or fragment.

    A name with other characters is written in percents.
    """
    if not (path.isascii() and path.isprintable()) or set(path) & set(" ?#\\"):
        return False
    return not {".", ".."} & set(unquote(path).split("/"))


def read_paths(config: str, protocol: str) -> tuple[str, ...]:
    """What may be read about ``config``."""
    openai = (MODELS, f"{MODELS}/{config}")
    return (*_OLLAMA_LISTS, *openai) if protocol == "ollama-text" else openai
