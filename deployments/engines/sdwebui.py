"""stable-diffusion-webui. There is no official image. An image costs minutes: the list of models is asked instead."""

from __future__ import annotations

from .served import ServedEngine

ENGINE = ServedEngine(
    name="sd-webui",
    title="Stable Diffusion web UI",
    default_image="",
    default_port=7860,
    # Its ping answers before a model is there.
    default_readiness_path="/sdapi/v1/sd-models",
    protocols=("openai-image",),
    grace_s=10,
)
