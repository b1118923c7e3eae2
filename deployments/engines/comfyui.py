"""ComfyUI. There is no official image. Models load with each workflow, and an image costs minutes: no real request."""

from __future__ import annotations

from .served import ServedEngine

ENGINE = ServedEngine(
    name="comfyui",
    title="ComfyUI",
    default_image="",
    default_port=8188,
    default_readiness_path="/system_stats",
    protocols=("openai-image",),
    grace_s=10,
)
