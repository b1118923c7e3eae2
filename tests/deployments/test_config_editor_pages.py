"""The editor's pages: whole page and fragment, who may do what, nothing typed is lost."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from deployments.actors import Actor
from deployments.lifecycle.phases import Phase
from deployments.models import CatalogueModel, Config
from deployments.services.catalogue import archive_config, save_config
from tests.deployments.editing import make_config, make_run, signed_in, typed, values

pytestmark = pytest.mark.django_db
OPS2 = Actor(name="ops2", via="cli")
FRAGMENT = {"HX-Request": "true"}


def address(page: str, *args: object) -> str:
    return reverse(f"deployments:{page}", args=args)


@pytest.fixture
def editor() -> Client:
    return signed_in("ed", "editor")


@pytest.fixture
def viewer() -> Client:
    return signed_in("vi", "viewer")


def text_of(response: Any) -> str:
    return unescape(str(response.content, "utf-8"))


# The config's page


def test_the_page_of_a_config_shows_what_will_run(viewer: Client) -> None:
    make_config(notes="Fits one 24 GB card.", licence="llama3", licence_note="Research only.", gated=True)
    page = text_of(viewer.get(address("config", "llama3-8b")))
    assert "vllm/vllm-openai:v0.32.0" in page
    assert "<li><code>--max-model-len</code></li>" in page
    assert "HF_TOKEN=${HF_TOKEN}" in page
    assert "docker run --rm" in page
    assert "Fits one 24 GB card." in page
    assert "Research only." in page
    assert "Gated weights" in page
    assert "19 GiB in all is what placement looks for" in page


def test_a_secret_never_reaches_the_page(viewer: Client, settings: Settings) -> None:
    settings.BERTH_SECRETS = {"HF_TOKEN": "hf_verysecretverysecret"}
    make_config()
    page = text_of(viewer.get(address("config", "llama3-8b")))
    assert "verysecret" not in page
    assert "secret, set on this host" in page


def test_a_secret_that_the_host_lacks_is_told(viewer: Client, settings: Settings) -> None:
    settings.BERTH_SECRETS = {"HF_TOKEN": ""}
    make_config()
    assert "HF_TOKEN is not set on this host" in text_of(viewer.get(address("config", "llama3-8b")))


def test_past_runs_show_how_long_they_took_and_why_they_ended(viewer: Client) -> None:
    # As the lifecycle leaves it: when it answered is the attempt's to keep.
    run = make_run(make_config(), Phase.FAILED, reason="vanished", ready_at=None)
    run.attempts.create(number=1, started_at=run.created_at, ready_at=timezone.now())
    type(run).objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(seconds=42))
    page = text_of(viewer.get(address("config", "llama3-8b")))
    assert "42 s" in page
    assert "The process disappeared" in page


def test_past_runs_show_how_long_the_load_took_and_the_most_memory_it_held(viewer: Client) -> None:
    run = make_run(make_config(), Phase.STOPPED)
    began = timezone.now()
    for number, ready_s, peak in ((1, None, None), (2, 75, 61.2)):
        run.attempts.create(
            number=number,
            started_at=began,
            ready_at=began + timedelta(seconds=ready_s) if ready_s else None,
            peak_memory_bytes=int(peak * 1024**3) if peak else None,
        )
    page = text_of(viewer.get(address("config", "llama3-8b"), headers=FRAGMENT))
    assert '<td class="number" data-label="Load time">1 min</td>' in page
    assert '<td class="number" data-label="Peak memory">61.2 GiB</td>' in page


def test_the_memory_estimate_shows_its_arithmetic_and_what_was_observed(viewer: Client) -> None:
    config = make_config(weights_gb=16.1, gpus=2, memory_gib=40, context_tokens=8192)
    CatalogueModel.objects.update(layers=32, kv_heads=8, head_dimension=128)
    began = timezone.now()
    make_run(config, Phase.STOPPED).attempts.create(
        number=1, started_at=began, ready_at=began, peak_memory_bytes=int(61.2 * 1024**3)
    )
    page = " ".join(text_of(viewer.get(address("config", "llama3-8b"))).split())
    assert "2 × 32 × 8 × 128 × 2 B × 8192 × 1" in page
    assert "overhead of each GPU 2.5 GiB (assumed)" in page
    assert 'data-label="In all">21.0 GiB</td> <td class="number" data-label="Each GPU">10.5 GiB</td>' in page
    assert "Observed 61.2 GiB in 1 run; the estimate says 21.0 GiB." in page
    assert "claims 92 % of all memory of each GPU" in page


def test_a_config_without_gpus_shows_no_estimate(viewer: Client) -> None:
    make_config(gpus=0, memory_gib=0)
    assert "Memory estimate" not in text_of(viewer.get(address("config", "llama3-8b")))


def test_htmx_gets_the_state_and_the_runs_alone(viewer: Client) -> None:
    make_run(make_config())
    response = viewer.get(address("config", "llama3-8b"), headers=FRAGMENT)
    page = text_of(response).strip()
    assert page.startswith('<section id="config-state"')
    assert "<html" not in page


def test_a_running_deployment_keeps_its_revision_and_the_page_says_what_differs(viewer: Client) -> None:
    run = make_run(make_config())
    save_config("llama3-8b", values(port=8001, notes="new"), actor=OPS2)
    page = " ".join(text_of(viewer.get(address("config", "llama3-8b"))).split())
    assert f"Deployment {run.pk} keeps the specification of revision 1" in page
    assert "<summary>port</summary>" in page


def test_an_edit_of_the_notes_alone_is_no_difference(viewer: Client) -> None:
    make_run(make_config())
    save_config("llama3-8b", values(notes="new"), actor=OPS2)
    assert "data-drift" not in text_of(viewer.get(address("config", "llama3-8b")))


def test_a_viewer_sees_the_buttons_and_why_they_cannot_be_pressed(viewer: Client) -> None:
    make_config()
    page = text_of(viewer.get(address("config", "llama3-8b")))
    assert "Editing the catalogue needs the editor role." in page
    assert "Starting and stopping needs the operator role." in page
    assert address("config_edit", "llama3-8b") not in page


def test_an_unknown_config_is_told_with_near_names(viewer: Client) -> None:
    make_config()
    response = viewer.get(address("config", "llama3-8"))
    assert response.status_code == 404
    assert "llama3-8b" in text_of(response)


def test_a_removed_config_keeps_its_page_and_offers_to_restore(editor: Client) -> None:
    make_config()
    archive_config("llama3-8b", actor=OPS2)
    page = text_of(editor.get(address("config", "llama3-8b")))
    assert "was removed from the catalogue" in page
    assert "Press Start" not in page
    assert address("config_restore", "llama3-8b") in page
    assert address("config_edit", "llama3-8b") not in page
    assert editor.post(address("config_restore", "llama3-8b")).status_code == 303
    assert Config.objects.get().archived_at is None


def test_the_page_asks_a_fixed_number_of_queries(
    viewer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    config = make_config()
    viewer.get(address("config", "llama3-8b"))
    for _ in range(30):
        make_run(config, Phase.STOPPED)
    make_run(config)
    for port in range(8001, 8009):
        save_config("llama3-8b", values(port=port), actor=OPS2)
    # Session, person, config, live runs, newest runs with their attempts, the sizes of GPUs, observed memory,
    # revisions, the two sets of permissions, and groups.
    with django_assert_num_queries(20):
        viewer.get(address("config", "llama3-8b"))


# Editing


def test_saving_makes_a_revision_and_leads_back_to_the_page(editor: Client) -> None:
    make_config()
    response = editor.post(address("config_edit", "llama3-8b"), typed(port="8001", base_revision="1", comment="moved"))
    assert response.status_code == 303
    assert response["Location"] == address("config", "llama3-8b")
    revision = Config.objects.get().revisions.get(number=2)
    assert (revision.author, revision.comment, revision.values["port"]) == ("ed", "moved", 8001)


def test_saving_what_is_there_already_makes_no_revision_and_says_so(editor: Client) -> None:
    make_config()
    response = editor.post(address("config_edit", "llama3-8b"), typed(base_revision="1"), follow=True)
    assert "Nothing differs from revision 1, so nothing was saved." in text_of(response)
    assert Config.objects.get().revision == 1


def test_opening_and_saving_the_form_unchanged_changes_nothing(editor: Client) -> None:
    """Every field survives the way to the browser and back."""
    make_config(
        memory_gib=19.5,
        weights_gb=16.1,
        context_tokens=8192,
        notes="First line.\nSecond line.",
        gated=True,
        shared_memory="16g",
        environment={"A": "x=y", "HF_TOKEN": "${HF_TOKEN}"},
        arguments=["m", "--chat-template", "{{ '\\n' }} <b>&amp;", "User: "],
    )
    form = editor.get(address("config_edit", "llama3-8b")).context["form"]
    posted = {field.html_name: field.value() for field in form if field.value() not in (None, False)}
    editor.post(address("config_edit", "llama3-8b"), posted)
    assert Config.objects.get().revision == 1


def test_a_problem_names_field_line_and_reason_and_nothing_typed_is_lost(editor: Client) -> None:
    make_config()
    sent = typed(
        base_revision="1",
        arguments="m\r\n\r\n--tp 4",
        environment="HF_TOKEN=plain\r\nnonsense",
        port="eighty",
        notes="My long notes.",
        comment="why",
    )
    response = editor.post(address("config_edit", "llama3-8b"), sent)
    page = text_of(response)
    assert response.status_code == 422
    assert "Line 3: “--tp 4” is an option and its value." in page
    assert "Line 2: write NAME=value." in page
    assert "Enter a whole number." in page
    for kept in ("--tp 4", "HF_TOKEN=plain\r\nnonsense", 'value="eighty"', "My long notes.", 'value="why"'):
        assert kept in page
    assert Config.objects.get().revision == 1


def test_an_unknown_engine_lists_the_known_ones_at_its_field(editor: Client) -> None:
    make_config()
    response = editor.post(address("config_edit", "llama3-8b"), typed(base_revision="1", engine="vlm"))
    assert response.status_code == 422
    assert "Known engines:" in response.context["form"].errors["engine"][0]


def test_an_edit_on_top_of_somebody_elses_shows_theirs_and_keeps_mine(editor: Client) -> None:
    make_config()
    save_config("llama3-8b", values(port=8001), actor=OPS2)
    mine = typed(base_revision="1", notes="mine")
    response = editor.post(address("config_edit", "llama3-8b"), mine)
    page = " ".join(text_of(response).split())
    assert response.status_code == 409
    assert "What changed since revision 1:" in page
    assert "<code>8001</code>" in page
    assert ">mine</textarea>" in page.replace("> mine", ">mine")
    assert 'name="base_revision" value="2"' in page
    assert Config.objects.get().revision == 2
    again = editor.post(address("config_edit", "llama3-8b"), {**mine, "base_revision": "2"})
    assert again.status_code == 303
    assert (Config.objects.get().port, Config.objects.get().notes) == (8000, "mine")


def test_warnings_are_shown_after_a_save_that_they_do_not_stop(editor: Client) -> None:
    make_config()
    response = editor.post(address("config_edit", "llama3-8b"), typed(base_revision="1", gpus="4"), follow=True)
    assert "no argument tells the engine to use more than one" in text_of(response)
    assert Config.objects.get().gpus == 4


def test_a_name_cannot_be_changed_by_editing(editor: Client) -> None:
    make_config()
    editor.post(address("config_edit", "llama3-8b"), typed(base_revision="1", name="other", port="8001"))
    assert list(Config.objects.values_list("name", "port")) == [("llama3-8b", 8001)]


# New and copy


def test_a_new_config_is_made(editor: Client) -> None:
    CatalogueModel.objects.create(name="Llama3-8B")
    assert editor.get(address("config_new")).status_code == 200
    response = editor.post(address("config_new"), typed(name="mine"))
    assert response["Location"] == address("config", "mine")
    assert Config.objects.get().revisions.get().author == "ed"


def test_a_taken_name_is_told_at_the_name(editor: Client) -> None:
    make_config()
    response = editor.post(address("config_new"), typed(name="llama3-8b"))
    assert response.status_code == 422
    assert "already" in response.context["form"].errors["name"][0]


def test_an_empty_form_tells_every_missing_field(editor: Client) -> None:
    response = editor.post(address("config_new"), {"comment": "x"})
    assert response.status_code == 422
    assert {"name", "model", "engine", "image", "port"} <= set(response.context["form"].errors)


def test_a_copy_starts_with_the_values_of_its_source(editor: Client) -> None:
    make_config(notes="Copied notes.")
    page = text_of(editor.get(address("config_copy", "llama3-8b")))
    assert "Copied notes." in page
    assert 'value="llama3-8b-copy"' in page
    editor.post(address("config_copy", "llama3-8b"), typed(name="llama3-8b-mine", port="8005"))
    assert Config.objects.get(name="llama3-8b-mine").port == 8005
    assert Config.objects.get(name="llama3-8b").port == 8000


# Preview


def test_the_preview_follows_what_is_typed(editor: Client) -> None:
    make_config()
    response = editor.post(
        address("config_preview"), typed(editing="llama3-8b", port="8009", gpus="4"), headers=FRAGMENT
    )
    page = text_of(response)
    assert "<html" not in page
    assert "--publish 127.0.0.1:8009:8009" in page
    assert "What this save changes against revision 1" in " ".join(page.split())
    assert "no argument tells the engine to use more than one" in page
    assert Config.objects.get().revision == 1


def test_the_preview_of_something_wrong_names_the_fields(editor: Client) -> None:
    CatalogueModel.objects.create(name="Llama3-8B")
    page = text_of(editor.post(address("config_preview"), typed(name="mine", port="0")))
    assert "The preview follows once these are right:" in page
    assert '<a href="#id_port">Port</a>' in page


# Removing


def test_removing_asks_first_and_then_removes(editor: Client) -> None:
    make_config()
    assert "can be restored" in text_of(editor.get(address("config_delete", "llama3-8b")))
    response = editor.post(address("config_delete", "llama3-8b"))
    assert (response.status_code, response["Location"]) == (303, address("catalogue"))
    assert Config.objects.get().archived_at is not None


def test_removing_a_config_in_use_is_refused_with_a_sentence(editor: Client) -> None:
    make_run(make_config())
    asked = text_of(editor.get(address("config_delete", "llama3-8b")))
    assert 'aria-disabled="true" data-why="It is in use. Stop it first."' in asked
    response = editor.post(address("config_delete", "llama3-8b"))
    assert response.status_code == 409
    assert "Stop it first, then remove it." in text_of(response)


# Revisions


def test_a_revision_shows_what_it_changed_and_the_way_back(editor: Client) -> None:
    make_config()
    save_config("llama3-8b", values(port=8001, arguments=["other"]), actor=OPS2)
    page = " ".join(text_of(editor.get(address("config_revision", "llama3-8b", 2))).split())
    assert "What it changed" in page
    assert "<code>8001</code>" in page
    assert "Its values are those of the current revision 2." in page
    older = text_of(editor.get(address("config_revision", "llama3-8b", 1)))
    assert "Go back to revision 1" in older
    fragment = text_of(editor.get(address("config_revision", "llama3-8b", 1), headers=FRAGMENT)).strip()
    assert fragment.startswith('<div id="revision-changes">')


def test_going_back_makes_a_new_revision(editor: Client) -> None:
    make_config()
    save_config("llama3-8b", values(port=8001), actor=OPS2)
    response = editor.post(address("config_revision", "llama3-8b", 1), {"base_revision": "2"})
    assert response.status_code == 303
    assert (Config.objects.get().port, Config.objects.get().revision) == (8000, 3)


def test_going_back_after_somebody_else_saved_is_refused(editor: Client) -> None:
    make_config()
    save_config("llama3-8b", values(port=8001), actor=OPS2)
    save_config("llama3-8b", values(port=8002), actor=OPS2)
    response = editor.post(address("config_revision", "llama3-8b", 1), {"base_revision": "2"})
    assert response.status_code == 409
    assert "Somebody saved revision 3" in text_of(response)


def test_a_revision_that_never_was_is_told(editor: Client) -> None:
    make_config()
    response = editor.get(address("config_revision", "llama3-8b", 9))
    assert response.status_code == 404
    assert "has no revision 9" in text_of(response)


# Models


def test_models_are_listed_with_their_configs_in_fixed_queries(
    viewer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_config()
    for number in range(5):
        make_config(f"other-{number}", model=f"M{number}")
    page = text_of(viewer.get(address("model_list")))
    assert address("config", "llama3-8b") in page
    assert address("model_edit", "M1") not in page
    assert "needs the editor role" in page
    # Session, person, the two sets of permissions, models, configs, and groups.
    with django_assert_num_queries(7):
        viewer.get(address("model_list"))
    fragment = text_of(viewer.get(address("model_list"), headers=FRAGMENT)).strip()
    assert fragment.startswith('<div id="models">')


def test_a_model_is_made_edited_and_deleted(editor: Client) -> None:
    assert editor.post(address("model_new"), {"name": "Tiny", "parameters_b": "0.1"}).status_code == 303
    assert editor.get(address("model_edit", "Tiny")).status_code == 200
    shape = {"layers": "30", "kv_heads": "3", "head_dimension": "64"}
    editor.post(address("model_edit", "Tiny"), {"description": "small", "vision": "on", **shape})
    tiny = CatalogueModel.objects.get()
    assert (tiny.name, tiny.description, tiny.vision) == ("Tiny", "small", True)
    assert (tiny.layers, tiny.kv_heads, tiny.head_dimension) == (30, 3, 64)
    assert editor.post(address("model_delete", "Tiny")).status_code == 303
    assert not CatalogueModel.objects.exists()


def test_a_wrong_model_is_told_at_its_field(editor: Client) -> None:
    response = editor.post(address("model_new"), {"name": "a/b", "parameters_b": "-1"})
    assert response.status_code == 422
    assert set(response.context["form"].errors) == {"parameters_b"}
    response = editor.post(address("model_new"), {"name": "a/b"})
    assert set(response.context["form"].errors) == {"name"}
    for wrong in ("0", "70000"):
        response = editor.post(address("model_new"), {"name": "Tiny", "layers": wrong})
        assert set(response.context["form"].errors) == {"layers"}


def test_a_served_model_is_not_deleted(editor: Client) -> None:
    make_config()
    response = editor.post(address("model_delete", "Llama3-8B"))
    assert response.status_code == 409
    assert "is served by llama3-8b" in text_of(response)


# Who may, and how

EDITOR_PAGES = [
    ("config_new", ()),
    ("config_edit", ("llama3-8b",)),
    ("config_copy", ("llama3-8b",)),
    ("config_delete", ("llama3-8b",)),
    ("model_new", ()),
    ("model_edit", ("Llama3-8B",)),
]
POSTS = [
    *EDITOR_PAGES,
    ("config_preview", ()),
    ("config_restore", ("llama3-8b",)),
    ("config_revision", ("llama3-8b", 1)),
    ("model_delete", ("Llama3-8B",)),
]
READ_PAGES = [("config", ("llama3-8b",)), ("config_revision", ("llama3-8b", 1)), ("model_list", ())]


@pytest.mark.parametrize(("page", "args"), EDITOR_PAGES)
def test_an_editor_opens_the_page(editor: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    assert editor.get(address(page, *args)).status_code == 200


@pytest.mark.parametrize(("page", "args"), EDITOR_PAGES)
def test_others_are_told_which_role_is_missing(viewer: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    response = viewer.get(address(page, *args))
    assert response.status_code == 403
    assert "editor role" in text_of(response)


@pytest.mark.parametrize(("page", "args"), POSTS)
def test_others_cannot_post(viewer: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    response = viewer.post(address(page, *args), typed(name="other"))
    assert response.status_code == 403
    assert list(Config.objects.values_list("name", "revision")) == [("llama3-8b", 1)]


@pytest.mark.parametrize(("page", "args"), [*POSTS, *READ_PAGES])
def test_whoever_is_not_signed_in_is_sent_to_the_sign_in(client: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    assert client.post(address(page, *args)).status_code == 302


@pytest.mark.parametrize(("page", "args"), [("config", ("llama3-8b",)), ("model_list", ())])
def test_pages_that_only_show_take_no_post(editor: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    assert editor.post(address(page, *args)).status_code == 405


@pytest.mark.parametrize(
    ("page", "args"), [("config_preview", ()), ("config_restore", ("llama3-8b",)), ("model_delete", ("Llama3-8B",))]
)
def test_what_changes_something_takes_no_get(editor: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    assert editor.get(address(page, *args)).status_code == 405


@pytest.mark.parametrize(("page", "args"), EDITOR_PAGES)
def test_no_editor_page_takes_a_put(editor: Client, page: str, args: tuple[object, ...]) -> None:
    make_config()
    assert editor.put(address(page, *args)).status_code == 405


# The engine's arguments


def test_the_arguments_are_written_for_the_chosen_engine(editor: Client) -> None:
    make_config()
    sent = typed(engine="sglang", weights_repository="org/model", served_name="mine", gpus="4", context_tokens="8192")
    response = editor.post(address("config_arguments"), sent, headers=FRAGMENT)
    page = text_of(response)
    assert page.startswith("<textarea")
    assert "--model-path\norg/model\n--tp\n4\n--context-length\n8192\n--served-model-name\nmine\n" in page
    assert 'id="id_arguments"' in page
    assert "change" in response["HX-Trigger-After-Swap"]


def test_what_is_missing_or_wrong_elsewhere_leaves_the_template_readable(editor: Client) -> None:
    page = text_of(editor.post(address("config_arguments"), {"engine": "vllm", "gpus": "many"}))
    assert "ORGANISATION/MODEL\n--served-model-name\nmodel" in page


@pytest.mark.parametrize("engine", ["custom", "nope", ""])
def test_without_a_template_the_arguments_stay_as_typed(editor: Client, engine: str) -> None:
    page = text_of(editor.post(address("config_arguments"), typed(engine=engine, arguments="--mine")))
    assert "--mine</textarea>" in page


def test_only_editors_have_arguments_written(viewer: Client, editor: Client) -> None:
    assert viewer.post(address("config_arguments"), typed()).status_code == 403
    assert editor.get(address("config_arguments")).status_code == 405
