"""Import and export of Compose files in the pages and on the command line: what they show, who may, what is saved."""

from __future__ import annotations

import io
import json
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from deployments.compose.reading import MAX_BYTES
from deployments.config_values import ConfigValues
from deployments.models import AuditEntry, CatalogueModel, Config
from tests.deployments.composing import FILES, model_service
from tests.deployments.editing import make_config, person, signed_in, typed, values

pytestmark = pytest.mark.django_db
IMPORT = "/catalogue/new/compose/"
SMALL = model_service(
    "command: [meta-llama/Meta-Llama-3-8B-Instruct, --api-key, correct-horse]\n"
    "privileged: true\nenvironment: [HF_TOKEN]"
)


@pytest.fixture
def editor() -> Client:
    return signed_in("ed", "editor")


def text_of(response: Any) -> str:
    return " ".join(unescape(str(response.content, "utf-8")).split())


def posted(client: Client, text: str = SMALL, **more: Any) -> Any:
    return client.post(IMPORT, {"text": text, "step": "read", **more})


def test_the_page_begins_with_nothing_read(editor: Client) -> None:
    page = text_of(editor.get(IMPORT))
    assert "Nothing was read yet." in page
    assert "Open the form" not in page


def test_a_pasted_file_shows_what_becomes_of_it(editor: Client) -> None:
    page = text_of(posted(editor))
    assert "3 keys are carried over" in page
    assert "2 things are not carried over, 1 of them dangerous." in page
    assert "Privileged mode makes the container root on the host." in page
    assert "--api-key holds a key" in page
    assert "What the form still needs" in page
    assert not Config.objects.exists()


def test_an_uploaded_file_stays_for_the_next_press(editor: Client) -> None:
    upload = SimpleUploadedFile("compose.yaml", (FILES / "webui_and_model.yaml").read_bytes())
    page = text_of(posted(editor, "", upload=upload))
    assert "image: registry.example.org/ai/llm-server:2.1" in page
    assert '<input type="hidden" name="service" value="llm">' in page


def test_another_service_can_be_chosen(editor: Client) -> None:
    text = (FILES / "webui_and_model.yaml").read_text()
    page = text_of(editor.post(IMPORT, {"text": text, "service": ["llm", "database"]}))
    assert 'value="database"' in page
    assert "postgres:17" in page.partition("Carried over")[2]


def test_a_service_of_the_file_before_is_forgotten(editor: Client) -> None:
    assert posted(editor, service="gone").status_code == 200


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text": ""}, "Choose a file, or paste its text."),
        ({"text": "services: {a: &a [*a]}"}, "Line 1: *a stands for nothing yet"),
        ({"text": "#" * (MAX_BYTES + 1)}, "a Compose file has at most 256"),
        ({"text": SMALL, "variables": "what"}, "Variables, line 1: write NAME=value."),
        ({"text": model_service("command: 'a \"b'")}, "Line 4: the command has a quote that is not closed."),
    ],
)
def test_a_refused_file_comes_back_with_the_sentence(editor: Client, fields: dict[str, str], sentence: str) -> None:
    response = editor.post(IMPORT, fields)
    assert response.status_code == 422
    assert sentence in text_of(response)


def test_a_large_upload_is_refused_without_reading_it_whole(editor: Client) -> None:
    response = posted(editor, "", upload=SimpleUploadedFile("compose.yaml", b"#" * 2**20))
    assert response.status_code == 422
    assert "a Compose file has at most 256" in text_of(response)


def test_an_upload_that_is_not_utf8_is_refused(editor: Client) -> None:
    response = posted(editor, "", upload=SimpleUploadedFile("compose.yaml", b"services: \xff"))
    assert (response.status_code, "Line 1: the file is not UTF-8." in text_of(response)) == (422, True)


def test_variables_without_a_value_are_asked_for_and_filled_in(editor: Client) -> None:
    text = model_service("command: --model ${MODEL}")
    assert "These variables have no value." in text_of(posted(editor, text))
    page = text_of(posted(editor, text, variables="MODEL=Qwen/Qwen2-7B"))
    assert "These variables have no value." not in page
    assert "--model Qwen/Qwen2-7B" in page


def test_the_form_opens_filled_in_and_saves_only_when_asked(editor: Client) -> None:
    CatalogueModel.objects.create(name="Llama3-8B")
    response = posted(editor, step="open")
    page = text_of(response)
    assert 'action="/catalogue/new/"' in page
    assert 'data-unsaved="already"' in page, "leaving asks first"
    assert 'value="vllm/vllm-openai:v0.9.1"' in page
    assert '<option value="Llama3-8B" selected>' in page
    assert 'value="From a Compose file, service llm"' in page
    assert "Privileged mode makes the container root on the host." in page
    assert "correct-horse" not in page
    assert not Config.objects.exists()
    saved = editor.post(reverse("deployments:config_new"), typed(name="from-compose"))
    assert saved.status_code == 303
    assert AuditEntry.objects.get(action="config.create").actor == "ed"


def test_the_repository_of_another_config_tells_the_model(editor: Client) -> None:
    make_config(weights_repository="some/finetune")
    page = text_of(posted(editor, model_service("command: some/finetune"), step="open"))
    assert '<option value="Llama3-8B" selected>' in page


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_not_edit_may_not_import(role: str) -> None:
    client = signed_in("vi", role)
    assert client.get(IMPORT).status_code == 403
    assert posted(client).status_code == 403
    assert "Import from Compose" in text_of(client.get(reverse("deployments:catalogue"))), "shown with the reason"
    assert IMPORT not in text_of(client.get(reverse("deployments:catalogue")))


def test_nobody_imports_without_a_token_of_the_page() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person("ed", "editor"))
    assert posted(strict).status_code == 403


