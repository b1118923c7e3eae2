"""Text Generation Inference: in maintenance mode, supported for what runs on it already.

It has no served name: any name in a request is accepted. Its own grace time at SIGTERM is 90 s.
"""

from __future__ import annotations

from .argument_style import ArgumentStyle
from .base import CausePattern
from .metrics import MetricNames
from .probes import by_protocol
from .served import ServedEngine
from .traces import Traces

ENGINE = ServedEngine(
    name="tgi",
    title="Text Generation Inference",
    default_image="ghcr.io/huggingface/text-generation-inference:3.3.5",
    default_port=80,
    key_variable="API_KEY",
    default_readiness_path="/health",
    protocols=("openai-text",),
    grace_s=95,
    arguments=ArgumentStyle(model=("--model-id",), tensor_parallel=("--num-shard",), context=("--max-total-tokens",)),
    traces=Traces(
        images=("text-generation-inference",),
        commands=("text-generation-launcher",),
        model_variables=("MODEL_ID",),
        context_variables=("MAX_TOTAL_TOKENS",),
    ),
    metrics=MetricNames(
        running=("tgi_batch_current_size",),
        waiting=("tgi_queue_size",),
        prompt_tokens_total=("tgi_request_input_length",),
        generation_tokens_total=("tgi_request_generated_tokens",),
    ),
    causes=(CausePattern(pattern=r"Not enough memory to handle", cause="cuda_out_of_memory"),),
    ask=by_protocol,
    progress_line=r"(?P<step>Download): \[(?P<done>\d+)/(?P<total>\d+)\] -- ETA",
)
