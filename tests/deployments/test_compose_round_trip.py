"""What Berth writes as a Compose file comes back as the same config, whatever stands in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from deployments.compose.writing import config_as_compose, docker_run
from deployments.config_checks import check_values
from deployments.config_values import ConfigValues
from deployments.engines import engine_named, engine_names
from deployments.exceptions import ComposeError
from tests.deployments.composing import imported
from tests.deployments.editing import VALID, values

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40)
AWKWARD = st.sampled_from(
    ["yes", "null", "1.5", "12e03", "~", "0x1f", "$", "$$", "${X}", "${a:-b}", "a: b", "# c", "-", "<<"]
)
NAME = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
ENGINES = st.sampled_from([name for name in engine_names() if engine_named(name).protocols])
VOLUME = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}:/[a-z$][a-z/$]{0,8}(:ro)?", fullmatch=True)


@st.composite
def configs(draw: st.DrawFn) -> ConfigValues:
    """Values that the catalogue would take."""
    engine = engine_named(draw(ENGINES))
    raw: dict[str, Any] = {
        **VALID,
        "engine": engine.name,
        "protocol": draw(st.sampled_from(list(engine.protocols))),
        "served_name": draw(TEXT | AWKWARD) or "x",
        "entrypoint": draw(st.lists(TEXT | AWKWARD, max_size=2)),
        "arguments": draw(st.lists(TEXT | AWKWARD, max_size=6)),
        "environment": draw(st.dictionaries(NAME, TEXT | AWKWARD | st.just("Bearer ${HF_TOKEN}"), max_size=4)),
        "volumes": draw(st.lists(VOLUME, max_size=3)),
        "port": draw(st.integers(1, 65535)),
        "readiness_path": "/" + draw(st.from_regex(r"[a-z0-9_./?=&$'\"-]{0,20}", fullmatch=True)),
        "gpus": draw(st.integers(0, 64)),
        "memory_gib": draw(st.floats(0, 1e6)),
        "shared_memory": draw(st.from_regex(r"([0-9]{1,4}[kmg])?", fullmatch=True)),
        "context_tokens": draw(st.none() | st.integers(0, 2**31 - 1)),
        "weights_gb": draw(st.none() | st.floats(0, 1e6)),
        "notes": draw(TEXT | AWKWARD | st.just("two\nlines: $5")),
        "licence": draw(AWKWARD),
        "gated": draw(st.booleans()),
        "load_timeout_s": draw(st.integers(1, 10**6)),
        "grace_s": draw(st.integers(0, 600)),
        "max_attempts": draw(st.integers(1, 32767)),
        "stop_after_idle_minutes": draw(st.none() | st.integers(1, 10080)),
    }
    checked = check_values(raw, models=[VALID["model"]])
    kept = {problem.field for problem in checked.problems}
    checked = check_values({**raw, **{name: VALID.get(name, []) for name in kept}}, models=[VALID["model"]])
    assume(checked.values is not None)
    return checked.accepted()


@given(config=configs())
def test_an_exported_config_is_imported_as_it_was(config: ConfigValues) -> None:
    proposal = imported(config_as_compose("some-name_1", config))
    assert ConfigValues.from_json(proposal.values) == config
    assert proposal.name == "some-name_1"
    assert not proposal.left_out
    assert not proposal.guesses


def test_workflows_and_defaults_of_images_come_back_and_reach_no_engine() -> None:
    settings = {"BERTH_IMAGE_DEFAULTS": '{"steps": 12}'}
    config = values(
        engine="comfyui", protocol="openai-image", environment={"CLI_ARGS": "--x", **settings}, arguments=["main.py"]
    )
    text = config_as_compose("draws", config)
    (service,) = yaml.safe_load(text)["services"].values()
    assert service["environment"] == {"CLI_ARGS": "--x"}
    assert service["x-berth"]["settings"] == settings
    assert ConfigValues.from_json(imported(text).values) == config


def test_a_config_that_runs_as_a_process_has_no_compose_file() -> None:
    process = values(
        engine="llama.cpp", runtime="process", image="bundle", gpus=0, memory_gib=0, volumes=[], arguments=["-m", "x"]
    )
    with pytest.raises(ComposeError, match="runs as a process of the host and in no container"):
        config_as_compose("small", process)


def test_the_file_says_whose_it_is_and_which_secrets_it_needs() -> None:
    text = config_as_compose("llama3-8b", values(), origin="llama3-8b, revision 3")
    assert text.splitlines()[0].startswith("# llama3-8b, revision 3, as Berth runs it.")
    assert "# Set HF_TOKEN in the environment" in text.splitlines()[1]


def test_readiness_and_ends_are_said_in_the_words_of_compose() -> None:
    text = config_as_compose(
        "llama3-8b", values(readiness_path="/ready", grace_s=45, max_attempts=3, load_timeout_s=60)
    )
    (service,) = yaml.safe_load(text)["services"].values()
    assert "curl -fsSo /dev/null http://127.0.0.1:8000/ready" in service["healthcheck"]["test"][1]
    assert service["healthcheck"]["start_period"] == "60s"
    assert (service["restart"], service["stop_grace_period"]) == ("on-failure:2", "45s")
    assert "--stop-timeout 45" in docker_run(values(grace_s=45).serving_spec("x"))


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_itself_takes_the_file(tmp_path: Path) -> None:
    config = values(arguments=["m", "--template", "{{ '$x' }}", "${NOT}"], notes="costs $5", readiness_path="/a$b")
    path = tmp_path / "docker-compose.yml"
    path.write_text(config_as_compose("llama3-8b", config), encoding="utf-8")
    shown = subprocess.run(
        ["docker-compose", "--file", str(path), "config"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"HF_TOKEN": "hf-of-the-shell", "PATH": "/usr/bin:/bin"},
    )
    service = yaml.safe_load(shown.stdout)["services"]["llama3-8b"]
    assert service["command"] == [part.replace("$", "$$") for part in config.arguments], "as config prints them"
    assert service["environment"] == {"HF_TOKEN": "hf-of-the-shell"}
    assert service["stop_grace_period"] == "20s"
