"""What is made true before the processes start: once, repeatably, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard import installing
from dashboard.installing import ADMIN_NAME, first_admin, install, migrate
from deployments.exceptions import CatalogueError
from deployments.models import AuditEntry, Config

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.BERTH_DATA_DIR = tmp_path
    (tmp_path / "catalogue").mkdir()
    return tmp_path


def admin_with(password: str) -> bool:
    request = RequestFactory().post("/accounts/login/")
    user = authenticate(request, username=ADMIN_NAME, password=password)
    return isinstance(user, User) and user.is_superuser


def test_the_first_time_tells_how_to_sign_in() -> None:
    told = install("")
    assert told[0].startswith("Catalogue: 21 configs new")
    assert told[1].startswith("Sign in as “admin” with the password ")
    assert told[1].endswith(" (shown only now).")
    assert admin_with(told[1].split("password ")[1].split()[0])


def test_the_second_time_has_nothing_to_tell_and_writes_nothing() -> None:
    install("")
    audited = AuditEntry.objects.count()
    assert install("another-password") == []
    assert AuditEntry.objects.count() == audited
    assert not admin_with("another-password")


def test_a_given_password_is_used_and_never_printed() -> None:
    assert not any("correct horse" in line for line in install("correct horse"))
    assert admin_with("correct horse")


def test_the_first_admin_is_in_the_group_and_audited() -> None:
    first_admin("correct horse")
    assert User.objects.get().groups.get().name == "admin"
    row = AuditEntry.objects.get(action="person.create")
    assert (row.actor, row.via, row.target) == ("berth", "system", "admin")


def test_where_there_is_an_admin_of_any_name_none_is_made() -> None:
    User.objects.create_superuser("root", password="x")
    assert first_admin("correct horse") is None
    assert not User.objects.filter(username=ADMIN_NAME).exists()


def test_a_person_who_is_called_admin_is_left_as_they_are() -> None:
    User.objects.create_user(ADMIN_NAME, password="theirs")
    assert first_admin("correct horse") is None
    person = User.objects.get()
    assert (person.is_superuser, person.check_password("theirs")) == (False, True)


def test_an_up_to_date_schema_is_not_migrated_again(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(installing, "call_command", lambda *args, **options: pytest.fail("it migrated"))
    with django_assert_num_queries(2):
        assert migrate() is False


def test_a_malformed_catalogue_changes_nothing_and_names_file_and_line(data_dir: Path) -> None:
    (data_dir / "catalogue" / "own.yaml").write_text("configs:\n  - name: [unclosed\n")
    with pytest.raises(CatalogueError, match=r"own\.yaml:\d+"):
        install("correct horse")
    assert Config.objects.count() == 0
    assert User.objects.count() == 0


def test_the_command_prints_what_there_is_to_tell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_ADMIN_PASSWORD", "correct horse")
    call_command("install")
    assert capsys.readouterr().out.startswith("Catalogue: 21 configs new")
    call_command("install")
    assert capsys.readouterr().out.strip() == ""


def test_the_command_says_what_is_wrong_with_the_catalogue(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    (data_dir / "catalogue" / "own.yaml").write_text("configs: 3\n")
    with pytest.raises(SystemExit) as leave:
        call_command("install")
    assert leave.value.code == 1
    assert "own.yaml" in capsys.readouterr().err
