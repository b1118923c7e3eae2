"""LocalAI. Weights load at the first request; ``/readyz`` answers before. An image costs minutes: it is not probed."""

from __future__ import annotations

from .probes import by_protocol
from .served import ServedEngine

ENGINE = ServedEngine(
    name="localai",
    title="LocalAI",
    default_image="localai/localai:v4.9.0-gpu-nvidia-cuda-12",
    default_port=8080,
    default_readiness_path="/readyz",
    protocols=("openai-image", "openai-text"),
    ask=by_protocol,
)