def test_the_queries_of_an_import_do_not_grow(
    editor: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        make_config(f"config-{number}", weights_repository=f"some/{number}")
    with django_assert_num_queries(7):
        posted(editor)


# The file of a config


def test_a_viewer_downloads_a_config_as_a_compose_file() -> None:
    make_config(notes="costs $5")
    response = signed_in("vi", "viewer").get(reverse("deployments:config_compose_file", args=["llama3-8b"]))
    assert response["Content-Disposition"] == 'attachment; filename="llama3-8b.compose.yaml"'
    text = str(response.content, "utf-8")
    assert text.startswith("# Config llama3-8b, revision 1, as Berth runs it.")
    assert yaml.safe_load(text)["services"]["llama3-8b"]["x-berth"]["notes"] == "costs $$5"


def test_the_download_is_offered_where_there_is_a_container(editor: Client) -> None:
    make_config()
    address = reverse("deployments:config_compose_file", args=["llama3-8b"])
    assert address in text_of(editor.get(reverse("deployments:config", args=["llama3-8b"])))
    process = {
        "engine": "llama.cpp",
        "runtime": "process",
        "image": "bundle",
        "gpus": 0,
        "memory_gib": 0,
        "volumes": [],
    }
    make_config("small", **process)
    assert "compose.yaml" not in text_of(editor.get(reverse("deployments:config", args=["small"])))
    refused = editor.get(reverse("deployments:config_compose_file", args=["small"]))
    assert refused.status_code == 422
    assert "runs as a process of the host" in text_of(refused)


def test_a_downloaded_file_is_imported_as_the_same_config(editor: Client) -> None:
    config = make_config(notes="two\nlines", start_on_request=True, context_tokens=8192)
    text = str(editor.get(reverse("deployments:config_compose_file", args=[config.name])).content, "utf-8")
    page = editor.post(IMPORT, {"text": text, "step": "open"})
    initial = page.context["form"].initial
    assert ConfigValues.from_json({**ConfigValues.of(config).to_json(), **initial}) == ConfigValues.of(config)
    assert initial["name"] == config.name


# The command line


class Said:
    """How the command ended and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def configs(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    capsys.readouterr()
    code = 0
    try:
        call_command("configs", *arguments)
    except SystemExit as leave:
        code = int(leave.code or 0)
    return Said(code, *capsys.readouterr())


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "compose.yaml"
    path.write_text(SMALL)
    return str(path)


def test_a_command_makes_a_config_and_says_what_it_left(capsys: pytest.CaptureFixture[str], file: str) -> None:
    CatalogueModel.objects.create(name="Llama3-8B")
    said = configs(capsys, "import-compose", file, "--name", "mine", "--memory-gib", "19")
    assert (said.code, said.out.strip()) == (0, "“mine” is in the catalogue.")
    assert "!! privileged (5): Privileged mode" in said.err
    assert " ? engine: vllm. Image or command tell of vLLM." in said.err
    assert "correct-horse" not in said.err
    config = Config.objects.get(name="mine")
    assert (config.model.name, config.memory_gib, config.environment) == ("Llama3-8B", 19, {"HF_TOKEN": "${HF_TOKEN}"})
    assert AuditEntry.objects.filter(action="config.create", target="mine", via="cli").count() == 1


def test_a_dry_run_saves_nothing(capsys: pytest.CaptureFixture[str], file: str) -> None:
    said = configs(capsys, "import-compose", file, "--dry-run", "--json")
    told = json.loads(said.out)
    assert told["values"]["image"] == "vllm/vllm-openai:v0.9.1"
    first = told["left_out"][0]
    assert (first["key"], first["line"], first["dangerous"]) == ("privileged", 5, True)
    assert not Config.objects.exists()


def test_a_file_that_leaves_questions_open_saves_nothing(capsys: pytest.CaptureFixture[str], file: str) -> None:
    said = configs(capsys, "import-compose", file)
    assert said.code == 1
    assert "model: It is missing." in said.err
    assert not Config.objects.exists()


def test_variables_come_from_a_file_or_are_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(model_service("command: ${MODEL}"))
    (tmp_path / "env").write_text("MODEL=a/b\n")
    asked = configs(capsys, "import-compose", str(tmp_path / "c.yaml"), "--model", "x")
    assert asked.code == 1
    assert "MODEL has no value. Give it with --env-file." in asked.err
    given = ("--env-file", str(tmp_path / "env"), "--dry-run", "--json")
    said = configs(capsys, "import-compose", str(tmp_path / "c.yaml"), *given)
    assert json.loads(said.out)["values"]["arguments"] == ["a/b"]


def test_a_file_that_is_not_there_and_a_refused_one_are_sentences(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = configs(capsys, "import-compose", str(tmp_path / "no.yaml"))
    assert (missing.code, "no.yaml cannot be read" in missing.err) == (1, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"services:\n\tx")))
    refused = configs(capsys, "import-compose", "-")
    assert (refused.code, "Line 2: it is indented with a tab" in refused.err) == (1, True)


def test_a_config_is_printed_as_compose_and_as_docker_run(capsys: pytest.CaptureFixture[str]) -> None:
    make_config()
    said = configs(capsys, "export-compose", "llama3-8b")
    assert yaml.safe_load(said.out)["services"]["llama3-8b"]["image"] == values().image
    assert configs(capsys, "export-compose", "llama3-8b", "--docker-run").out.startswith("docker run --rm")
    assert configs(capsys, "export-compose", "nobody").code == 1


def test_the_list_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    make_config()
    assert json.loads(configs(capsys, "--json").out)[0]["config"] == "llama3-8b"
    assert "llama3-8b" in configs(capsys).out
