"""Ten Compose files in the shape in which the engines' own documents have them: what comes over, and what does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from deployments.compose.importing import propose, read_compose
from deployments.compose.proposal import Proposal, Weight
from deployments.compose.writing import config_as_compose
from deployments.config_values import REQUIRED, ConfigValues
from tests.deployments.composing import FILES, MODELS, SECRETS, imported, left

GPUS = "deploy.resources.reservations.devices"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """``unsaid`` are required fields that nobody can tell from the file."""

    service: str
    name: str
    values: dict[str, Any]
    guessed: set[str]
    dangerous: set[str]
    lost: set[str]
    harmless: set[str]
    unsaid: set[str]
    missing: set[str]


EXPECTED = {
    "vllm": Expected(
        service="vllm-openai",
        name="llama-3.1-8b-instruct",
        values={
            "runtime": "docker",
            "image": "vllm/vllm-openai:v0.9.1",
            "engine": "vllm",
            "protocol": "openai-text",
            "model": "Llama-3.1-8B",
            "served_name": "meta-llama/Llama-3.1-8B-Instruct",
            "weights_repository": "meta-llama/Llama-3.1-8B-Instruct",
            "arguments": [
                *("--model", "meta-llama/Llama-3.1-8B-Instruct", "--tensor-parallel-size", "2"),
                *("--max-model-len", "16384", "--gpu-memory-utilization", "0.90"),
            ],
            "context_tokens": 16384,
            "environment": {"HUGGING_FACE_HUB_TOKEN": "${HF_TOKEN}", "VLLM_LOGGING_LEVEL": "INFO"},
            "volumes": ["hf-cache:/root/.cache/huggingface"],
            "gpus": 2,
            "shared_memory": "16g",
            "port": 8000,
            "readiness_path": "/health",
            "load_timeout_s": 1200,
            "grace_s": 20,
        },
        guessed={
            *("engine", "protocol", "model", "served_name", "weights_repository", "context_tokens"),
            *("volumes", "gpus", "shared_memory", "grace_s"),
        },
        dangerous={"ipc"},
        lost={"volumes: ~/.cache/huggingface:/root/.cache/huggingface"},
        harmless=set(),
        unsaid=set(),
        missing=set(),
    ),
    "ollama": Expected(
        service="ollama",
        name="ollama",
        values={
            "runtime": "docker",
            "image": "ollama/ollama:0.11.4",
            "engine": "ollama",
            "protocol": "ollama-text",
            "environment": {"OLLAMA_KEEP_ALIVE": "-1", "OLLAMA_CONTEXT_LENGTH": "8192"},
            "context_tokens": 8192,
            "volumes": ["ollama:/root/.ollama"],
            "gpus": 1,
            "port": 11434,
            "readiness_path": "/api/version",
            "grace_s": 10,
        },
        guessed={"engine", "protocol", "context_tokens", "gpus", "readiness_path", "grace_s"},
        dangerous=set(),
        lost={"pull_policy"},
        harmless={"tty", "healthcheck"},
        unsaid={"model", "served_name"},
        missing=set(),
    ),
    "tgi": Expected(
        service="text-generation-inference",
        name="model_id",
        values={
            "runtime": "docker",
            "image": "ghcr.io/huggingface/text-generation-inference:3.3.5",
            "engine": "tgi",
            "protocol": "openai-text",
            "served_name": "${MODEL_ID}",
            "arguments": ["--model-id", "${MODEL_ID}", "--num-shard", "2", "--max-total-tokens", "8192"],
            "context_tokens": 8192,
            "environment": {"HF_TOKEN": "${HF_TOKEN}", "PORT": "80"},
            "gpus": 2,
            "shared_memory": "1g",
            "port": 80,
            "readiness_path": "/health",
            "grace_s": 90,
        },
        guessed={"engine", "protocol", "served_name", "context_tokens", "readiness_path"},
        dangerous=set(),
        lost={"volumes: ./data:/data"},
        harmless={"deploy.resources.limits.memory"},
        unsaid={"model"},
        missing={"MODEL_ID"},
    ),
    "localai": Expected(
        service="api",
        name="flux.1-dev",
        values={
            "runtime": "docker",
            "image": "quay.io/go-skynet/local-ai:v4.9.0-gpu-nvidia-cuda-12",
            "engine": "localai",
            "protocol": "openai-image",
            "served_name": "flux.1-dev",
            "arguments": ["flux.1-dev"],
            "environment": {"DEBUG": "true"},
            "volumes": ["models-of-localai:/models", "localai-backends:/backends"],
            "gpus": 1,
            "port": 8080,
            "readiness_path": "/readyz",
            "grace_s": 20,
        },
        guessed={"engine", "protocol", "served_name", "grace_s"},
        dangerous=set(),
        lost={"env_file"},
        harmless={"environment: LOCALAI_API_KEY"},
        unsaid={"model"},
        missing=set(),
    ),
    "lmdeploy": Expected(
        service="lmdeploy",
        name="qwen2-72b",
        values={
            "runtime": "docker",
            "image": "openmmlab/lmdeploy:v0.16.0-cu12.8",
            "engine": "lmdeploy",
            "protocol": "openai-text",
            "model": "Qwen2-72B",
            "served_name": "qwen2-72b",
            "arguments": [
                *("lmdeploy", "serve", "api_server", "/models/qwen", "--server-port", "23333", "--tp", "4"),
                *("--session-len", "32768", "--model-name", "qwen2-72b"),
            ],
            "context_tokens": 32768,
            "volumes": ["/srv/models/qwen:/models/qwen:ro"],
            "gpus": 4,
            "shared_memory": "16g",
            "port": 23333,
            "readiness_path": "/health",
            "max_attempts": 6,
            "grace_s": 20,
        },
        guessed={
            *("engine", "protocol", "model", "served_name", "context_tokens", "port", "readiness_path", "grace_s"),
        },
        dangerous={"privileged", "network_mode", "volumes: /var/run/docker.sock:/var/run/docker.sock"},
        lost={"command"},
        harmless={"environment: CUDA_VISIBLE_DEVICES", "environment: NVIDIA_VISIBLE_DEVICES"},
        unsaid=set(),
        missing=set(),
    ),
    "sglang": Expected(
        service="sglang",
        name="qwen-2.5",
        values={
            "runtime": "docker",
            "image": "lmsysorg/sglang:v0.5.2-cu126",
            "engine": "sglang",
            "protocol": "openai-text",
            "served_name": "qwen 2.5",
            "weights_repository": "Qwen/Qwen2.5-7B-Instruct",
            "entrypoint": ["python3", "-m", "sglang.launch_server"],
            "arguments": [
                *("--model-path", "Qwen/Qwen2.5-7B-Instruct", "--served-model-name", "qwen 2.5"),
                *("--host", "0.0.0.0", "--port", "30000", "--context-length", "32768"),  # noqa: S104 - an argument
            ],
            "context_tokens": 32768,
            "environment": {"HF_TOKEN": "${HF_TOKEN}"},
            "volumes": ["hf-cache:/root/.cache/huggingface"],
            "gpus": 1,
            "shared_memory": "16g",
            "port": 30000,
            "readiness_path": "/health",
            "grace_s": 30,
        },
        guessed={
            *("engine", "protocol", "served_name", "weights_repository", "context_tokens", "volumes"),
            *("shared_memory", "grace_s"),
        },
        dangerous={"ipc"},
        lost={"environment: HF_TOKEN", "volumes: ${HOME}/.cache/huggingface:/root/.cache/huggingface"},
        harmless=set(),
        unsaid={"model"},
        missing=set(),
    ),
    "llamacpp": Expected(
        service="llamacpp-server",
        name="gemma3-4b",
        values={
            "runtime": "docker",
            "image": "ghcr.io/ggml-org/llama.cpp:server-cuda",
            "engine": "llama.cpp",
            "protocol": "openai-text",
            "model": "Gemma-3-4B",
            "served_name": "gemma3-4b",
            "weights_repository": "ggml-org/gemma-3-4b-it-GGUF",
            "context_tokens": 4096,
            "environment": {
                "LLAMA_ARG_HF_REPO": "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",
                "LLAMA_ARG_ALIAS": "gemma3-4b",
                "LLAMA_ARG_CTX_SIZE": "4096",
                "LLAMA_ARG_N_PARALLEL": "2",
                "LLAMA_ARG_ENDPOINT_METRICS": "1",
                "LLAMA_ARG_PORT": "8080",
            },
            "volumes": ["llama-cache:/root/.cache/llama.cpp"],
            "gpus": 1,
            "port": 8080,
            "readiness_path": "/health",
            "grace_s": 10,
        },
        guessed={
            *("engine", "protocol", "model", "served_name", "weights_repository", "context_tokens"),
            *("readiness_path", "grace_s"),
        },
        dangerous=set(),
        lost={"user"},
        harmless=set(),
        unsaid=set(),
        missing=set(),
    ),
    "comfyui": Expected(
        service="comfyui",
        name="comfyui",
        values={
            "runtime": "docker",
            "image": "yanwk/comfyui-boot:cu128-slim",
            "engine": "comfyui",
            "protocol": "openai-image",
            "environment": {"CLI_ARGS": "--disable-xformers"},
            "volumes": ["comfy-output:/root/ComfyUI/output"],
            "gpus": 1,
            "port": 8188,
            "readiness_path": "/system_stats",
            "grace_s": 10,
        },
        guessed={"engine", "protocol", "readiness_path", "grace_s"},
        dangerous={"security_opt"},
        lost={
            "volumes: ./storage:/root",
            r"volumes: C:\ComfyUI\models:/root/ComfyUI/models",
            "volumes: tmpfs:/tmp",
        },
        harmless={"environment: NVIDIA_VISIBLE_DEVICES"},
        unsaid={"model", "served_name"},
        missing=set(),
    ),
    "sdwebui": Expected(
        service="auto",
        name="auto",
        values={
            "runtime": "docker",
            "image": "sd-auto:78",
            "engine": "sd-webui",
            "protocol": "openai-image",
            "environment": {
                "CLI_ARGS": "--allow-code --medvram --xformers --enable-insecure-extension-access --api",
            },
            "gpus": 1,
            "port": 7860,
            "readiness_path": "/internal/ping",
            "grace_s": 10,
        },
        guessed={"engine", "protocol", "readiness_path", "grace_s"},
        dangerous=set(),
        lost={"build", "stop_signal", "volumes: ./data:/data", "volumes: ./output:/output"},
        harmless={"profiles", "tty"},
        unsaid={"model", "served_name"},
        missing=set(),
    ),
    "webui_and_model": Expected(
        service="llm",
        name="mistral",
        values={
            "runtime": "docker",
            "image": "registry.example.org/ai/llm-server:2.1",
            "engine": "vllm",
            "protocol": "openai-text",
            "model": "Mistral 7B",
            "served_name": "mistral",
            "weights_repository": "mistralai/Mistral-7B-Instruct-v0.3",
            "arguments": [
                *("vllm", "serve", "mistralai/Mistral-7B-Instruct-v0.3", "--served-model-name=mistral"),
                "--port=9000",
            ],
            "environment": {"HF_TOKEN": "${HF_TOKEN}", "HTTP_PROXY": "${HTTP_PROXY}", "GREETING": "costs $5"},
            "gpus": 1,
            "port": 9000,
            "readiness_path": "/health",
            "max_attempts": 5,
            "grace_s": 20,
        },
        guessed={
            *("engine", "protocol", "model", "served_name", "weights_repository", "readiness_path", "grace_s"),
        },
        dangerous={"cap_add", "devices"},
        lost={"depends_on", "secrets", "deploy.replicas", "environment: HTTP_PROXY"},
        harmless={"labels", "networks"},
        unsaid=set(),
        missing=set(),
    ),
}


def test_there_are_ten_files_and_each_is_expected() -> None:
    assert {path.stem for path in FILES.glob("*.yaml")} == set(EXPECTED)
    assert len(EXPECTED) == 10


@pytest.fixture(autouse=True)
def _allowed_folder(settings: Settings) -> None:
    settings.BERTH_HOST_PATHS = (Path("/srv/models"),)


def proposal_of(name: str) -> Proposal:
    return imported((FILES / f"{name}.yaml").read_bytes())


@pytest.mark.parametrize("name", EXPECTED)
def test_the_values_of_a_file_come_over(name: str) -> None:
    proposal, expected = proposal_of(name), EXPECTED[name]
    assert proposal.service == expected.service
    assert proposal.name == expected.name
    assert proposal.values == expected.values
    assert REQUIRED - proposal.values.keys() == expected.unsaid
    assert proposal.variables.keys() == expected.missing


@pytest.mark.parametrize("name", EXPECTED)
def test_what_was_guessed_is_marked(name: str) -> None:
    proposal = proposal_of(name)
    assert {guess.field for guess in proposal.guesses} == EXPECTED[name].guessed
    assert all(guess.why and guess.value == proposal.values[guess.field] for guess in proposal.guesses)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_does_not_come_over_is_listed_with_why_and_what_to_do(name: str) -> None:
    proposal, expected = proposal_of(name), EXPECTED[name]
    assert left(proposal, Weight.DANGEROUS) == expected.dangerous
    assert left(proposal, Weight.LOSS) == expected.lost
    assert left(proposal, Weight.HARMLESS) == expected.harmless
    assert all(item.why.endswith(".") and item.instead.endswith(".") and item.line for item in proposal.left_out)


@pytest.mark.parametrize("name", EXPECTED)
def test_no_secret_of_a_file_is_in_its_proposal(name: str) -> None:
    told = repr(proposal_of(name))
    for secret in ("writtenoutbymistake", "first-key", "second-key", "somebody-chose", "someone:pass"):
        assert secret not in told


@pytest.mark.parametrize("name", EXPECTED)
def test_a_config_made_of_a_file_comes_back_from_its_own_export(name: str) -> None:
    filled = {"model": "Qwen2-72B", "served_name": "something", **proposal_of(name).values}
    values = ConfigValues.from_json(filled)
    file = read_compose(config_as_compose("a-name", values))
    again = propose(file, file.likely, models=MODELS, known_secrets=SECRETS)
    assert (again.name, ConfigValues.from_json(again.values)) == ("a-name", values)
    assert not again.left_out


def test_the_service_with_a_known_engine_is_the_likely_one() -> None:
    file = read_compose((FILES / "webui_and_model.yaml").read_bytes())
    assert [(service.name, service.engine) for service in file.services] == [
        ("open-webui", ""),
        ("llm", "vLLM"),
        ("database", ""),
    ]
    assert file.likely == "llm"


def test_a_variable_that_a_person_gave_fills_the_arguments_in() -> None:
    proposal = imported((FILES / "tgi.yaml").read_bytes(), MODEL_ID="Qwen/Qwen2-72B-Instruct")
    assert proposal.variables == {}
    assert proposal.values["served_name"] == proposal.values["weights_repository"] == "Qwen/Qwen2-72B-Instruct"
    assert proposal.values["model"] == "Qwen2-72B"
