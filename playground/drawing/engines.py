"""Which engine can do what with images, and the request that asks it."""

from __future__ import annotations

from typing import Any, Final

from deployments.images.settings import ADAPTED_ENGINES
from playground.gateway.endpoints import BY_PATH

from .settings import DrawingSettings

PROTOCOL: Final = "openai-image"
GENERATIONS: Final = "/v1/images/generations"
EDITS: Final = "/v1/images/edits"
#: What the gateway's adapters and LocalAI take beside OpenAI's own members; of others it is not known.
_KNOWS_MORE: Final = ADAPTED_ENGINES | {"localai"}


def can_edit(engine: str) -> bool:
    """Whether the gateway has an address for edits with this engine."""
    return (PROTOCOL, engine) in BY_PATH[EDITS].served_by


def knows_more(engine: str) -> bool:
    """Whether negative prompt, seed, steps and guidance surely mean something to it."""
    return engine in _KNOWS_MORE


def request_body(config: str, prompt: str, settings: DrawingSettings, *, engine: str) -> dict[str, Any]:
    """The request for ``config``; what is empty is not sent, so that its own default holds.

    Only engines that the gateway asks in their own way are known to answer as a stream, which is how they tell of
    progress: https://platform.openai.com/docs/api-reference/images lets other servers refuse ``stream``.
    """
    body: dict[str, Any] = {
        "model": config,
        "prompt": prompt,
        "n": settings.count,
        "size": settings.size,
        "response_format": "b64_json",
        "negative_prompt": settings.negative,
        "seed": settings.seed,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "stream": True if engine in ADAPTED_ENGINES else None,
    }
    return {name: value for name, value in body.items() if value not in (None, "")}
