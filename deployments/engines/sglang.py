"""SGLang. ``/health_generate`` makes a token by itself."""

from __future__ import annotations

from .base import CausePattern
from .probes import by_protocol
from .served import ServedEngine

ENGINE = ServedEngine(
    name="sglang",
    title="SGLang",
    # No release of it was tested: the config names one.
    default_image="lmsysorg/sglang:latest",
    default_port=30000,
    default_readiness_path="/health_generate",
    protocols=("openai-text",),
    grace_s=30,
    causes=(
        CausePattern(pattern=r"Not enough memory\. Please try to increase --mem-fraction", cause="cuda_out_of_memory"),
    ),
    ask=by_protocol,
    bar_unit="steps",
)
