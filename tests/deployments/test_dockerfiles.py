"""Dockerfiles: what parses, which line does not, what is a secret in one, what hadolint says, what templates give."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.deliveries import linting
from deployments.deliveries.dockerfile_templates import RECIPES, template
from deployments.deliveries.dockerfile_text import base_image, check, instructions
from deployments.deliveries.dockerfiles import changes_since, review
from deployments.deliveries.linting import lint
from deployments.engines import engine_names
from deployments.exceptions import InvalidInputError
from deployments.models import Delivery, ImageBuild

TOKEN = "hf_abcdefghijklmnopqrst"


def test_instructions_have_their_first_lines() -> None:
    text = '# c\n\nFROM a \\\n  AS b\nRUN x \\\n# within\n\n  y && \\\n  z\r\nRUN <<END\nRNU is text\nEND\nCMD ["a"]\n'
    found = [(each.line, each.word, each.rest) for each in instructions(text)]
    assert found == [
        (3, "FROM", "a AS b"),
        (5, "RUN", "x y && z"),
        (10, "RUN", "<<END\nRNU is text"),
        (13, "CMD", '["a"]'),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM a\nRUN x\nRNU y\n", "Line 3 of the Dockerfile: “RNU” is no instruction of a Dockerfile."),
        ("RUN x\nFROM a\n", "Line 1 of the Dockerfile: RUN stands before the first FROM."),
        ("FROM a\n\nRUN\n", "Line 3 of the Dockerfile: RUN says nothing."),
        ("FROM a b c\n", "Line 1 of the Dockerfile: FROM takes an image, and AS with a name after it."),
        ("FROM a\nRUN <<EOF\nx\n", "Line 2 of the Dockerfile: The text that EOF should end has no end."),
        ("# nothing\n", "The Dockerfile has no FROM, so nothing could be built."),
        ("", "The Dockerfile has no FROM, so nothing could be built."),
        (f"FROM a\nENV X={TOKEN}\n", "Line 2 of the Dockerfile: It holds a token, which would stay in the image."),
        (f"FROM a\nRUN curl -H 'x: {TOKEN}'\n", "Line 2 of the Dockerfile: It holds a token"),
        ("FROM a\nARG API_KEY=abc\n", "Line 2 of the Dockerfile: API_KEY is a secret"),
        ("FROM a\nENV DB_PASSWORD hunter2\n", "Line 2 of the Dockerfile: DB_PASSWORD is a secret"),
        ("FROM a\n" + "#" * 100_001, "longer than 100,000 characters"),
    ],
)
def test_what_may_not_be_built_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check(text)
    assert said in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("text", ["FROM a\nARG API_KEY\n", "FROM a\nENV A=$TOKEN\n", "FROM a\nENV HF_TOKEN=${X}\n"])
def test_a_name_without_a_value_is_no_secret(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("FROM a:1\n", "a:1"),
        ("FROM a AS x\nFROM b\nCOPY --from=x / /\n", "b"),
        ("FROM a AS x\nFROM X\n", "a"),
        ("ARG V=2\nFROM --platform=linux/amd64 a:${V}\n", "a:2"),
        ("ARG V\nFROM a:${V:-7} as y\n", "a:7"),
        ("ARG V=2\nFROM a:$W\n", "a:"),
        ("FROM scratch\n", ""),
    ],
)
def test_the_base_image_is_found_through_stages_and_arguments(text: str, base: str) -> None:
    assert base_image(check(text), {}) == base


def test_build_arguments_go_before_the_default() -> None:
    assert base_image(check("ARG V=2\nFROM a:$V\n"), {"V": "9"}) == "a:9"


@pytest.fixture
def hadolint() -> None:
    if not linting.linter():
        pytest.skip("left out: there is no hadolint for this machine's processor")


@pytest.mark.usefixtures("hadolint")
def test_findings_have_their_line_and_code() -> None:
    found = lint("FROM debian\nRUN cd /tmp && ls\n")
    assert found is not None
    assert [(each.line, each.code, each.level) for each in found] == [
        (1, "DL3006", "warning"),
        (2, "DL3003", "warning"),
    ]
    assert found[0].address == "https://github.com/hadolint/hadolint/wiki/DL3006"


@pytest.mark.usefixtures("hadolint")
def test_what_only_hadolint_cannot_parse_keeps_it_from_being_built_too() -> None:
    problems = review("FROM debian:12\nCOPY onlyone\n").problems
    assert [problem.line for problem in problems] in ([2], [3])


def test_a_machine_without_hadolint_still_checks_what_berth_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linting, "linter", lambda: "")
    found = review("FROM a\nRNU x\n")
    assert found.findings is None
    assert [(each.line, each.message) for each in found.problems] == [(2, "“RNU” is no instruction of a Dockerfile.")]


def test_a_linter_that_answers_nonsense_is_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "hadolint"
    program.write_text("#!/bin/sh\necho nonsense\n")
    program.chmod(0o755)
    monkeypatch.setattr(linting, "linter", lambda: str(program))
    assert lint("FROM a\n") is None


@pytest.mark.usefixtures("hadolint")
@pytest.mark.parametrize("way", Delivery.Way.values)
@pytest.mark.parametrize("engine", engine_names())
def test_each_template_parses_holds_no_secret_and_lints_without_errors(engine: str, way: str) -> None:
    text = template(way, engine, repository="org/model", revision="abc")
    check(text)
    found = lint(text)
    assert found is not None
    assert [each for each in found if each.level == "error"] == []


def test_every_engine_has_a_recipe_with_its_source() -> None:
    assert set(RECIPES) == set(engine_names())
    assert all(recipe.source for recipe in RECIPES.values())


def test_baked_weights_are_bound_to_their_revision_and_read_the_token_as_a_secret() -> None:
    text = template("official", "vllm", repository="org/model", revision="abc")
    assert "hf download org/model --revision abc" in text
    assert "--mount=type=secret,id=hf_token" in text
    assert "hf download" not in template("official", "vllm", baked=False)


def test_what_changed_since_the_last_build_is_shown_by_line() -> None:
    built = ImageBuild(dockerfile="FROM a\nRUN x\n")
    assert changes_since(built, "FROM a\nRUN x\n") == []
    assert changes_since(None, "FROM a\n") == []
    assert changes_since(built, "FROM a\nRUN y\n")[1:] == [(" ", "FROM a"), ("-", "RUN x"), ("+", "RUN y")]
