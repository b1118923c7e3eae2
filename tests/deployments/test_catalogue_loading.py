"""Loading the catalogue at start: complete, repeatable, and never over what a person edited."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries, Settings

from deployments.actors import Actor
from deployments.catalogue.loading import LoadReport, load_catalogue
from deployments.config_values import ConfigValues
from deployments.exceptions import CatalogueError, NotAllowedError
from deployments.models import AuditEntry, CatalogueModel, Config, ConfigRevision
from deployments.services.catalogue import archive_config, rollback_config, save_config
from deployments.services.catalogue_models import ModelValues, save_model
from tests.deployments.editing import make_config, person, values, write_catalogue
from tests.deployments.test_catalogue_reading import GOOD

pytestmark = pytest.mark.django_db
OPS = Actor(name="ops1", via="cli")


def load(folder: Path, text: str = GOOD) -> LoadReport:
    write_catalogue(folder, text)
    return load_catalogue(Actor.berth(), folders=[folder])


def edited(name: str, **changes: object) -> ConfigValues:
    config = Config.objects.select_related("model").get(name=name)
    return ConfigValues.from_json({**ConfigValues.of(config).to_json(), **changes})


def test_the_first_start_makes_all_twenty_configs_at_revision_1() -> None:
    report = load_catalogue(Actor.berth())
    assert len(report.created) == 21
    assert Config.objects.filter(revision=1).count() == 21
    assert set(ConfigRevision.objects.values_list("author", flat=True)) == {"berth"}
    assert AuditEntry.objects.get().action == "catalogue.load"


def test_a_second_start_writes_nothing_and_asks_twice(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    load_catalogue(Actor.berth())
    with django_assert_num_queries(2):
        report = load_catalogue(Actor.berth())
    assert not report.changed
    assert len(report.unchanged) == 21
    assert ConfigRevision.objects.count() == 21


def test_a_config_that_nobody_touched_follows_its_file_as_a_revision(tmp_path: Path) -> None:
    load(tmp_path)
    report = load(tmp_path, GOOD.replace("port: 8000", "port: 8001"))
    assert report.updated == ("one",)
    config = Config.objects.get(name="one")
    assert (config.port, config.revision) == (8001, 2)
    assert config.revisions.get(number=2).author == "berth"


def test_a_config_that_a_person_edited_is_never_overwritten(tmp_path: Path) -> None:
    load(tmp_path)
    save_config("one", edited("one", port=9999), actor=OPS)
    report = load(tmp_path, GOOD.replace("port: 8000", "port: 8001"))
    assert report.kept == ("one",)
    assert not report.changed
    assert Config.objects.get(name="one").port == 9999


def test_a_config_that_went_back_to_its_file_follows_it_again(tmp_path: Path) -> None:
    load(tmp_path)
    save_config("one", edited("one", port=9999), actor=OPS)
    rollback_config("one", 1, actor=OPS)
    assert load(tmp_path, GOOD.replace("port: 8000", "port: 8001")).updated == ("one",)


def test_a_config_that_a_person_made_under_the_same_name_stays(tmp_path: Path) -> None:
    make_config("one", port=7777)
    assert load(tmp_path).kept == ("one",)
    assert Config.objects.get(name="one").port == 7777


def test_a_removed_config_stays_removed(tmp_path: Path) -> None:
    load(tmp_path)
    archive_config("one", actor=OPS)
    assert load(tmp_path, GOOD.replace("port: 8000", "port: 8001")).kept == ("one",)
    removed = Config.objects.get(name="one")
    assert removed.archived_at is not None
    assert removed.port == 8000


def test_a_config_whose_file_is_gone_stays(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "own.yaml").unlink()
    assert not load_catalogue(Actor.berth(), folders=[tmp_path]).changed
    assert Config.objects.filter(name="one", archived_at=None).exists()


def test_a_model_follows_its_file_until_a_person_edits_it(tmp_path: Path) -> None:
    load(tmp_path)
    report = load(tmp_path, GOOD.replace("name: M", "name: M\n    description: first"))
    assert report.models_updated == ("M",)
    save_model("M", ModelValues(description="mine"), actor=OPS)
    load(tmp_path, GOOD.replace("name: M", "name: M\n    description: second"))
    assert CatalogueModel.objects.get(name="M").description == "mine"


def test_nothing_is_loaded_when_anything_is_wrong(tmp_path: Path) -> None:
    bad = GOOD.replace("name: one", "name: two").replace("port: 8000", "port: 0").replace("name: M", "name: N")
    write_catalogue(tmp_path, bad, "zz.yaml")
    with pytest.raises(CatalogueError, match=r"zz\.yaml:13: config two: port: "):
        load(tmp_path)
    assert not Config.objects.exists()
    assert not CatalogueModel.objects.exists()


def test_the_folder_of_the_installation_is_loaded_after_the_built_in_files(tmp_path: Path, settings: Settings) -> None:
    settings.BERTH_DATA_DIR = tmp_path
    write_catalogue(tmp_path / "catalogue", GOOD)
    assert "one" in load_catalogue(Actor.berth()).created


def test_a_viewer_may_not_load() -> None:
    with pytest.raises(NotAllowedError):
        load_catalogue(Actor.person(person("viewer1", "viewer")))


def test_a_new_field_with_a_default_changes_no_digest() -> None:
    plain = values()
    assert plain.digest == values(notes="", max_attempts=3).digest
    assert plain.digest != values(max_attempts=4).digest


def test_the_command_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("load_catalogue")
    call_command("load_catalogue")
    out = capsys.readouterr().out
    assert "Added: " in out
    assert "smollm2-135m" in out
    assert out.rstrip().endswith("The catalogue is up to date.")
