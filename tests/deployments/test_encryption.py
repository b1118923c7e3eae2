"""Stored secrets: encrypted by keys of a file, rotated, and a sentence where the right key is missing."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from pytest_django import Settings

from deployments.actors import Actor
from deployments.encryption import rotation
from deployments.encryption.keys import read_keys, write_keys
from deployments.encryption.sealing import SecretUnreadableError, seal, unseal
from deployments.exceptions import InvalidInputError, NotAllowedError
from deployments.models import AuditEntry, Registry
from tests.deployments.editing import person
from tests.deployments.pushing import HOST, SECRET, make_registry

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def keys(settings: Settings, tmp_path: Path) -> Path:
    settings.BERTH_SECRETS_KEY_FILE = tmp_path / "made" / "secrets.keys"
    return tmp_path / "made" / "secrets.keys"


def stored() -> str:
    return str(Registry.objects.get().secret)


def test_a_secret_is_stored_encrypted_by_a_key_that_only_its_owner_may_read(keys: Path) -> None:
    make_registry()
    assert SECRET not in stored()
    assert unseal(stored()) == SECRET
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert len(read_keys()) == 1


def test_no_key_is_made_for_no_secret(keys: Path) -> None:
    assert seal("") == unseal("") == ""
    assert not keys.exists()


def test_without_the_key_file_nothing_is_decrypted_and_no_second_key_is_made(keys: Path) -> None:
    make_registry()
    keys.unlink()
    with pytest.raises(SecretUnreadableError, match=r"no key file at .*secrets\.keys"):
        unseal(stored())
    with pytest.raises(SecretUnreadableError, match="no key file"):
        make_registry("another")
    assert not keys.exists()


def test_another_key_is_a_sentence_that_names_the_file() -> None:
    make_registry()
    write_keys([Fernet.generate_key().decode()])
    with pytest.raises(SecretUnreadableError, match=r"another key than those in .*secrets\.keys"):
        unseal(stored())


@pytest.mark.parametrize("content", [b"no key", b"\xff\xfe\x00"])
def test_a_file_that_holds_no_keys_is_a_sentence(keys: Path, content: bytes) -> None:
    make_registry()
    keys.write_bytes(content)
    with pytest.raises(InvalidInputError, match="key file"):
        unseal(stored())


def test_rotation_leaves_one_new_key_that_opens_everything(keys: Path) -> None:
    make_registry("one")
    make_registry("two")
    make_registry("open", username="", password="")
    before = read_keys()
    out = StringIO()
    call_command("secrets", "rotate", stdout=out)
    (after,) = read_keys()
    assert after not in before
    assert [unseal(each) for each in Registry.objects.order_by("name").values_list("secret", flat=True)] == [
        SECRET,
        "",
        SECRET,
    ]
    assert "2 passwords have a new key" in out.getvalue()
    assert str(keys) in out.getvalue()
    assert SECRET not in out.getvalue() + str(AuditEntry.objects.values_list("detail", flat=True))
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_a_rotation_that_was_killed_in_the_middle_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    make_registry()
    (old,) = read_keys()

    def killed(_keys: tuple[str, ...]) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rotation, "_reseal", killed)
        with pytest.raises(KeyboardInterrupt):
            rotation.rotate(actor=HOST)
    assert old in read_keys()
    assert unseal(stored()) == SECRET
    rotation.rotate(actor=HOST)
    assert unseal(stored()) == SECRET
    assert len(read_keys()) == 1


def test_a_secret_that_no_key_opens_stops_a_rotation_before_anything_is_changed() -> None:
    make_registry()
    write_keys([Fernet.generate_key().decode()])
    before = (stored(), read_keys())
    with pytest.raises(SecretUnreadableError):
        rotation.rotate(actor=HOST)
    assert (stored(), read_keys()) == before


def test_only_admins_and_the_host_rotate() -> None:
    with pytest.raises(NotAllowedError):
        rotation.rotate(actor=Actor.person(person("ed", "editor")))
