"""What the docker command prints while it builds: recorded output of real builds, read into steps and sentences."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from deployments.exceptions import BuildError
from deployments.runtimes.docker import build_client
from deployments.runtimes.docker.build_failures import failure
from deployments.runtimes.docker.build_output import BoundedLog, BuildOutput
from deployments.runtimes.docker.building import BuildRequest, build_argv
from deployments.secret_references import HIDDEN

RECORDED = Path(__file__).parent.parent / "recordings" / "docker_build"

#: What could not be recorded beside the others, written after BuildKit's sources: a client of 2024, an image that its
#: registry does not know, a full disk.
WRITTEN = {
    "newer": f"""\
#4 [1/2] FROM docker.io/library/alpine:3@sha256:{"5" * 64}
#4 resolve docker.io/library/alpine:3@sha256:{"5" * 64} 0.0s done
#4 DONE 1.2s
#5 [2/2] RUN true
#5 DONE 0.2s
#6 exporting to image
#6 DONE 0.0s""",
    "no_base": """\
#3 [internal] load metadata for docker.io/library/nosuch:1
#3 ERROR: pull access denied, repository does not exist or may require authorization: server message: denied
------
 > [internal] load metadata for docker.io/library/nosuch:1:
------
failed to solve: docker.io/library/nosuch:1: pull access denied, repository does not exist""",
    "disk_full": """\
#5 [2/2] RUN dd if=/dev/zero of=/x
#5 3.121 dd: error writing '/x': No space left on device
#5 ERROR: executor failed running [/bin/sh -c dd if=/dev/zero of=/x]: exit code: 1""",
}


def read(name: str, **options: object) -> BuildOutput:
    output = BuildOutput(**options)  # type: ignore[arg-type]
    text = WRITTEN[name] if name in WRITTEN else (RECORDED / f"{name}.txt").read_text()
    for line in text.splitlines():
        output.take(line)
    return output


def test_steps_have_their_states_and_seconds() -> None:
    steps = [(each.text, each.state, each.seconds) for each in read("cached").steps()]
    assert steps == [
        ("[one 1/3] FROM docker.io/berth-test/busybox:2", "done", 0.0),
        ("[one 2/3] RUN echo hello && sleep 1 && echo world", "cached", 0.0),
        ("[one 3/3] RUN --mount=type=secret,id=hf_token sleep 0.7; echo used", "done", 1.0),
        ("[stage-1 2/2] COPY --from=one /bin/tiny /tiny", "cached", 0.0),
        ("exporting to image", "done", 0.0),
    ]


def test_a_newer_client_tells_the_digest_of_the_base() -> None:
    output = read("newer")
    assert output.base_digest == "sha256:" + "5" * 64
    assert [each.state for each in output.steps()] == ["done", "done", "done"]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("step_fails", "step_failed", "The step “[2/2] RUN echo so; false” failed: exit code: 1"),
        ("no_network", "no_network", "The base image docker.io/nosuch/image:1 is not on this node"),
        ("no_base", "base_image_missing", "The base image docker.io/library/nosuch:1 does not exist"),
        ("does_not_parse", "dockerfile_invalid", "Line 2 of the Dockerfile does not parse: unknown instruction: RNU"),
        ("disk_full", "no_disk_space", "The node's disk is full."),
        ("file_missing", "file_missing", "needs /nowhere, which the build context does not hold"),
        ("no_engine", "engine_silent", "The container engine does not answer: "),
    ],
)
def test_each_failure_is_a_sentence(name: str, code: str, said: str) -> None:
    error = failure(read(name), 1)
    assert error.code == code, str(error)
    assert said.replace("exit code: 1", "exit code 1") in str(error)


def test_a_secret_is_hidden_wherever_it_is_printed() -> None:
    output = BuildOutput(secrets=["hf_secret\nsecond line", "hf_secret-longer"])
    for line in ("#5 [1/1] RUN echo hf_secret", "#5 0.1 second line and hf_secret-longer", "#5 ERROR: hf_secret"):
        output.take(line)
    shown = output.log.text() + output.error + output.steps()[0].text
    assert "hf_secret" not in shown
    assert "second line" not in shown
    assert HIDDEN in output.error


