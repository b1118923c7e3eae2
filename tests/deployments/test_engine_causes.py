"""From the end of a server to a cause that an operator can act on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines import engine_named
from deployments.engines.causes import Cause, classify

TRACEBACK = ["Traceback (most recent call last):", '  File "server.py", line 3, in <module>']


def told(
    exit_code: int | None,
    log: list[str],
    engine: str,
    *,
    out_of_memory: bool = False,
    ran_for_s: float | None = None,
) -> Cause:
    return classify(exit_code, out_of_memory, log, engine_named(engine), ran_for_s=ran_for_s)


CASES = [
    ("vllm", 1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "cuda_out_of_memory"),
    ("vllm", 1, "ValueError: No available memory for the cache blocks.", "cuda_out_of_memory"),
    (
        "sglang",
        1,
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        "cuda_out_of_memory",
    ),
    ("llama.cpp", 1, "ggml_cuda_host: cudaMalloc failed: out of memory", "cuda_out_of_memory"),
    ("vllm", 1, "OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000)", "port_in_use"),
    ("llama.cpp", 1, "error: couldn't bind HTTP server socket, 127.0.0.1:8080", "port_in_use"),
    ("custom", 1, "listen tcp 127.0.0.1:80: bind: address already in use", "port_in_use"),
    ("vllm", 1, "huggingface_hub.errors.GatedRepoError: 403 Client Error.", "gated_model"),
    ("vllm", 1, "OSError: You are trying to access a gated repo.", "gated_model"),
    ("vllm", 1, "OSError: We couldn't connect to 'https://huggingface.co' to load the files", "hub_unreachable"),
    ("tgi", 2, "error: unexpected argument '--nope' found", "unknown_argument"),
    ("vllm", 2, "vllm: error: unrecognized arguments: --nope", "unknown_argument"),
    ("llama.cpp", 1, "error: invalid argument: --nope", "unknown_argument"),
    ("llama.cpp", 1, "gguf_init_from_file: failed to open GGUF file '/nope.gguf'", "bad_model_path"),
    ("llama.cpp", 1, "load_model: failed to load model, 'broken.gguf'", "bad_model_path"),
    ("vllm", 1, "OSError: me/x is not a local folder and is not a valid model identifier", "bad_model_path"),
    ("vllm", 1, "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "driver_too_old"),
    ("vllm", 1, "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9", "driver_too_old"),
    ("vllm", 1, "RuntimeError: Found no NVIDIA driver on your system.", "no_nvidia_runtime"),
    ("vllm", 1, 'could not select device driver "nvidia" with capabilities: [[gpu]]', "no_nvidia_runtime"),
    ("ollama", 1, "write /root/.ollama/blob: no space left on device", "no_disk_space"),
]


@pytest.mark.parametrize(("engine", "exit_code", "line", "code"), CASES)
def test_what_engines_print_names_the_cause(engine: str, exit_code: int, line: str, code: str) -> None:
    log = ["INFO starting", line, "INFO shutting down"]
    assert told(exit_code, log, engine) == Cause(code, {"exit_code": str(exit_code), "last_line": line})


@pytest.mark.parametrize("exit_code", [-9, 137])
def test_sigkill_by_somebody_else_is_the_host(exit_code: int) -> None:
    assert told(exit_code, ["serving"], "custom").code == "killed_by_host"


def test_the_container_engines_word_for_out_of_memory_comes_first() -> None:
    assert told(1, ["[Errno 98]"], "custom", out_of_memory=True).code == "killed_by_host"


def test_exit_127_is_a_missing_command() -> None:
    assert told(127, [], "custom").code == "command_not_found"


def test_a_traceback_is_known_by_its_last_exception() -> None:
    log = [*TRACEBACK, "pkg.errors.BadThingError: no luck", "INFO goodbye"]
    cause = told(1, log, "vllm")
    assert cause == Cause("python_error", {"exit_code": "1", "last_line": "pkg.errors.BadThingError: no luck"})


def test_a_word_that_ends_like_an_exception_is_none_without_a_traceback() -> None:
    assert told(1, ["ValueError: x"], "vllm").code == "exited"


@pytest.mark.parametrize(("ran_for_s", "code"), [(0.5, "exited_at_once"), (60, "exited"), (None, "exited")])
def test_anything_else_is_told_with_exit_code_and_last_line(ran_for_s: float | None, code: str) -> None:
    cause = told(
        4,
        ["hello", "giving up", "  "],
        "custom",
        ran_for_s=ran_for_s,
    )
    assert cause == Cause(code, {"exit_code": "4", "last_line": "giving up"})


def test_a_lost_exit_code_and_an_empty_log_are_told_too() -> None:
    assert told(None, [], "custom") == Cause("exited", {"exit_code": "?", "last_line": ""})


@given(
    exit_code=st.none() | st.integers(-64, 255),
    out_of_memory=st.booleans(),
    log=st.lists(st.text(max_size=400), max_size=20),
    ran_for_s=st.none() | st.floats(0, 1e6),
)
def test_every_end_has_a_cause_with_bounded_parameters(
    exit_code: int | None, out_of_memory: bool, log: list[str], ran_for_s: float | None
) -> None:
    cause = told(exit_code, log, "vllm", out_of_memory=out_of_memory, ran_for_s=ran_for_s)
    assert cause.code
    assert set(cause.params) == {"exit_code", "last_line"}
    assert len(cause.params["last_line"]) <= 300
