"""Inference servers. One module for each engine, one line here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from django.utils.translation import gettext as _

from deployments.exceptions import NotFoundError

from .base import Engine

#: Name in configs -> module of this package that holds ``ENGINE``. The order is the one that forms offer.
_MODULES = {
    "vllm": "vllm",
    "lmdeploy": "lmdeploy",
    "sglang": "sglang",
    "tgi": "tgi",
    "ollama": "ollama",
    "localai": "localai",
    "llama.cpp": "llamacpp",
    "comfyui": "comfyui",
    "sd-webui": "sdwebui",
    "custom": "custom",
}


def engine_names() -> tuple[str, ...]:
    """The names that :func:`engine_named` knows."""
    return tuple(_MODULES)


@cache
def engine_named(name: str) -> Engine:
    """The engine of that name. Raises NotFoundError that lists near names, or all."""
    if name not in _MODULES:
        near = difflib.get_close_matches(name, _MODULES, n=3) or list(_MODULES)
        message = _("There is no engine %(name)s. Perhaps you mean: %(names)s.")
        raise NotFoundError(message % {"name": name, "names": ", ".join(near)})
    engine: Engine = import_module(f".{_MODULES[name]}", __package__).ENGINE
    return engine


def recognised_engine(image: str, argv: Sequence[str]) -> Engine | None:
    """The engine that an image or a command line tells of, the image first; None for any other server."""
    engines = [engine_named(name) for name in _MODULES]
    by_image = (engine for engine in engines if engine.traces.in_image(image))
    by_command = (engine for engine in engines if engine.traces.in_command(argv))
    return next(by_image, None) or next(by_command, None)
