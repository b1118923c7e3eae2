"""Saving, copying, removing, restoring and going back: revisions, permissions, audit, conflicts."""

from __future__ import annotations

import pytest

from deployments.actors import Actor
from deployments.config_values import ConfigValues
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError, NotFoundError
from deployments.lifecycle.phases import Phase
from deployments.models import AuditEntry, CatalogueModel, Config
from deployments.services.catalogue import (
    archive_config,
    create_config,
    find_revision,
    restore_config,
    rollback_config,
    save_config,
)
from deployments.services.catalogue_models import ModelValues, create_model, delete_model, save_model
from tests.deployments.editing import make_config, make_run, person, values

pytestmark = pytest.mark.django_db
OPS = Actor(name="ops1", via="cli")


def last_audit() -> tuple[str, str, str]:
    entry = AuditEntry.objects.latest("pk")
    return entry.actor, entry.action, entry.target


def test_a_new_config_has_one_revision_by_its_author() -> None:
    config = make_config()
    revision = config.revisions.get()
    assert (config.revision, revision.number, revision.author) == (1, 1, "ops1")
    assert ConfigValues.from_json(revision.values) == values()
    assert last_audit() == ("ops1", "config.create", "llama3-8b")


def test_each_save_is_a_revision_with_author_and_comment() -> None:
    make_config()
    user = person("ed", "editor")
    result = save_config("llama3-8b", values(port=8001), actor=Actor.person(user), comment="port was taken")
    assert result.revision is not None
    assert (result.revision.number, result.revision.author, result.revision.comment) == (2, "ed", "port was taken")
    assert result.revision.user == user
    assert Config.objects.get().port == 8001
    assert AuditEntry.objects.latest("pk").detail == {"revision": 2, "fields": ["port"]}


def test_a_save_without_a_change_makes_no_revision_and_no_audit() -> None:
    make_config()
    before = AuditEntry.objects.count()
    result = save_config("llama3-8b", values(), actor=OPS, comment="nothing")
    assert result.revision is None
    assert Config.objects.get().revision == 1
    assert AuditEntry.objects.count() == before


def test_a_save_from_an_old_revision_is_a_conflict_and_writes_nothing() -> None:
    make_config()
    save_config("llama3-8b", values(port=8001), actor=OPS, base_revision=1)
    with pytest.raises(ConflictError, match="revision 2"):
        save_config("llama3-8b", values(port=8002), actor=OPS, base_revision=1)
    assert Config.objects.get().port == 8001


def test_two_people_who_save_the_same_values_do_not_conflict() -> None:
    make_config()
    save_config("llama3-8b", values(port=8001), actor=OPS, base_revision=1)
    assert save_config("llama3-8b", values(port=8001), actor=OPS, base_revision=1).revision is None


def test_going_back_is_a_new_revision() -> None:
    make_config()
    save_config("llama3-8b", values(port=8001), actor=OPS)
    result = rollback_config("llama3-8b", 1, actor=OPS, base_revision=2)
    assert result.revision is not None
    assert (result.revision.number, result.revision.comment) == (3, "Back to revision 1")
    assert Config.objects.get().port == 8000
    assert find_revision("llama3-8b", 2).values["port"] == 8001


def test_going_back_to_a_model_that_is_gone_is_refused() -> None:
    make_config(model="Other")
    CatalogueModel.objects.create(name="Llama3-8B")
    save_config("llama3-8b", values(), actor=OPS)
    delete_model("Other", actor=OPS)
    with pytest.raises(InvalidInputError, match="model: There is no model “Other”"):
        rollback_config("llama3-8b", 1, actor=OPS)


def test_a_name_is_taken_once() -> None:
    make_config()
    with pytest.raises(InvalidInputError, match="already") as refused:
        create_config("llama3-8b", values(), actor=OPS)
    assert list(refused.value.fields) == ["name"]


