"""Malformed catalogue files: each problem is told with its file, line, config, field and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.catalogue.checking import Catalogue, check_catalogue
from deployments.catalogue.reading import read_catalogue
from deployments.exceptions import CatalogueError
from tests.deployments.editing import write_catalogue

GOOD = """\
models:
  - name: M
configs:
  - name: one
    model: M
    protocol: openai-text
    engine: vllm
    image: vllm/vllm-openai:v1
    served_name: one
    arguments: [M, --max-model-len, "10"]
    environment:
      HF_TOKEN: "${HF_TOKEN}"
    port: 8000
    readiness_path: /health
"""


def check(folder: Path, text: str) -> Catalogue:
    write_catalogue(folder, text)
    return check_catalogue(read_catalogue([folder]), known_models=())


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(CatalogueError) as refused:
        check(folder, text)
    return [line.replace(f"{folder}/", "") for line in str(refused.value).splitlines()]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD).configs["one"].arguments == ("M", "--max-model-len", "10")


def test_a_folder_that_does_not_exist_is_an_empty_catalogue(tmp_path: Path) -> None:
    assert read_catalogue([tmp_path / "nowhere"]).configs == []


def test_an_empty_file_is_an_empty_catalogue(tmp_path: Path) -> None:
    assert check(tmp_path, "# nothing yet\n").configs == {}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("engine: vllm", "engine: vlm", "own.yaml:7: config one: engine: There is no engine “vlm”. Known engines: "),
        ("protocol: openai-text", "protocol: ollama-text", "own.yaml:6: config one: protocol: vLLM does not speak"),
        ("protocol: openai-text", "protocol: smoke", "own.yaml:6: config one: protocol: Value 'smoke'"),
        (
            "port: 8000",
            "port: 80000",
            "own.yaml:13: config one: port: Ensure this value is less than or equal to 65535",
        ),
        ("port: 8000", 'port: "8000"', "own.yaml:13: config one: port: It must be a number, without quotes."),
        ("port: 8000", "port: 80.5", "own.yaml:13: config one: port: It must be a whole number."),
        ("port: 8000", "port: yes", "own.yaml:13: config one: port: It must be a number, without quotes."),
        ("    port: 8000\n", "", "own.yaml:4: config one: port: It is missing."),
        ("image: vllm/vllm-openai:v1", 'image: ""', "own.yaml:8: config one: image: This field cannot be blank."),
        ("image: vllm/vllm-openai:v1", "image: Not an image", "own.yaml:8: config one: image: Write an image as in"),
        ('"10"]', "10]", "own.yaml:10: config one: arguments: Item 3, 10, must be text; put it in quotes."),
        ('"10"]', "'--tp 4']", "own.yaml:10: config one: arguments: “--tp 4” is an option and its value."),
        ("[M,", "{M: 1} #", "own.yaml:10: config one: arguments: It must be a list."),
        (
            '"${HF_TOKEN}"',
            "hf_abcdefghijklmnop",
            "own.yaml:12: config one: environment: HF_TOKEN: this looks like a secret.",
        ),
        ('"${HF_TOKEN}"', "1", "own.yaml:12: config one: environment: The value of HF_TOKEN must be text"),
        ("readiness_path: /health", "readiness_path: health", "own.yaml:14: config one: readiness_path: A path begins"),
        (
            "readiness_path: /health",
            "redines_path: /health",
            "own.yaml:14: config one: redines_path: There is no such field.",
        ),
        ("    model: M", "    model: N", "own.yaml:5: config one: model: There is no model “N”."),
        ("name: one", "name: One!", "own.yaml:4: config One!: name: Use lower-case letters"),
        ("name: one", "name: new", "own.yaml:4: config new: name: “new” is the address of a page."),
        ("  - name: M", "  - name: M\n    size: 3", "own.yaml:3: model M: size: There is no such field."),
        ("  - name: one", "  - title: one", "own.yaml:4: this config has no name"),
        ("configs:", "confgs:", "own.yaml:4: unknown section “confgs”; known are models, defaults and configs"),
        ("    port: 8000", "    port: 1\n    port: 8000", "own.yaml:14: “port” stands here twice"),
        ("configs:\n", "configs: 3\nrest:\n", "own.yaml:3: configs must be a list"),
        ("    engine: vllm", "    engine: [vllm", "own.yaml:8: not valid YAML: "),
        (
            "    engine: vllm",
            "    engine: !!python/object:os.system x",
            "own.yaml:7: engine: could not determine a constructor",
        ),
        ("models:\n", "\tmodels:\n", "own.yaml:1: not valid YAML: "),
    ],
)
def test_a_problem_is_told_with_its_place_and_reason(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    told = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(line.startswith(expected) for line in told), told


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    write_catalogue(tmp_path, GOOD.replace("name: one", "name: two").replace("port: 8000", "port: 0"), "other.yaml")
    told = problems(tmp_path, GOOD.replace("engine: vllm", "engine: vlm").replace("grace", ""))
    assert any("other.yaml:13: config two: port:" in line for line in told)
    assert any("own.yaml:7: config one: engine:" in line for line in told)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_bytes(b"\xff\xfe\x00")
    assert "broken.yaml:1: " in problems(tmp_path, GOOD)[0]


def test_the_same_name_twice_in_a_folder_is_a_problem(tmp_path: Path) -> None:
    write_catalogue(tmp_path, GOOD, "another.yaml")
    told = problems(tmp_path, GOOD)
    assert any("config one: name: the same name stands in" in line for line in told)


def test_a_later_folder_replaces_an_entry_of_an_earlier_one(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "built-in", GOOD)
    write_catalogue(tmp_path / "own", GOOD.replace("port: 8000", "port: 9000"))
    found = check_catalogue(read_catalogue([tmp_path / "built-in", tmp_path / "own"]), known_models=())
    assert found.configs["one"].port == 9000


def test_defaults_hold_for_every_config_that_says_nothing_else(tmp_path: Path) -> None:
    text = GOOD.replace("configs:", "defaults:\n  gpus: 2\n  port: 1\nconfigs:")
    found = check(tmp_path, text).configs["one"]
    assert (found.gpus, found.port) == (2, 8000)
