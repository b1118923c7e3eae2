"""SGLang. ``/health_generate`` makes a token by itself.

It takes its key as an argument only, which everybody on the host may read: it is started without one.
"""

from __future__ import annotations

from .argument_style import ArgumentStyle
from .base import CausePattern
from .metrics import MetricNames
from .probes import by_protocol
from .served import ServedEngine
from .traces import Traces

ENGINE = ServedEngine(
    name="sglang",
    title="SGLang",
    # No release of it was tested: the config names one.
    default_image="lmsysorg/sglang:latest",
    default_port=30000,
    default_readiness_path="/health_generate",
    protocols=("openai-text",),
    grace_s=30,
    arguments=ArgumentStyle(
        leading=("python3", "-m", "sglang.launch_server"),
        model=("--model-path", "--model"),
        tensor_parallel=("--tp", "--tp-size", "--tensor-parallel-size"),
        context=("--context-length",),
        served_name=("--served-model-name",),
        # Metrics are off by default.
        trailing=("--host", "0.0.0.0", "--port", "30000", "--enable-metrics"),  # noqa: S104 - within its container
        one_gpu_by_default=True,
    ),
    traces=Traces(images=("sglang",), commands=("sglang.launch_server", "sglang serve")),
    metrics=MetricNames(
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        kv_cache_usage=("sglang:token_usage",),
        ttft_seconds=("sglang:time_to_first_token_seconds",),
        prompt_tokens_total=("sglang:prompt_tokens_total",),
        generation_tokens_total=("sglang:generation_tokens_total",),
    ),
    causes=(
        CausePattern(pattern=r"Not enough memory\. Please try to increase --mem-fraction", cause="cuda_out_of_memory"),
    ),
    ask=by_protocol,
    bar_unit="steps",
)
