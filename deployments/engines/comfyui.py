"""ComfyUI. There is no official image. Models load with each workflow, and an image costs minutes: no real request."""

from __future__ import annotations

from .argument_style import ArgumentStyle
from .metrics import comfyui_queue
from .probes import node_types
from .served import ServedEngine
from .traces import Traces

ENGINE = ServedEngine(
    name="comfyui",
    title="ComfyUI",
    default_image="",
    default_port=8188,
    ask=node_types,
    default_readiness_path="/system_stats",
    protocols=("openai-image",),
    grace_s=10,
    arguments=ArgumentStyle(
        leading=("python", "main.py", "--listen", "0.0.0.0", "--port", "8188"),  # noqa: S104 - within its container
        takes_model=False,
    ),
    traces=Traces(images=("comfyui",), commands=("main.py --listen", "comfyui")),
    metrics=comfyui_queue,
)
