"""stable-diffusion-webui. There is no official image. An image costs minutes: the list of models is asked instead."""

from __future__ import annotations

from .argument_style import ArgumentStyle
from .metrics import webui_progress
from .probes import checkpoints
from .served import ServedEngine
from .traces import Traces

ENGINE = ServedEngine(
    name="sd-webui",
    title="Stable Diffusion web UI",
    default_image="",
    default_port=7860,
    ask=checkpoints,
    default_readiness_path="/internal/ping",
    protocols=("openai-image",),
    grace_s=10,
    arguments=ArgumentStyle(leading=("python", "launch.py", "--listen", "--api", "--port", "7860"), takes_model=False),
    traces=Traces(
        images=("stable-diffusion-webui", "sd-webui", "sd-auto", "automatic1111"),
        commands=("launch.py", "webui.sh", "webui.py"),
    ),
    metrics=webui_progress,
)
