"""The argument template of each engine, held against the catalogue's configs."""

from __future__ import annotations

import pytest

from deployments.catalogue.checking import check_catalogue
from deployments.catalogue.reading import BUILT_IN, read_catalogue
from deployments.config_agreement import agreement_warnings
from deployments.config_values import ConfigValues
from deployments.engines import engine_named, engine_names
from deployments.engines.argument_style import Wanted

CONFIGS = check_catalogue(read_catalogue([BUILT_IN]), known_models=()).configs
WANTED = Wanted(model="org/model", served_name="name", gpus=4, context_tokens=8192, concurrent_requests=2)


def suggested(values: ConfigValues) -> tuple[str, ...]:
    model = next(word for word in values.arguments if "/" in word)
    wanted = Wanted(model=model, served_name=values.served_name, gpus=values.gpus, context_tokens=values.context_tokens)
    return engine_named(values.engine).arguments.argv(wanted)


@pytest.mark.parametrize("name", [name for name, it in CONFIGS.items() if it.engine in {"vllm", "lmdeploy"}])
def test_a_catalogue_config_holds_what_its_engine_suggests(name: str) -> None:
    values = CONFIGS[name]
    style = engine_named(values.engine).arguments
    argv = suggested(values)
    assert values.arguments[: len(style.leading) + 1] == argv[: len(style.leading) + 1]
    assert style.name_of(values.arguments) == style.name_of(argv) == values.served_name
    assert style.context_of(values.arguments, {}) == style.context_of(argv, {}) == str(values.context_tokens)
    assert (style.split_over(values.arguments) or "1") == (style.split_over(argv) or "1") == str(values.gpus)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_catalogue_config_disagrees_with_itself(name: str) -> None:
    assert [problem.sentence for problem in agreement_warnings(CONFIGS[name])] == []


@pytest.mark.parametrize("name", CONFIGS)
def test_no_catalogue_config_carries_the_key_that_berth_makes(name: str) -> None:
    values = CONFIGS[name]
    assert engine_named(values.engine).key_variable not in dict(values.environment)


@pytest.mark.parametrize("name", engine_names())
def test_what_an_engine_suggests_agrees_with_itself(name: str) -> None:
    style = engine_named(name).arguments
    argv, environment = style.argv(WANTED), style.environment(WANTED)
    assert (style.split_over(argv) == "4") == bool(style.tensor_parallel)
    assert (style.context_of(argv, environment) == "8192") == bool(style.context or style.context_variable)
    assert (style.name_of(argv) == "name") == bool(style.served_name)
    assert ("org/model" in argv) == style.takes_model
    assert not {"--api-key", "--api-keys", "--api-auth"} & set(argv)


SUGGESTED = {
    "vllm": "org/model --tensor-parallel-size 4 --max-model-len 8192 --served-model-name name",
    "lmdeploy": "lmdeploy serve api_server org/model --tp 4 --session-len 8192 --model-name name",
    "sglang": "python3 -m sglang.launch_server --model-path org/model --tp 4 --context-length 8192"
    " --served-model-name name --host 0.0.0.0 --port 30000 --enable-metrics",
    "tgi": "--model-id org/model --num-shard 4 --max-total-tokens 8192",
    "ollama": "serve",
    "localai": "run org/model",
    "llama.cpp": "-hf org/model -c 16384 -np 2 --alias name -ngl 99 --host 0.0.0.0 --metrics",
    "comfyui": "python main.py --listen 0.0.0.0 --port 8188",
    "sd-webui": "python launch.py --listen --api --port 7860",
}


@pytest.mark.parametrize("name", SUGGESTED)
def test_the_template_is_the_one_of_its_documentation(name: str) -> None:
    assert " ".join(engine_named(name).arguments.argv(WANTED)) == SUGGESTED[name]


def test_what_argv_cannot_say_is_said_by_a_variable() -> None:
    assert engine_named("ollama").arguments.environment(WANTED) == {"OLLAMA_CONTEXT_LENGTH": "8192"}
    assert engine_named("localai").arguments.environment(WANTED) == {"LOCALAI_CONTEXT_SIZE": "8192"}
