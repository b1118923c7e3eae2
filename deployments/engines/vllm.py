"""vLLM. The image's entry point is ``vllm serve``: a config's arguments begin with the model."""

from __future__ import annotations

from .base import CausePattern
from .probes import by_protocol
from .served import ServedEngine

ENGINE = ServedEngine(
    name="vllm",
    title="vLLM",
    default_image="vllm/vllm-openai:v0.32.0",
    default_port=8000,
    default_readiness_path="/health",
    protocols=("openai-text",),
    causes=(
        CausePattern(
            pattern=r"No available memory for the cache blocks|Free memory on device .* is less than desired"
            r"|larger than the (maximum number of tokens|available KV cache memory)",
            cause="cuda_out_of_memory",
        ),
    ),
    ask=by_protocol,
    bar_unit="steps",
)
