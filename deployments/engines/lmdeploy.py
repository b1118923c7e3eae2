"""LMDeploy's api_server. Its health page tests the engine from 0.15 on; older ones always answered 200."""

from __future__ import annotations

from .probes import by_protocol
from .served import ServedEngine

ENGINE = ServedEngine(
    name="lmdeploy",
    title="LMDeploy",
    default_image="openmmlab/lmdeploy:v0.16.0-cu12.8",
    default_port=23333,
    default_readiness_path="/health",
    protocols=("openai-text",),
    ask=by_protocol,
    bar_unit="steps",
)
