"""Files that are wrong or mean harm: refused with the line, the cause and the next step, and never carried over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from deployments.compose.proposal import Weight
from deployments.compose.reading import MAX_BYTES, MAX_DEPTH, read_tree
from deployments.config_checks import check_values
from deployments.exceptions import ComposeError
from tests.deployments.composing import FILES, imported, left, model_service
from tests.deployments.editing import VALID

LAUGHS = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "billion laughs": (LAUGHS, "Line 5: up to here the file has more than 20000 values, its aliases unfolded."),
    "laughs by merging": (
        "a: &a {k1: [1,2,3,4,5,6,7,8]}\n"
        + "".join(
            f"{n}: &{n} {{x: *{p}, y: *{p}, z: *{p}}}\n" for p, n in zip("abcdefghij", "bcdefghijk", strict=True)
        ),
        "its aliases unfolded",
    ),
    "an alias of itself": ("services: &s\n  llm: *s\n", "Line 2: *s stands for nothing yet"),
    "an alias of nothing": ("services: *nowhere\n", "Line 1: *nowhere stands for nothing yet"),
    "an object": (
        "services:\n  llm: !!python/object/apply:os.system ['id']\n",
        "Line 2: the tag tag:yaml.org,2002:python/object/apply:os.system is not taken.",
    ),
    "a tag of its own": ("services:\n  llm:\n    ports: !reset []\n", "Line 3: the tag !reset is not taken."),
    "a harmless tag": (
        "services:\n  llm:\n    image: !!str x\n",
        "Line 3: the tag tag:yaml.org,2002:str is not taken.",
    ),
    "a key twice": (
        "services:\n  llm:\n    image: one\n    image: two\n",
        "Line 4: “image” stands here twice, first in line 3. Keep one.",
    ),
    "a service twice": ("services:\n  llm: {image: a}\n  llm: {image: b}\n", "Line 3: “llm” stands here twice"),
    "a key that is a list": ("services:\n  ? [a, b]\n  : c\n", "Line 2: a key must be plain text."),
    "two documents": ("services: {a: {image: x}}\n---\nservices: {}\n", "Line 2: a second document begins here."),
    "a tab": (
        "services:\n\tllm:\n\t\timage: x\n",
        "Line 2: it is indented with a tab, which YAML forbids. Use spaces.",
    ),
    "not UTF-8": ("services: {}\n# caf\xe9\n".encode("latin-1"), "Line 2: the file is not UTF-8. Save it as UTF-8"),
    "UTF-16": ("services: {}".encode("utf-16"), "Line 1: the file is not UTF-8."),
    "a NUL": (b"services:\n  llm:\n    image: x\0y\n", "Line 3: the character U+0000 cannot be part of a YAML file."),
    "an escape sequence": ("services:\n  \x1b[31mllm: {}\n", "Line 2: the character U+001B cannot be part"),
    "broken YAML": ("services:\n  llm: [a, b\n", "is not valid YAML"),
    "nothing": ("", "Line 1: a Compose file is a table that begins with “services:”."),
    "a list": ("- services\n", "Line 1: a Compose file is a table"),
    "a text": ("hello", "Line 1: a Compose file is a table"),
    "no services": ("version: '3'\n", "Line 1: the file has no “services:”."),
    "services of the first format": ("llm:\n  image: x\n", "Line 1: the file has no “services:”."),
    "a service that is text": ("services:\n  llm: vllm\n", "Line 2: the service llm is no table."),
    "a merge of a text": ("services:\n  llm:\n    <<: text\n", "Line 3: “<<” merges tables only."),
    "an open quote in a command": (model_service("command: --name 'x"), "Line 4: the command has a quote"),
    "a dollar sign alone": (model_service("command: costs $5"), "Line 4: “$” begins no variable here. Write $$"),
    "a variable that is not closed": (model_service("command: --model ${MODEL"), "Line 4: “${MODEL” is not closed"),
    "a default that is not closed": (model_service("command: --model ${MODEL:-x"), "Line 4: “${” has no “}”."),
    "variables without end": (
        model_service("command: " + "${A:-" * 20 + "x" + "}" * 20),
        "Line 4: variables stand too deep within each other.",
    ),
    "a table in a command": (
        model_service("command:\n  - --model: x"),
        "Line 5: “command” holds a table here, and Compose takes text there. Look at dashes and colons.",
    ),
    "an environment of tables": (model_service("environment:\n  - A: b"), "Line 5: “environment” holds a table here"),
    "an environment of text": (model_service("environment: A=b"), "Line 4: “environment” is text, and Compose takes a"),
    "a variable that is a list": (model_service("environment: {A: [b]}"), "Line 4: “environment” holds a list here"),
    "ports without a list": (model_service("ports: 8000"), "Line 4: “ports” is text, and Compose takes a list."),
    "devices without a list": (
        model_service("deploy: {resources: {reservations: {devices: {count: 1}}}}"),
        "Line 4: “deploy.resources.reservations.devices” is a table, and Compose takes a list.",
    ),
    "nesting within the size": ("services: " + "[" * 5000 + "]" * 5000, f"more than {MAX_DEPTH} deep"),
    "nesting in lines": ("\n".join(" " * depth + "a:" for depth in range(300)), f"more than {MAX_DEPTH} deep"),
    "a megabyte of nesting": (
        "services: " + "[" * 2**20,
        f"The file has 1024 KB; a Compose file has at most {MAX_BYTES // 1024}.",
    ),
    "many values": ("services:\n" + "  - x\n" * 25_000, "more than 20000 values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_file_is_refused_at_once_with_a_sentence(case: str) -> None:
    content, sentence = REFUSED[case]
    began = time.process_time()
    with pytest.raises(ComposeError) as refused:
        imported(content)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")
    assert time.process_time() - began < 2


def test_a_refusal_quotes_no_secret_of_the_file() -> None:
    with pytest.raises(ComposeError) as refused:
        imported("services:\n  llm:\n    environment: {HF_TOKEN: hf_abcdefghijklmnop, [\n")
    assert "hf_abc" not in str(refused.value)


def test_a_chain_of_aliases_is_as_deep_as_what_it_unfolds_to() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))
    with pytest.raises(ComposeError, match=f"more than {MAX_DEPTH} deep"):
        read_tree(chain)


def test_anchors_and_merges_in_measure_are_taken() -> None:
    proposal = imported(
        "x-gpu: &gpu\n  gpus: [{count: 2}]\n  restart: always\nx-more: &more {shm_size: 2g, restart: 'no'}\n"
        "services:\n  llm:\n    <<: [*gpu, *more]\n    image: vllm/vllm-openai:v0.9.1\n    shm_size: 8g\n"
    )
    assert (proposal.values["gpus"], proposal.values["shared_memory"]) == (2, "8g")
    assert "max_attempts" not in proposal.values, "the first merged table wins"


def test_numbers_of_yaml_1_1_do_not_change_a_port() -> None:
    proposal = imported(model_service('ports:\n  - 22:22\nenvironment:\n  A: on\n  B: 0o14\n  C: 1.0\n  D: "null"'))
    assert proposal.values["port"] == 22
    assert proposal.values["environment"] == {"A": "on", "B": "0o14", "C": "1.0", "D": "null"}


DANGERS = {
    "privileged: true": "Privileged mode makes the container root on the host.",
    "privileged: 'yes'": "Privileged mode",
    "network_mode: host": "The host's network",
    "pid: host": "It opens the host to the container",
    "ipc: host": "It shares the memory of all processes of the host",
    "userns_mode: host": "It opens the host",
    "uts: host": "It opens the host",
    "cap_add: [ALL]": "It widens what the container may do",
    "security_opt: [seccomp=unconfined]": "It widens what the container may do",
    "security_opt: [no-new-privileges, apparmor=unconfined]": "It widens what the container may do",
    "devices: [/dev/kmsg]": "It hands out devices of the host by path.",
    "device_cgroup_rules: ['a *:* rwm']": "It widens what the container may do",
    "use_api_socket: true": "the socket of the container engine",
}


@pytest.mark.parametrize("line", DANGERS)
def test_what_opens_the_host_is_never_carried_over_and_called_dangerous(line: str) -> None:
    proposal = imported(model_service(line))
    key = line.partition(":")[0]
    (item,) = (item for item in proposal.left_out if item.key == key)
    assert (item.weight, item.line) == (Weight.DANGEROUS, 4)
    assert DANGERS[line] in item.why
    assert key not in repr(proposal.values)


#: Key -> a part of why it is listed. None of them reads a file, joins another container, or is passed over in silence.
LISTED = {
    "extends: {file: ../../etc/passwd, service: x}": "The file that it names is not part of what was uploaded",
    "env_file: [/etc/shadow, {path: ../.env, required: false}]": "Its files are not part of what was uploaded.",
    "build: {context: /etc, dockerfile: ../x, args: {HF_TOKEN: hf_abcdefghijklmnop}}": "it builds none",
    "secrets: [{source: a, target: /etc/passwd}]": "Its files are not part of what was uploaded.",
    "volumes_from: [other]": "other services are not",
    "network_mode: container:other": "a network of its own",
    "pid: service:other": "It opens the host to the container",
    "cgroup_parent: /x": "It opens the host to the container",
    "group_add: [docker]": "as the user that the image names",
    "sysctls: {kernel.core_pattern: x}": "these settings of the kernel",
    "post_start: [{command: id, privileged: true}]": "nothing in the container but the model",
    "runtime: runc\nscale: 1000000": "one container at a time",
    "PRIVILEGED: true": "Berth does not know this key of Compose.",
    "\u202eprivileged: true": "Berth does not know this key of Compose.",
}


@pytest.mark.parametrize("lines", LISTED)
def test_what_has_no_counterpart_is_listed_with_why(lines: str) -> None:
    proposal = imported(model_service(lines))
    key = lines.splitlines()[-1].partition(":")[0]
    (item,) = (item for item in proposal.left_out if item.key == key)
    assert LISTED[lines] in item.why
    assert item.why.endswith(".")
    assert "hf_abc" not in repr(proposal)


def test_files_that_the_file_includes_are_not_read() -> None:
    proposal = imported("include: [/etc/passwd, {path: ../other.yaml}]\n" + model_service(""))
    assert left(proposal) == {"include"}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("restart: 'on-failure:999999999999999999'", "max_attempts"),
        ("gpus: [{count: 99999999999999999999}]", "gpus"),
        ("shm_size: 99999999999999999999g", "shared_memory"),
    ],
)
def test_a_number_beyond_all_bounds_stops_at_the_form(line: str, field: str) -> None:
    values = imported(model_service(line)).values
    told = check_values({**VALID, field: values[field]}, models={"Llama3-8B"}).problems
    assert {problem.field for problem in told} == {field}


_PIECES = [
    "&a ",
    "*a",
    "<<: ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "\n",
    "  ",
    "!!",
    "${",
    "'",
    '"',
    "|\n",
    "---\n",
    "\x7f",
]
_EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(_PIECES)), min_size=1, max_size=6)


@given(st.sampled_from(sorted(FILES.iterdir())), _EDITS)
def test_a_file_that_is_damaged_anywhere_is_read_or_refused_with_a_sentence(
    path: Path, edits: list[tuple[float, int, str]]
) -> None:
    text = path.read_text()
    for place, drop, piece in edits:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + drop :]
    assert all(sentence.endswith((".", "?")) for sentence in _told(text))


def _told(text: str) -> list[str]:
    """Every sentence that somebody reads of a file. Any other error than a refusal comes through."""
    try:
        return [item.why for item in imported(text).left_out]
    except ComposeError as refusal:
        return [str(refusal)]


MOUNTS = {
    "/var/run/docker.sock:/var/run/docker.sock": "the socket of the container engine",
    "/run/docker.sock:/x:ro": "the socket of the container engine",
    "//var//run/./docker.sock:/x": "the socket of the container engine",
    "/run/containerd/containerd.sock:/x": "the socket of the container engine",
    "/:/host": "/ is the host itself",
    "/etc:/host/etc:ro": "/etc is the host itself",
    "/etc/../etc/shadow:/s": "It leads out of its folder with “..”.",
    "/var/run:/run": "/var/run is the host itself",
    "/proc/1/root:/host": "is the host itself",
    "/var/lib/docker/volumes:/v": "is the host itself",
    "/home/me:/data": "is not below an allowed folder",
    "/srv/models/../../etc:/data": "It leads out of its folder with “..”.",
    "../../etc:/data": "It leads out of its folder with “..”.",
}


@pytest.fixture
def allowed_folder(settings: Settings, tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    settings.BERTH_HOST_PATHS = (folder,)
    return folder


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.usefixtures("allowed_folder")
def test_a_dangerous_mount_is_never_carried_over(mount: str) -> None:
    proposal = imported(model_service(f"volumes: ['{mount}']"))
    assert "volumes" not in proposal.values
    (item,) = proposal.left_out
    assert item.weight is Weight.DANGEROUS
    assert MOUNTS[mount] in item.why


LOSSES = {
    "./models:/models": "beside the Compose file",
    "models/x:/models": "beside the Compose file",
    "~/x:/models": "in somebody's home",
    "${HOME}/x:/models": "told by a variable without a value",
    r"C:\models:/models": "a folder of Windows",
    "c:/models:/models:ro": "a folder of Windows",
    "/models": "a volume without a name",
    "weights:/": "the place of the whole image",
    "weights:/a/../../b": "no plain path within the container",
    "weights:relative": "no plain path within the container",
}


@pytest.mark.parametrize("mount", LOSSES)
@pytest.mark.usefixtures("allowed_folder")
def test_other_mounts_that_a_config_cannot_have_are_listed(mount: str) -> None:
    proposal = imported(model_service(f"volumes: ['{mount}']"))
    assert "volumes" not in proposal.values
    (item,) = proposal.left_out
    assert LOSSES[mount] in item.why


def test_withoutallowed_folders_no_folder_of_the_host_is_carried_over() -> None:
    (item,) = imported(model_service("volumes: [/srv/models:/models]")).left_out
    assert "none may be mounted. Allow some with BERTH_HOST_PATHS." in item.why


def test_anallowed_folder_is_carried_over_unless_a_link_leads_out_of_it(allowed_folder: Path) -> None:
    (allowed_folder / "qwen").mkdir()
    (allowed_folder / "out").symlink_to("/etc")
    proposal = imported(model_service(f"volumes: ['{allowed_folder}/qwen:/m:ro', '{allowed_folder}/out:/o']"))
    assert proposal.values["volumes"] == [f"{allowed_folder}/qwen:/m:ro"]
    assert left(proposal, Weight.DANGEROUS) == {f"volumes: {allowed_folder}/out:/o"}


def test_a_named_volume_that_masks_a_folder_of_the_host_is_that_folder() -> None:
    text = model_service("volumes: ['v:/x', {type: volume, source: w, target: /y}]")
    text += "volumes:\n  v: {driver_opts: {type: none, o: bind, device: /var/run/docker.sock}}\n  w: {name: /etc}\n"
    proposal = imported(text)
    assert "volumes" not in proposal.values
    assert [item.weight for item in proposal.left_out] == [Weight.DANGEROUS] * 2


def test_a_long_mount_of_a_relative_folder_is_no_volume() -> None:
    proposal = imported(model_service("volumes: [{type: bind, source: data, target: /data}]"))
    assert "volumes" not in proposal.values


SECRETS = {
    "environment: [HF_TOKEN=hf_abcdefghijklmnop]": "hf_abcdefghijklmnop",
    "environment: {MY_PASSWORD: correct-horse}": "correct-horse",
    "environment: {ENDPOINT: https://me:correct-horse@example.org}": "correct-horse",
    "environment: {NOTE: 'use hf_abcdefghijklmnop'}": "hf_abcdefghijklmnop",
    "environment: {HF_TOKEN: '${HF_TOKEN:-hf_abcdefghijklmnop}'}": "hf_abcdefghijklmnop",
    "command: --api-key correct-horse --port 8000": "correct-horse",
    "command: --api-key=correct-horse": "correct-horse",
    "command: [--header, sk-abcdefghijklmnopqrs]": "sk-abcdefghijklmnopqrs",
    "command: --admin-password correct-horse --verbose": "correct-horse",
    "command: --proxy https://me:correct-horse@example.org": "correct-horse",
    "command: [sh, -c, 'vllm serve m --api-key correct-horse']": "correct-horse",
    "environment: [hf_abcdefghijklmnop]": "hf_abcdefghijklmnop",
    "command: --hub-token=hf_abcdefghijklmnop": "hf_abcdefghijklmnop",
    "x-berth: {notes: hf_abcdefghijklmnop}": "hf_abcdefghijklmnop",
}


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_written_out_is_not_in_the_proposal(line: str) -> None:
    proposal = imported(model_service(line))
    assert SECRETS[line] not in repr(proposal)
    assert left(proposal), "it is told that something was not kept"


def test_a_secret_given_as_a_variable_is_not_kept_either() -> None:
    proposal = imported(
        model_service("command: --hf-token ${T}\nenvironment: {HF_TOKEN: '${T}'}"), T="hf_abcdefghijklmnop"
    )
    assert "hf_abc" not in repr(proposal)
    assert proposal.values["environment"] == {"HF_TOKEN": "${HF_TOKEN}"}


def test_a_secret_that_the_host_does_not_know_is_told() -> None:
    proposal = imported(model_service("environment: {WANDB_API_KEY: '${WANDB_API_KEY}'}"))
    assert proposal.values["environment"] == {"WANDB_API_KEY": "${WANDB_API_KEY}"}
    assert "a secret that this host does not know. It knows: HF_TOKEN." in proposal.left_out[0].why


def test_the_environment_of_berth_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_BERTH", "do-not-tell")
    proposal = imported(model_service("command: --name $SECRET_OF_BERTH\nenvironment: [SECRET_OF_BERTH]"))
    assert "do-not-tell" not in repr(proposal)
    assert proposal.variables.keys() == {"SECRET_OF_BERTH"}
