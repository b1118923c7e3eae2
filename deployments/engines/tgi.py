"""Text Generation Inference: in maintenance mode, supported for what runs on it already.

It has no served name: any name in a request is accepted. Its own grace time at SIGTERM is 90 s.
"""

from __future__ import annotations

from .base import CausePattern
from .probes import by_protocol
from .served import ServedEngine

ENGINE = ServedEngine(
    name="tgi",
    title="Text Generation Inference",
    default_image="ghcr.io/huggingface/text-generation-inference:3.3.5",
    default_port=80,
    default_readiness_path="/health",
    protocols=("openai-text",),
    grace_s=95,
    causes=(CausePattern(pattern=r"Not enough memory to handle", cause="cuda_out_of_memory"),),
    ask=by_protocol,
)
