"""LMDeploy's api_server. Its health page tests the engine from 0.14 on; older ones always answered 200.

It takes keys as arguments only, which everybody on the host may read: it is started without one.
"""

from __future__ import annotations

from .argument_style import ArgumentStyle
from .base import CausePattern
from .metrics import MetricNames
from .probes import by_protocol
from .served import ServedEngine
from .traces import Traces

ENGINE = ServedEngine(
    name="lmdeploy",
    title="LMDeploy",
    default_image="openmmlab/lmdeploy:v0.16.0-cu12.8",
    default_port=23333,
    default_readiness_path="/health",
    protocols=("openai-text",),
    arguments=ArgumentStyle(
        leading=("lmdeploy", "serve", "api_server"),
        tensor_parallel=("--tp",),
        context=("--session-len",),
        served_name=("--model-name",),
        one_gpu_by_default=True,
    ),
    traces=Traces(images=("lmdeploy",), commands=("lmdeploy serve",), model_after=("api_server",)),
    metrics=MetricNames(
        running=("lmdeploy:num_requests_running",),
        waiting=("lmdeploy:num_requests_waiting",),
        kv_cache_usage=("lmdeploy:gpu_cache_usage_perc",),
        ttft_seconds=("lmdeploy:time_to_first_token_seconds",),
        prompt_tokens_total=("lmdeploy:prompt_tokens_total",),
        generation_tokens_total=("lmdeploy:generation_tokens_total",),
    ),
    causes=(CausePattern(pattern=r"\[TM\]\[(ERROR|FATAL)\].*out of memory", cause="cuda_out_of_memory"),),
    ask=by_protocol,
    bar_unit="steps",
)
