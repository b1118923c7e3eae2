"""What will run: quoted so that a shell and Compose read back exactly what was meant."""

from __future__ import annotations

import shlex
from dataclasses import replace

import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployments.preview import preview_run
from deployments.spec import ServingSpec
from tests.deployments.editing import values

AWKWARD = ("m", "--chat-template", "{% for x in y %}{{ '\\n' }}$HOME `id` \"q\" 'p' ünï", '{"image": 4}', "a b")
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)


def spec(**changes: object) -> ServingSpec:
    return values(**changes).serving_spec("llama3-8b")


def shell_words(text: str) -> list[str]:
    return shlex.split(text.replace("\\\n", " "))


def test_docker_run_has_image_then_arguments_last() -> None:
    words = shell_words(preview_run(spec(arguments=list(AWKWARD), gpus=4, shared_memory="16g"), secrets=()).docker_run)
    assert words[:2] == ["docker", "run"]
    assert tuple(words[-len(AWKWARD) :]) == AWKWARD
    assert words[-len(AWKWARD) - 1] == "vllm/vllm-openai:v0.32.0"
    assert words[words.index("--gpus") + 1] == "4"
    assert words[words.index("--shm-size") + 1] == "16g"
    assert words[words.index("--publish") + 1] == "127.0.0.1:8000:8000"
    assert words[words.index("--volume") + 1] == "hf-cache:/root/.cache/huggingface"


def test_what_the_docker_runtime_adds_is_shown() -> None:
    chosen = spec(entrypoint=["python3", "-m"], arguments=["server", "--x", "1"], gpus=2)
    preview = preview_run(replace(chosen, volumes=("/srv/w:/w:ro", "a:/a")), secrets=())
    words = shell_words(preview.docker_run)
    assert "--init" in words
    assert words[words.index("--security-opt") + 1] == "no-new-privileges"
    assert [words[at + 1] for at, word in enumerate(words) if word == "--ulimit"] == ["memlock=-1", "stack=67108864"]
    assert words[words.index("--entrypoint") + 1] == "python3"
    assert words[-5:] == ["vllm/vllm-openai:v0.32.0", "-m", "server", "--x", "1"]
    assert preview.argv == ("python3", "-m", "server", "--x", "1")
    service = yaml.safe_load(preview.compose)["services"]["llama3-8b"]
    assert (service["entrypoint"], service["command"]) == (["python3", "-m"], ["server", "--x", "1"])
    assert (service["init"], service["security_opt"]) == (True, ["no-new-privileges"])
    assert service["ulimits"]["memlock"] == -1
    assert yaml.safe_load(preview.compose)["volumes"] == {"a": None}, "a folder of the host is no volume"
    assert preview.mounts == (("/srv/w", "/w"), ("a", "/a"))


def test_without_gpus_no_memory_is_locked() -> None:
    assert "--ulimit" not in preview_run(spec(gpus=0, memory_gib=0), secrets=()).docker_run


def test_docker_run_leaves_references_to_the_shell_and_quotes_the_rest() -> None:
    text = preview_run(spec(environment={"A": "x $y", "HF_TOKEN": "${HF_TOKEN}"}), secrets=()).docker_run
    assert """--env A='x $y' """ in text
    assert """--env HF_TOKEN="${HF_TOKEN}" """ in text


def test_compose_is_yaml_that_substitutes_only_references() -> None:
    arguments = ["m", "costs $5", "${NOT}"]
    text = preview_run(
        spec(arguments=arguments, environment={"A": "$x", "HF_TOKEN": "${HF_TOKEN}"}), secrets=()
    ).compose
    service = yaml.safe_load(text)["services"]["llama3-8b"]
    assert service["command"] == ["m", "costs $$5", "$${NOT}"]
    assert service["environment"] == {"A": "$$x", "HF_TOKEN": "${HF_TOKEN}"}
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 1
    assert "hf-cache" in yaml.safe_load(text)["volumes"]


def test_a_secret_that_the_host_lacks_is_named() -> None:
    unset = preview_run(spec(), secrets=()).environment[0]
    held = preview_run(spec(), secrets={"HF_TOKEN": "hf_secret"}).environment[0]
    assert (unset.refers_to, unset.unset) == (("HF_TOKEN",), ("HF_TOKEN",))
    assert held.unset == ()
    assert "hf_secret" not in repr(held)


def test_a_literal_secret_of_an_older_revision_is_nowhere_in_the_preview() -> None:
    older = ServingSpec.from_json({**spec().to_json(), "environment": {"HF_TOKEN": "hf_literalsecretliteral"}})
    assert "literalsecret" not in repr(preview_run(older, secrets=()))


def test_the_process_runtime_shows_its_command_and_no_container() -> None:
    process = spec(
        engine="llama.cpp", runtime="process", image="bundle", gpus=0, memory_gib=0, arguments=["-m", "{image}/x"]
    )
    preview = preview_run(process, secrets=())
    assert preview.docker_run == preview.compose == ""
    assert preview.command.endswith("-m '{image}/x'")


@given(arguments=st.lists(TEXT, max_size=5), value=TEXT)
def test_whatever_stands_in_arguments_comes_back_from_the_shell(arguments: list[str], value: str) -> None:
    raw = ServingSpec.from_json({**spec().to_json(), "arguments": arguments, "environment": {"A": value}})
    words = shlex.split(preview_run(raw, secrets=()).docker_run.replace(" \\\n  ", " "))
    assert words[len(words) - len(arguments) :] == arguments