@pytest.mark.parametrize("name", ["", "New", "new", "a b", "-x", "ü", "a/b"])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    CatalogueModel.objects.create(name="Llama3-8B")
    with pytest.raises(InvalidInputError):
        create_config(name, values(), actor=OPS)
    assert not Config.objects.exists()


def test_removing_keeps_revisions_and_can_be_taken_back() -> None:
    make_config()
    assert archive_config("llama3-8b", actor=OPS)
    assert not archive_config("llama3-8b", actor=OPS)
    assert Config.objects.get().archived_at is not None
    with pytest.raises(ConflictError, match="Restore it first"):
        save_config("llama3-8b", values(port=1), actor=OPS)
    with pytest.raises(InvalidInputError, match="Restore that one"):
        create_config("llama3-8b", values(), actor=OPS)
    assert restore_config("llama3-8b", actor=OPS)
    assert not restore_config("llama3-8b", actor=OPS)
    assert last_audit() == ("ops1", "config.restore", "llama3-8b")


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.READY, Phase.BACKOFF, Phase.STOPPING])
def test_a_config_in_use_cannot_be_removed(phase: Phase) -> None:
    run = make_run(make_config(), phase)
    with pytest.raises(ConflictError, match=f"deployment {run.pk} is .*Stop it first"):
        archive_config("llama3-8b", actor=OPS)
    assert Config.objects.get().archived_at is None


def test_a_config_that_ran_before_can_be_removed() -> None:
    make_run(make_config(), Phase.FAILED)
    assert archive_config("llama3-8b", actor=OPS)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_editors_change_the_catalogue(role: str) -> None:
    make_config()
    actor = Actor.person(person("someone", role))
    for attempt in (
        lambda: create_config("other", values(), actor=actor),
        lambda: save_config("llama3-8b", values(port=1), actor=actor),
        lambda: rollback_config("llama3-8b", 1, actor=actor),
        lambda: archive_config("llama3-8b", actor=actor),
        lambda: restore_config("llama3-8b", actor=actor),
        lambda: create_model("Other", ModelValues(), actor=actor),
        lambda: save_model("Llama3-8B", ModelValues(vision=True), actor=actor),
        lambda: delete_model("Llama3-8B", actor=actor),
    ):
        with pytest.raises(NotAllowedError, match="editor role"):
            attempt()
    assert Config.objects.get().revision == 1


def test_what_does_not_exist_is_told_by_name() -> None:
    for attempt in (
        lambda: save_config("nothing", values(), actor=OPS),
        lambda: archive_config("nothing", actor=OPS),
        lambda: rollback_config("nothing", 1, actor=OPS),
        lambda: save_model("nothing", ModelValues(), actor=OPS),
    ):
        CatalogueModel.objects.get_or_create(name="Llama3-8B")
        with pytest.raises(NotFoundError, match="nothing"):
            attempt()


def test_a_model_is_made_changed_and_deleted_with_an_audit_row_each() -> None:
    create_model("Tiny", ModelValues(parameters_b=0.1), actor=OPS)
    assert save_model("Tiny", ModelValues(parameters_b=0.2), actor=OPS)
    assert not save_model("Tiny", ModelValues(parameters_b=0.2), actor=OPS)
    delete_model("Tiny", actor=OPS)
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["model.create", "model.save", "model.delete"]


def test_a_model_that_a_config_serves_cannot_be_deleted() -> None:
    make_config()
    with pytest.raises(ConflictError, match="served by llama3-8b"):
        delete_model("Llama3-8B", actor=OPS)


def test_a_model_name_is_taken_once_and_fits_an_address() -> None:
    create_model("Tiny", ModelValues(), actor=OPS)
    for name in ("Tiny", "a/b", "", "new"):
        with pytest.raises(InvalidInputError) as refused:
            create_model(name, ModelValues(), actor=OPS)
        assert list(refused.value.fields) == ["name"]
