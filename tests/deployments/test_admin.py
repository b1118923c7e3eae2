"""Django's stock admin: configs and models through the services, everything else read-only."""

from __future__ import annotations

from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from deployments.actors import Actor
from deployments.lifecycle.phases import Phase
from deployments.models import AuditEntry, CatalogueModel, Config
from deployments.services.catalogue import save_config
from tests.deployments.editing import make_config, make_run, typed, values

pytestmark = pytest.mark.django_db
READ_ONLY = ["configrevision", "deployment", "deploymentevent", "attempt", "auditentry", "node", "fetch"]


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:deployments_{name}", args=args)


def posted(model: CatalogueModel, **changes: object) -> dict[str, object]:
    return typed(model=str(model.pk), **changes)


def test_saving_a_config_makes_a_revision_by_the_person(admin: Client) -> None:
    config = make_config()
    sent = posted(config.model, port="8001", base_revision="1", comment="by hand")
    assert admin.post(page("config_change", config.pk), sent).status_code == 302
    revision = Config.objects.get().revisions.get(number=2)
    assert (revision.author, revision.comment, revision.values["port"]) == ("boss", "by hand", 8001)
    assert AuditEntry.objects.latest("pk").action == "config.save"


def test_saving_a_config_unchanged_makes_no_revision(admin: Client) -> None:
    config = make_config()
    admin.post(page("config_change", config.pk), posted(config.model, base_revision="1"))
    assert Config.objects.get().revision == 1


def test_a_config_is_added_with_its_first_revision(admin: Client) -> None:
    model = CatalogueModel.objects.create(name="Llama3-8B")
    assert admin.post(page("config_add"), posted(model, name="mine", base_revision="0")).status_code == 302
    assert Config.objects.get(name="mine").revisions.get().author == "boss"


def test_the_same_rules_hold_as_in_the_editor(admin: Client) -> None:
    config = make_config()
    sent = posted(config.model, engine="vlm", arguments="m\n\n--tp 4", base_revision="1")
    response = admin.post(page("config_change", config.pk), sent)
    errors = response.context["adminform"].form.errors
    assert "Known engines:" in errors["engine"][0]
    assert errors["arguments"][0].startswith("Line 3: ")
    assert Config.objects.get().revision == 1


def test_a_name_of_a_page_is_refused(admin: Client) -> None:
    model = CatalogueModel.objects.create(name="Llama3-8B")
    response = admin.post(page("config_add"), posted(model, name="new", base_revision="0"))
    assert "address of a page" in response.context["adminform"].form.errors["name"][0]


def test_an_edit_on_top_of_somebody_elses_is_refused(admin: Client) -> None:
    config = make_config()
    save_config("llama3-8b", values(port=8001), actor=Actor(name="ops2", via="cli"))
    response = admin.post(page("config_change", config.pk), posted(config.model, base_revision="1", port="8002"))
    assert "Somebody saved another revision meanwhile." in unescape(response.content.decode())
    assert Config.objects.get().port == 8001


def test_configs_are_removed_and_restored_by_actions_and_never_deleted(admin: Client) -> None:
    free, used = make_config(), make_config("used")
    make_run(used, Phase.READY)
    chosen = {"action": "remove", "_selected_action": [free.pk, used.pk]}
    response = admin.post(page("config_changelist"), chosen, follow=True)
    assert "Stop it first" in unescape(response.content.decode())
    assert [config.archived_at is None for config in Config.objects.order_by("pk")] == [False, True]
    admin.post(page("config_changelist"), {**chosen, "action": "restore"})
    assert not Config.objects.filter(archived_at__isnull=False).exists()
    assert admin.post(page("config_delete", free.pk), {"post": "yes"}).status_code == 403


def test_a_model_is_added_and_changed_through_the_services(admin: Client) -> None:
    assert admin.post(page("cataloguemodel_add"), {"name": "Tiny"}).status_code == 302
    model = CatalogueModel.objects.get()
    admin.post(page("cataloguemodel_change", model.pk), {"description": "small", "kv_heads": "8"})
    model.refresh_from_db()
    assert (model.description, model.kv_heads) == ("small", 8)
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["model.create", "model.save"]
    response = admin.post(page("cataloguemodel_add"), {"name": "a/b"})
    assert "name" in response.context["adminform"].form.errors


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_only_berth_writes_is_read_only(admin: Client, name: str) -> None:
    make_run(make_config(), Phase.STOPPED)
    assert admin.get(page(f"{name}_changelist")).status_code == 200
    assert admin.get(page(f"{name}_add")).status_code == 403


def test_a_revision_can_be_looked_at_but_not_changed(admin: Client) -> None:
    revision = make_config().revisions.get()
    assert admin.get(page("configrevision_change", revision.pk)).status_code == 200
    assert admin.post(page("configrevision_change", revision.pk), {"author": "x"}).status_code == 403
    assert admin.post(page("configrevision_delete", revision.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("name", ["config", "cataloguemodel"])
def test_the_lists_and_forms_open(admin: Client, name: str) -> None:
    config = make_config()
    pk = config.pk if name == "config" else config.model.pk
    assert admin.get(page(f"{name}_changelist")).status_code == 200
    assert admin.get(page(f"{name}_change", pk)).status_code == 200
    assert admin.get(page(f"{name}_add")).status_code == 200