def test_control_characters_do_not_reach_the_log() -> None:
    output = BuildOutput()
    output.take("#1 \x1b[31mred\x1b[0m\0 text\r")
    assert output.log.text() == "#1 red text"


def test_a_long_log_keeps_its_head_and_its_tail_and_marks_the_gap() -> None:
    log = BoundedLog()
    for number in range(20_000):
        log.add(f"line {number} {'x' * 20}")
    text = log.text()
    assert len(text) < 130_000
    assert text.startswith("line 0 x")
    assert text.endswith(f"line 19999 {'x' * 20}")
    gap = next(line for line in text.splitlines() if line.startswith("…"))
    assert "lines are left out here" in gap
    assert text.count("\n") + int("".join(filter(str.isdigit, gap))) == 20_000


def test_a_line_without_end_is_cut() -> None:
    log = BoundedLog()
    log.add("y" * 1_000_000)
    assert len(log.text()) == 2_000


def request(tmp_path: Path) -> BuildRequest:
    return BuildRequest(
        mark="m",
        folder=tmp_path,
        context=Path("-rf"),
        dockerfile="FROM a\n",
        tag="berth/a:1",
        arguments={"A": "1; rm -rf /"},
        secrets={"HF_TOKEN": "hf_value"},
        labels={"berth.delivery": "1"},
        no_cache=True,
    )


def test_the_command_line_is_a_list_without_any_secret(tmp_path: Path) -> None:
    argv = build_argv("/usr/bin/docker", request(tmp_path))
    assert argv[:3] == ["/usr/bin/docker", "build", "--progress=plain"]
    assert argv[-2:] == ["--", "-rf"]
    pairs = list(pairwise(argv))
    for pair in (
        ("--build-arg", "A=1; rm -rf /"),
        ("--secret", "id=hf_token,env=HF_TOKEN"),
        ("--label", "berth.delivery=1"),
        ("--iidfile", str(tmp_path / "image-id")),
    ):
        assert pair in pairs
    assert "--no-cache" in argv
    assert not any("hf_value" in part for part in argv)
    assert "hf_value" not in repr(request(tmp_path))


def client(folder: Path, version: str, *, buildx: bool = False) -> Path:
    folder.mkdir()
    program = folder / "docker"
    plugin = "exit 0" if buildx else "exit 1"
    program.write_text(f'#!/bin/sh\n[ "$1" = buildx ] && {plugin}\necho "Docker version {version}, build 1"\n')
    program.chmod(0o755)
    return program


def test_a_client_that_can_is_found_behind_those_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lame, old, good = (tmp_path / name for name in ("lame", "old", "good"))
    client(lame, "28.2.2")
    client(old, "19.03.1")
    monkeypatch.setattr(build_client, "USUAL", ())
    monkeypatch.setenv("PATH", os.pathsep.join([str(lame), str(old)]))
    with pytest.raises(BuildError) as refused:
        build_client.find_client()
    assert refused.value.code == "no_build_client"
    assert f"{lame}/docker: without the buildx plug-in" in str(refused.value)
    assert f"{old}/docker: version 19.3 is too old" in str(refused.value)
    wanted = client(good, "20.10.24+dfsg1")
    monkeypatch.setattr(build_client, "USUAL", (str(good),))
    assert build_client.find_client() == str(wanted)
    newer = tmp_path / "newer"
    monkeypatch.setenv("PATH", str(newer))
    assert build_client.find_client() == str(wanted)
    assert build_client.find_client() != str(client(newer, "27.1.1", buildx=True))
    assert build_client.find_client() == str(newer / "docker")


def test_a_node_without_a_client_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_client, "USUAL", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="There is no docker command on this node"):
        build_client.find_client()


def test_the_client_speaks_to_the_runtimes_engine_and_gets_nothing_of_berths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/other.sock")
    monkeypatch.setenv("SECRET_KEY", "x")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    environment = build_client.client_environment()
    assert environment["DOCKER_HOST"] == "unix:///run/other.sock"
    assert environment["HTTPS_PROXY"] == "http://proxy:1"
    assert environment["DOCKER_BUILDKIT"] == "1"
    assert not {"SECRET_KEY", "DOCKER_CONTEXT", "DATABASE_URL"} & set(environment)
