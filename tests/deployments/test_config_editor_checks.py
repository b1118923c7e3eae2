"""What the one check says about values: problems by field and line, and warnings that refuse nothing."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.config_checks import check_values
from deployments.secret_references import shown_value
from tests.deployments.editing import VALID


def problems(**changes: Any) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for problem in check_values({**VALID, **changes}, models={"Llama3-8B"}).problems:
        told.setdefault(problem.field, []).append(problem.sentence)
    return told


def warnings(**changes: Any) -> dict[str, str]:
    checked = check_values({**VALID, **changes}, models={"Llama3-8B"})
    assert checked.problems == ()
    return {warning.field: warning.sentence for warning in checked.warnings}


def test_the_small_config_is_valid_without_warnings() -> None:
    assert problems() == {}
    assert warnings() == {}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["m", ""], "Line 2: it is empty."),
        (["m", "--tp 4"], "Line 2: “--tp 4” is an option and its value."),
        (["m", "a\nb"], "Line 2: it holds a line break"),
        (["m", "--tp "], "Line 2: “--tp ” has a space before or after it."),
        (["--api-key", "abc"], "Line 2: arguments are visible to everybody on the host."),
        (["--api-keys=abc"], "Line 1: arguments are visible to everybody on the host."),
        (["m", "hf_abcdefghijklmnopq"], "Line 2: arguments are visible to everybody on the host."),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused_with_its_line(arguments: list[str], reason: str) -> None:
    assert problems(arguments=arguments)["arguments"][0].startswith(reason)


@pytest.mark.parametrize(
    "argument", ["{% for m in messages %}{{ m }}", '{"image": 4}', "--opt=a b", "a -b c", "User: "]
)
def test_an_argument_with_spaces_or_braces_is_fine(argument: str) -> None:
    assert problems(arguments=[argument]) == {}


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"1A": "x"}, "1A: a name has letters"),
        ({"": "x"}, "“”: a name has letters"),
        ({"HF_TOKEN": "abc"}, "HF_TOKEN: this looks like a secret. Write a reference such as ${HF_TOKEN}"),
        ({"MY_API_KEY": "abc"}, "MY_API_KEY: this looks like a secret. Write a reference such as ${MY_API_KEY}"),
        ({"X": "hf_abcdefghijklmnopq"}, "X: this looks like a secret."),
        ({"X": "${lower}"}, "X: a reference is written ${NAME}"),
        ({"X": "${"}, "X: a reference is written ${NAME}"),
        ({"X": "a\nb"}, "X: the value holds a line break"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES: Berth sets it itself"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_refused_with_its_name(environment: dict[str, str], reason: str) -> None:
    assert problems(environment=environment)["environment"][0].startswith(reason)


@pytest.mark.parametrize(
    "environment",
    [{"HF_TOKEN": "${HF_TOKEN}"}, {"API_KEY": "Bearer ${HF_TOKEN}"}, {"OLLAMA_KEEP_ALIVE": "-1"}, {"A": ""}],
)
def test_references_and_plain_values_are_fine(environment: dict[str, str]) -> None:
    assert problems(environment=environment) == {}


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        ("/etc:/etc", "Line 1: /etc is a folder of the host, and none may be mounted."),
        ("../x:/y", "Line 1: write the whole path of a folder of the host, or name a volume."),
        ("name", "Line 1: write name:/path"),
        ("name:relative", "Line 1: write name:/path"),
        ("name:/", "Line 1: write name:/path"),
        ("name:/a/../b", "Line 1: the path holds"),
        ("name:/a:b", "Line 1: the path holds"),
        ("name:/a:rw", "Line 1: the path holds"),
    ],
)
def test_a_volume_that_is_none_is_refused(volume: str, reason: str) -> None:
    assert problems(volumes=[volume])["volumes"][0].startswith(reason)


def test_two_volumes_at_one_path_are_refused() -> None:
    assert problems(volumes=["a:/x", "b:/x/"])["volumes"] == ["Line 2: another volume is mounted at /x/ already."]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("port", None),
        ("gpus", -1),
        ("gpus", 65),
        ("memory_gib", float("nan")),
        ("memory_gib", -1),
        ("shared_memory", "16 GB"),
        ("readiness_path", "/a b"),
        ("image", "UPPER/case:1"),
        ("image", "a b"),
        ("image", "--privileged"),
        ("served_name", ""),
        ("served_name", "a\x00b"),
        ("licence_note", "x" * 301),
        ("grace_s", 601),
        ("load_timeout_s", 0),
        ("max_attempts", 0),
        ("gated", "yes"),
        ("model", ""),
        ("engine", ""),
        ("runtime", "vm"),
    ],
)
def test_a_value_outside_its_range_is_refused_at_its_field(field: str, value: object) -> None:
    assert list(problems(**{field: value})) == [field]


@pytest.mark.parametrize(
    ("field", "most"), [("load_timeout_s", 7 * 24 * 3600), ("max_attempts", 1000), ("context_tokens", 2**31 - 1)]
)
def test_a_number_that_no_time_or_column_holds_is_refused(field: str, most: int) -> None:
    assert problems(**{field: most}) == {}
    assert problems(**{field: most + 1})[field] == [f"Ensure this value is less than or equal to {most}."]


def test_an_unknown_engine_lists_the_known_ones() -> None:
    told = problems(engine="vlm")["engine"][0]
    assert "“vlm”" in told
    for name in ("vllm", "lmdeploy", "ollama", "localai", "llama.cpp"):
        assert name in told


def test_a_protocol_that_the_engine_does_not_speak_is_refused() -> None:
    assert "does not speak ollama-text" in problems(protocol="ollama-text")["protocol"][0]


def test_an_engine_that_cannot_run_as_a_process_is_refused_there() -> None:
    assert list(problems(runtime="process", image="bundle")) == ["runtime"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"arguments": ["m", "--tensor-parallel-size", "4"], "gpus": 2}, "gpus"),
        ({"arguments": ["m", "--tensor-parallel-size=4"], "gpus": 2}, "gpus"),
        ({"arguments": ["lmdeploy", "--tp", "2"], "gpus": 1, "engine": "lmdeploy"}, "gpus"),
        ({"gpus": 2}, "gpus"),
        ({"memory_gib": 0}, "memory_gib"),
        ({"arguments": ["m", "--served-model-name", "other"]}, "served_name"),
        ({"arguments": ["m", "--max-model-len", "4096"], "context_tokens": 8192}, "context_tokens"),
        ({"engine": "llama.cpp", "arguments": ["-hf", "m", "-np", "4"]}, "concurrent_requests"),
        ({"engine": "llama.cpp", "arguments": ["-c", "8192"], "context_tokens": 4096}, "context_tokens"),
        (
            {
                "engine": "ollama",
                "protocol": "ollama-text",
                "arguments": ["serve"],
                "environment": {"OLLAMA_CONTEXT_LENGTH": "4096"},
                "context_tokens": 8192,
            },
            "context_tokens",
        ),
        ({"image": "vllm/vllm-openai"}, "image"),
        ({"image": "localhost:5000/vllm"}, "image"),
        ({"image": "vllm/vllm-openai:latest"}, "image"),
    ],
)
def test_what_does_not_agree_is_a_warning(changes: dict[str, Any], field: str) -> None:
    assert list(warnings(**changes)) == [field]


def test_a_context_that_requests_share_is_compared_by_request() -> None:
    shared = ["-hf", "m", "-c", "16384", "-np", "4"]
    assert warnings(engine="llama.cpp", arguments=shared, context_tokens=4096, concurrent_requests=4) == {}


def test_an_entry_point_has_no_place_in_the_process_runtime() -> None:
    process = {"runtime": "process", "image": "bundle", "engine": "custom", "volumes": []}
    assert list(problems(**process, entrypoint=["sh"])) == ["entrypoint"]
    assert problems(entrypoint=["sh", "-c"]) == {}


def test_an_entry_point_is_checked_as_arguments_are() -> None:
    assert "Line 2: it is empty" in problems(entrypoint=["sh", " "])["entrypoint"][0]
    assert "visible to everybody" in problems(entrypoint=["sh", "--api-key", "x"])["entrypoint"][0]


def test_tensor_parallel_that_equals_the_gpus_is_no_warning() -> None:
    assert warnings(arguments=["m", "--tensor-parallel-size", "4"], gpus=4) == {}


def test_every_problem_is_told_at_once() -> None:
    assert set(problems(port=0, engine="x", volumes=["x"], model="y", colour=1)) == {
        "port",
        "engine",
        "volumes",
        "model",
        "colour",
    }


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("HF_TOKEN", "${HF_TOKEN}", "${HF_TOKEN}"),
        ("HF_TOKEN", "abc", "••••••"),
        ("X", "hf_abcdefghijklmnopq", "••••••"),
        ("X", "plain", "plain"),
    ],
)
def test_a_literal_secret_is_hidden_wherever_it_came_from(name: str, value: str, shown: str) -> None:
    assert shown_value(name, value) == shown
