"""The nine engines and the custom one: registered, consistent, and honest about loading."""

from __future__ import annotations

import re
import sys

import pytest

from deployments.engines import engine_named, engine_names
from deployments.engines.causes import COMMON
from deployments.exceptions import LaunchError, NotFoundError
from deployments.progress import Progress
from deployments.spec import ServingSpec

SPEC = ServingSpec(
    config="c", model="m", protocol="openai-text", engine="e", runtime="process", image="i", served_name="s"
)
PROTOCOLS = {"openai-text", "ollama-text", "openai-image"}


@pytest.mark.parametrize("name", engine_names())
def test_every_engine_is_consistent(name: str) -> None:
    engine = engine_named(name)
    assert engine.name == name
    assert engine.title
    assert 0 < engine.default_port < 65536
    assert engine.default_readiness_path.startswith("/")
    assert set(engine.protocols) <= PROTOCOLS
    assert engine.protocols
    assert 0 < engine.grace_s <= 600
    for each in (*engine.causes, *COMMON):
        re.compile(each.pattern)


def test_an_unknown_engine_is_answered_with_near_names() -> None:
    with pytest.raises(NotFoundError, match=r"llama\.cpp"):
        engine_named("llamacpp")


@pytest.mark.parametrize("name", sorted(set(engine_names()) - {"llama.cpp", "custom"}))
def test_an_engine_without_a_command_of_its_own_is_refused_as_a_process(name: str) -> None:
    with pytest.raises(LaunchError) as caught:
        engine_named(name).process_command(SPEC)
    assert caught.value.code == "no_process_command"


def test_llama_cpp_runs_its_server_script_isolated_with_the_bundle_first() -> None:
    python, isolated, script, bundle = engine_named("llama.cpp").process_command(SPEC)
    assert (python, isolated, bundle) == (sys.executable, "-I", "{image}")
    assert script.endswith("llama_server.py")


def test_a_custom_servers_arguments_are_the_whole_command() -> None:
    assert engine_named("custom").process_command(SPEC) == ()


BARS = [
    (
        "Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03,  1.00s/it]",
        Progress(step="Loading safetensors checkpoint shards", done=1, total=4, unit="steps"),
    ),
    (
        "Capturing CUDA graph shapes:  40%|████      | 14/35 [00:05<00:07,  2.8it/s]",
        Progress(step="Capturing CUDA graph shapes", done=14, total=35, unit="steps"),
    ),
]


@pytest.mark.parametrize(("line", "progress"), BARS)
def test_a_progress_bar_in_the_log_is_the_progress(line: str, progress: Progress) -> None:
    lines = [
        "INFO begin",
        "Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]",
        line,
        "INFO x",
    ]
    assert engine_named("vllm").load_progress(lines) == progress


@pytest.mark.parametrize("line", ["model.safetensors:  45%|████▌     | 2.2G/4.98G [00:10<00:12]", "50 % done", ""])
def test_what_is_not_a_count_of_whole_things_is_no_progress(line: str) -> None:
    assert engine_named("vllm").load_progress([line]) is None


def test_an_engine_whose_log_does_not_say_invents_nothing() -> None:
    assert engine_named("llama.cpp").load_progress([BARS[0][0]]) is None
