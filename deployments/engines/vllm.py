"""vLLM. The image's entry point is ``vllm serve``: a config's arguments begin with the model."""

from __future__ import annotations

from .argument_style import ArgumentStyle
from .base import CausePattern
from .metrics import MetricNames
from .probes import by_protocol
from .served import ServedEngine
from .traces import Traces

ENGINE = ServedEngine(
    name="vllm",
    title="vLLM",
    default_image="vllm/vllm-openai:v0.32.0",
    default_port=8000,
    key_variable="VLLM_API_KEY",
    default_readiness_path="/health",
    protocols=("openai-text",),
    arguments=ArgumentStyle(
        tensor_parallel=("--tensor-parallel-size", "-tp"),
        context=("--max-model-len",),
        served_name=("--served-model-name",),
        one_gpu_by_default=True,
    ),
    traces=Traces(
        images=("vllm",),
        commands=("vllm serve", "vllm.entrypoints"),
        model_options=("--model",),
        model_after=("serve",),
    ),
    metrics=MetricNames(
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting",),
        kv_cache_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        ttft_seconds=("vllm:time_to_first_token_seconds",),
        prompt_tokens_total=("vllm:prompt_tokens_total",),
        generation_tokens_total=("vllm:generation_tokens_total",),
    ),
    causes=(
        CausePattern(
            pattern=r"No available memory for the cache blocks|Free memory on device .* is less than"
            r"|larger than the (maximum number of tokens|available KV cache memory)",
            cause="cuda_out_of_memory",
        ),
        CausePattern(
            pattern=r"User-specified max_model_len .* is greater than the derived max_model_len"
            r"|must be divisible by tensor parallel size",
            cause="unknown_argument",
        ),
    ),
    ask=by_protocol,
    bar_unit="steps",
)
