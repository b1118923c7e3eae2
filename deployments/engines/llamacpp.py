"""llama.cpp's server: from its own image, or in the process runtime from a bundle with the wheel xllamacpp."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments import runtimes
from deployments.spec import ServingSpec

from .argument_style import ArgumentStyle
from .base import CausePattern
from .metrics import MetricNames
from .probes import by_protocol
from .served import ServedEngine
from .traces import Traces

SERVER = Path(runtimes.__file__).resolve().parent / "llama_server.py"


class LlamaCpp(ServedEngine):
    """Adds the command of the process runtime."""

    def process_command(self, spec: ServingSpec) -> tuple[str, ...]:
        """The server script under Berth's own Python, isolated; ``{image}`` is the bundle's folder."""
        return (sys.executable, "-I", str(SERVER), "{image}")


ENGINE = LlamaCpp(
    name="llama.cpp",
    title="llama.cpp",
    default_image="ghcr.io/ggml-org/llama.cpp:server-cuda",
    default_port=8080,
    key_variable="LLAMA_API_KEY",
    default_readiness_path="/health",
    protocols=("openai-text",),
    grace_s=10,
    arguments=ArgumentStyle(
        model=("-hf", "-m", "--model"),
        context=("-c", "--ctx-size"),
        slots=("-np", "--parallel"),
        served_name=("--alias", "-a"),
        trailing=("-ngl", "99", "--host", "0.0.0.0", "--metrics"),  # noqa: S104 - within its container
    ),
    traces=Traces(
        images=("llama.cpp",),
        commands=("llama-server",),
        model_options=("--hf-repo",),
        model_variables=("LLAMA_ARG_HF_REPO", "LLAMA_ARG_MODEL"),
        name_variables=("LLAMA_ARG_ALIAS",),
        context_variables=("LLAMA_ARG_CTX_SIZE",),
    ),
    metrics=MetricNames(
        running=("llamacpp:requests_processing",),
        waiting=("llamacpp:requests_deferred",),
        # Gone from newer builds.
        kv_cache_usage=("llamacpp:kv_cache_usage_ratio",),
        prompt_tokens_total=("llamacpp:prompt_tokens_total",),
        generation_tokens_total=("llamacpp:tokens_predicted_total",),
    ),
    causes=(
        CausePattern(
            pattern=r"ggml_backend_cuda_buffer_type_alloc_buffer: allocating .* failed", cause="cuda_out_of_memory"
        ),
        CausePattern(pattern=r"failed to load model", cause="bad_model_path"),
    ),
    ask=by_protocol,
    # A dot for each percent of the weights.
    progress_line=r"^(?P<dots>\.{1,100})$",
)
