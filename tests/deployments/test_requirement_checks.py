"""Each thing that a requirement cannot be gets a sentence at its field."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.deliveries.requirement import Hardware, Requirement, Targets
from deployments.deliveries.requirement_checks import requirement_problems
from tests.deployments.deliveries import make_requirement

NO_GPU = Hardware(count=0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hardware": NO_GPU},
        {"source": "path", "repository": "", "path": "/models/llama3-8b"},
        {"repository": "gpt2", "revision": "refs/pr/3"},
        {"task": "image", "protocol": "openai-image", "targets": Targets(requests_per_s=0.2)},
        {"task": "embedding", "protocol": "ollama-text"},
        {"protocol": "tgi", "targets": Targets()},
        {"layers": None, "kv_heads": None, "head_dimension": None, "parameters_b": None},
    ],
)
def test_what_can_be_delivered_has_no_problem(changes: dict[str, Any]) -> None:
    assert requirement_problems(make_requirement(**changes)) == {}


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"model": " "}, "model", "Name the model."),
        ({"task": "sing"}, "task", "Choose one of the list."),
        ({"source": "ftp"}, "source", "Choose one of the list."),
        ({"repository": ""}, "repository", "Name the repository"),
        ({"repository": "https://hub.example/org/model"}, "repository", "without an address"),
        ({"repository": "org/../model"}, "repository", "Write it as the hub does"),
        ({"repository": "org/model; rm"}, "repository", "Write it as the hub does"),
        ({"revision": "main --force"}, "revision", "a branch, a tag or a commit"),
        ({"source": "path", "path": ""}, "path", "Write the path"),
        ({"source": "path", "path": "models/x"}, "path", "absolute path"),
        ({"source": "path", "path": "/models/../etc"}, "path", "absolute path"),
        ({"source": "path", "path": "/models/\n"}, "path", "absolute path"),
        ({"architecture": "Llama For"}, "architecture", "as config.json does"),
        ({"parameters_b": 0.0}, "parameters_b", "above 0"),
        ({"kv_heads": None}, "kv_heads", "with all three"),
        ({"layers": -1}, "layers", "above 0"),
        ({"hardware": Hardware(gpu="L4", count=65, memory_gib=24)}, "gpus", "from 0 (no GPU) to 64"),
        ({"hardware": Hardware(gpu="", count=1, memory_gib=24)}, "gpu", "Name the GPU"),
        ({"hardware": Hardware(gpu="L4", count=1)}, "gpu_memory_gib", "how much memory"),
        ({"hardware": Hardware(gpu="L4", count=1, memory_gib=0)}, "gpu_memory_gib", "above 0"),
        ({"protocol": "openai-image"}, "protocol", "cannot be asked so"),
        ({"task": "embedding", "protocol": "tgi"}, "protocol", "cannot be asked so"),
        ({"targets": Targets(concurrent_users=0)}, "concurrent_users", "above 0"),
        ({"targets": Targets(first_token_ms=-3)}, "first_token_ms", "above 0"),
        ({"task": "embedding", "targets": Targets(tokens_per_s=20)}, "tokens_per_s", "has no such figure"),
    ],
)
def test_what_cannot_is_said_at_its_field(changes: dict[str, Any], field: str, sentence: str) -> None:
    problems = requirement_problems(make_requirement(**changes))
    assert problems.keys() == {field}
    assert sentence in problems[field][0]


def test_a_requirement_survives_the_database_and_ignores_what_it_does_not_know() -> None:
    wanted = make_requirement(targets=Targets(first_token_ms=200, tokens_per_s=30.5))
    data = wanted.to_json()
    assert Requirement.from_json(data) == wanted
    assert Requirement.from_json({**data, "of_later": 1, "targets": {**data["targets"], "of_later": 1}}) == wanted
    assert Requirement.from_json({}) == Requirement()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"repository": "org/m", "revision": "abc"}, "org/m@abc"),
        ({"repository": "org/m", "revision": ""}, "org/m"),
        ({"source": "path", "path": "/models/m"}, "/models/m"),
    ],
)
def test_the_source_of_the_weights_is_one_line(changes: dict[str, Any], line: str) -> None:
    assert make_requirement(**changes).weights_from == line
