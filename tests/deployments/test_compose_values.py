"""Variables, durations, sizes, commands, GPUs, ports, health and restarts: each form that Compose knows."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.compose.durations import duration_s, size_of
from deployments.compose.interpolation import Variables, read_variables
from deployments.compose.recognition import plain_name
from deployments.compose.tree import Scalar
from deployments.engines import recognised_engine
from deployments.exceptions import ComposeError
from tests.deployments.composing import imported, left, model_service

GIVEN = {"SET": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$SET-$$SET", "value-$SET"),
        ("${SET}", "value"),
        ("${UNSET}", "${UNSET}"),
        ("$UNSET.", "${UNSET}."),
        ("${SET:-other}${EMPTY:-other}${UNSET:-other}", "valueotherother"),
        ("${SET-other}${EMPTY-other}${UNSET-other}", "valueother"),
        ("${SET:+other}${EMPTY:+other}${UNSET:+other}", "other"),
        ("${SET+other}${EMPTY+other}${UNSET+other}", "otherother"),
        ("${SET:?why}", "value"),
        ("${UNSET:?why $$ not}", "${UNSET}"),
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-${ALSO:-$SET and more}}", "value and more"),
        ("${UNSET:-}", ""),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, expected: str) -> None:
    assert Variables(values=GIVEN).text(Scalar(text=text, line=1)) == expected


def test_variables_of_a_file_are_read_with_comments_and_quotes() -> None:
    text = "# about\n\nA=1\r\nexport B = \"two words\"\nC='$x'\nD="
    assert read_variables(text) == {"A": "1", "B": "two words", "C": "$x", "D": ""}
    with pytest.raises(ComposeError, match="Variables, line 2: write NAME=value"):
        read_variables("A=1\nwhat")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("1m30s", 90), ("2h", 7200), ("1.5s", 1.5), ("500ms", 0.5), ("soon", None), ("5 s", None), ("", None)],
)
def test_durations(text: str, expected: float | None) -> None:
    assert duration_s(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("16g", "16g"), ("16gb", "16g"), ("1GiB", "1g"), ("1.5g", "1536m"), ("64M", "64m"), ("1024k", "1024k")),
        *(("17179869184", "16g"), ("1000", "1k"), ("2097152b", "2m"), ("much", ""), ("", "")),
    ],
)
def test_sizes(text: str, expected: str) -> None:
    assert size_of(text) == expected


COMMANDS: list[tuple[str, list[str], list[str]]] = [
    ("command: serve --a 'b c' \"d\"", [], ["serve", "--a", "b c", "d"]),
    ("command: [serve, --a, b c]", [], ["serve", "--a", "b c"]),
    ("command:", [], []),
    ("entrypoint: python3 -m x\ncommand: [y]", ["python3", "-m", "x"], ["y"]),
    ("entrypoint: []\ncommand: vllm serve m", ["vllm"], ["serve", "m"]),
    ('entrypoint: ""\ncommand: vllm serve m', ["vllm"], ["serve", "m"]),
    ("entrypoint:\ncommand: m", [], ["m"]),
    ("command: |\n  serve \\\n    --a b\n", [], ["serve", "--a", "b"]),
    ("command: [--n, 4, --flag, true]", [], ["--n", "4", "--flag", "true"]),
    ('command: [--name, \'{"a": "$${x}"}\']', [], ["--name", '{"a": "${x}"}']),
    (
        "command: --max-total-tokens 8 --enable-auth --tokenizer x",
        [],
        ["--max-total-tokens", "8", "--enable-auth", "--tokenizer", "x"],
    ),
    ("command: [sh, -c, 'vllm serve m --api-key $$KEY']", [], ["sh", "-c", "vllm serve m --api-key $KEY"]),
    ('command: ["sh", "-c", "one && two"]', [], ["sh", "-c", "one && two"]),
    ('command: ["sh", "-c", "one\\ntwo"]', [], []),
]


@pytest.mark.parametrize(("lines", "entrypoint", "arguments"), COMMANDS)
def test_commands(lines: str, entrypoint: list[str], arguments: list[str]) -> None:
    proposal = imported(model_service(lines))
    assert proposal.values.get("entrypoint", []) == entrypoint
    assert proposal.values.get("arguments", []) == arguments
    assert left(proposal) == ({"command"} if "\\n" in lines else set())


ENVIRONMENT: list[tuple[str, dict[str, str]]] = [
    ("{A: 1, B: true, C: '', D: text}", {"A": "1", "B": "true", "C": "", "D": "text"}),
    ("[A=1, 'B=a=b', C=]", {"A": "1", "B": "a=b", "C": ""}),
    ("[A=1, A=2]", {"A": "2"}),
    ("[HF_TOKEN]", {"HF_TOKEN": "${HF_TOKEN}"}),
    ("{HUGGING_FACE_HUB_TOKEN: $HUGGING_FACE_HUB_TOKEN}", {"HUGGING_FACE_HUB_TOKEN": "${HF_TOKEN}"}),
    ("{HF_TOKEN: '${hf_token}'}", {"HF_TOKEN": "${HF_TOKEN}"}),
    ("{HF_TOKEN: ''}", {"HF_TOKEN": ""}),
    ("{AUTH: 'Bearer ${HF_TOKEN}'}", {"AUTH": "Bearer ${HF_TOKEN}"}),
    ("{A: $$HOME}", {"A": "$HOME"}),
    ("{A: '$${HOME}'}", {}),
    ("{A: $UNSET}", {}),
    ("{A: '${UNSET:-default}'}", {"A": "default"}),
    ('{A: "two\\nlines"}', {}),
    ("{a.b: c}", {}),
    ("{VLLM_API_KEY: x}", {}),
]


@pytest.mark.parametrize(("text", "expected"), ENVIRONMENT)
def test_environments(text: str, expected: dict[str, str]) -> None:
    proposal = imported(model_service(f"environment: {text}"))
    assert proposal.values.get("environment", {}) == expected
    assert bool(left(proposal)) == (not expected)


GPUS: list[tuple[str, int, bool]] = [
    ("gpus: all", 1, True),
    ("gpus: 4", 4, False),
    ("gpus: [{driver: nvidia, count: 2}]", 2, False),
    ("gpus: [{device_ids: ['1', '3']}]", 2, False),
    ("runtime: nvidia", 1, True),
    ("runtime: nvidia\nenvironment: {NVIDIA_VISIBLE_DEVICES: '0,1,2'}", 3, False),
    ("runtime: nvidia\nenvironment: {NVIDIA_VISIBLE_DEVICES: all}\ncommand: m -tp 8", 8, True),
    ("environment: {NVIDIA_VISIBLE_DEVICES: void}", 0, False),
    ("gpus: [{driver: amd, count: 2}]", 0, False),
    ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: '${N:-2}'}]}}}", 2, False),
    ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: [all]}]}}}", 1, True),
    ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: many}]}}}", 1, True),
    ("image_name: x", 0, False),
]


@pytest.mark.parametrize(("lines", "gpus", "is_guess"), GPUS)
def test_gpus(lines: str, gpus: int, is_guess: bool) -> None:
    proposal = imported(model_service(lines))
    assert proposal.values["gpus"] == gpus
    assert proposal.guessed("gpus") == is_guess


PORTS: list[tuple[str, int, set[str]]] = [
    ("ports: ['8000']", 8000, set()),
    ("ports: ['80:9000']", 9000, set()),
    ("ports: ['127.0.0.1:80:9000/tcp']", 9000, set()),
    ("ports: ['[::1]:80:9000']", 9000, set()),
    ("ports: ['3000-3005:9000-9005']", 9000, set()),
    ("ports: ['80:9000', '81:8000']", 8000, {"ports: 9000"}),
    ("ports: ['80:9000', '81:9001']\ncommand: m --port 9001", 9001, {"ports: 9000"}),
    ("ports: ['53:53/udp']", 8000, {"ports"}),
    ("ports: [{target: 9000, published: 80}]", 9000, set()),
    ("expose: ['9000']", 9000, set()),
    ("command: m --port=9100", 9100, set()),
    ("tty: false", 8000, set()),
]


@pytest.mark.parametrize(("lines", "port", "lost"), PORTS)
def test_ports(lines: str, port: int, lost: set[str]) -> None:
    proposal = imported(model_service(lines))
    assert (proposal.values["port"], left(proposal)) == (port, lost)


HEALTH: list[tuple[str, str, Any]] = [
    ("{test: [CMD, curl, -f, 'http://localhost:8000/ready?full=1']}", "/ready?full=1", None),
    ("{test: 'wget -q --spider localhost:8000/up || exit 1'}", "/up", None),
    ('{test: "python3 -c \\"import urllib.request as u; u.urlopen(\'http://127.0.0.1:8000/live\')\\""}', "/live", None),
    ("{test: [CMD-SHELL, 'curl -f https://0.0.0.0:8000']}", "/", None),
    ("{test: [NONE]}", "/health", None),
    ("{disable: true}", "/health", None),
    ("{test: 'pgrep vllm', start_period: 30m, interval: 10s, retries: 6}", "/health", 1860),
    ("{test: 'curl localhost/x', start_period: 1m}", "/x", None),
    ("{test: 'curl localhost/x', start_period: soon}", "/x", None),
]


@pytest.mark.parametrize(("text", "path", "timeout_s"), HEALTH)
def test_health_checks(text: str, path: str, timeout_s: int | None) -> None:
    values = imported(model_service(f"healthcheck: {text}")).values
    assert (values["readiness_path"], values.get("load_timeout_s")) == (path, timeout_s)


RESTARTS: list[tuple[str, int | None]] = [
    ("restart: always", None),
    ("restart: unless-stopped", None),
    ("restart: 'no'", 1),
    ("restart: on-failure:2", 3),
    ("restart: on-failure", None),
    ("deploy: {restart_policy: {condition: none}}", 1),
    ("deploy: {restart_policy: {condition: on-failure, max_attempts: 4}}", 5),
]


@pytest.mark.parametrize(("lines", "attempts"), RESTARTS)
def test_restarts(lines: str, attempts: int | None) -> None:
    proposal = imported(model_service(lines))
    assert proposal.values.get("max_attempts") == attempts
    assert not proposal.left_out


@pytest.mark.parametrize(("text", "grace_s"), [("1m", 60), ("1h", 600), ("1500ms", 2), ("soon", 20)])
def test_grace(text: str, grace_s: int) -> None:
    assert imported(model_service(f"stop_grace_period: {text}")).values["grace_s"] == grace_s


@pytest.mark.parametrize(
    "lines",
    ["init: true", "privileged: false", "deploy: {replicas: 1}", "x-more: {a: b}", "security_opt: [no-new-privileges]"],
)
def test_what_berth_does_anyway_and_what_asks_for_nothing_is_no_loss(lines: str) -> None:
    assert not imported(model_service(lines)).left_out


def test_a_key_that_nobody_knows_is_listed() -> None:
    assert left(imported(model_service("imge: typo"))) == {"imge"}


def test_a_service_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ComposeError, match=r"There is no service “web” in the file. It has: llm."):
        imported(model_service("tty: true"), "web")


@pytest.mark.parametrize(
    ("image", "argv", "engine"),
    [
        ("docker.io/vllm/vllm-openai:latest", [], "vllm"),
        ("ghcr.io/ggml-org/llama.cpp@sha256:" + "0" * 64, [], "llama.cpp"),
        ("localhost:5000/ollama/ollama", [], "ollama"),
        ("ghcr.io/open-webui/open-webui:ollama", [], None),
        ("nvcr.io/nvidia/tritonserver:25.01-vllm", [], None),
        ("mine:1", ["python3", "-m", "sglang.launch_server"], "sglang"),
        ("mine:1", ["sh", "-c", "ollama serve & ollama pull llama3"], "ollama"),
        ("mine:1", ["serve"], None),
    ],
)
def test_engines_are_told_from_image_and_command(image: str, argv: list[str], engine: str | None) -> None:
    found = recognised_engine(image, argv)
    assert (found.name if found else None) == engine


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama38b"),
        ("Llama3-8B", "llama38b"),
        ("Qwen/Qwen2-72B-Instruct-AWQ", "qwen272b"),
        ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "gemma34b"),
        ("", ""),
    ],
)
def test_names_of_models_are_compared_without_owner_and_variant(text: str, plain: str) -> None:
    assert plain_name(text) == plain
