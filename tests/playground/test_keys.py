"""Making and revoking gateway keys: the services, the page, the command."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError, NotAllowedError, NotFoundError
from deployments.models import AuditEntry
from playground.models import GatewayKey
from playground.services import keys as service
from playground.services.keys import create_key, find_key, revoke_key

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]

KEYS = "/keys/"
HTMX = {"HX-Request": "true"}
CLI = Actor.command_line()


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_a_made_key_is_found_by_its_secret_and_by_nothing_else() -> None:
    made = create_key(" notebook ", actor=CLI)
    assert made.key.name == "notebook"
    assert made.secret.startswith(f"berth-{made.key.prefix}-")
    assert find_key(made.secret) == made.key
    for wrong in ("", made.secret[:-1], made.secret + "x", made.secret.upper(), f"berth-{made.key.prefix}-" + "A" * 43):
        assert find_key(wrong) is None


def test_a_key_expires() -> None:
    made = create_key("short", actor=CLI, expires_in_days=1)
    assert made.key.state == "active"
    assert made.key.state_at(timezone.now() + timedelta(days=1, seconds=1)) == "expired"


@pytest.mark.parametrize(
    ("name", "days", "field"),
    [
        ("", None, "name"),
        ("  ", None, "name"),
        ("x" * 101, None, "name"),
        ("a\nb", None, "name"),
        ("a", 0, "expires_in_days"),
        ("a", 4000, "expires_in_days"),
    ],
)
def test_wrong_input_names_the_field(name: str, days: int | None, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        create_key(name, actor=CLI, expires_in_days=days)
    assert list(caught.value.fields) == [field]
    assert not GatewayKey.objects.exists()


def test_a_name_is_free_again_once_its_key_is_revoked() -> None:
    first = create_key("app", actor=CLI)
    with pytest.raises(InvalidInputError, match="called app already"):
        create_key("app", actor=CLI)
    revoke_key(first.key.pk, actor=CLI)
    assert create_key("app", actor=CLI).key.pk != first.key.pk


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_a_second_key_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    create_key("app", actor=CLI)
    monkeypatch.setattr(service, "_check_input", lambda *_: None)
    with pytest.raises(InvalidInputError, match="called app already"):
        create_key("app", actor=CLI)
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_revoking_is_announced_audited_and_repeatable(redis_server: redis.Redis) -> None:
    made = create_key("app", actor=CLI)
    listener = redis_server.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    listener.subscribe("berth:keys:changed")
    listener.get_message(timeout=1)
    assert revoke_key(made.key.pk, actor=CLI).changed
    assert listener.get_message(timeout=2) is not None
    again = revoke_key(made.key.pk, actor=CLI)
    assert not again.changed
    assert again.key.state == "revoked"
    listener.close()
    assert list(AuditEntry.objects.order_by("id").values_list("action", "target")) == [
        ("key.create", "app"),
        ("key.revoke", "app"),
    ]


def test_no_secret_reaches_the_audit() -> None:
    made = create_key("app", actor=CLI)
    assert made.secret.rsplit("-", 1)[1] not in str([vars(entry) for entry in AuditEntry.objects.all()])


def test_only_an_admin_may_make_and_revoke(operator: User, admin: User) -> None:
    made = create_key("app", actor=Actor.person(admin))
    assert made.key.made_by == "chief"
    with pytest.raises(NotAllowedError, match="admin"):
        create_key("other", actor=Actor.person(operator))
    with pytest.raises(NotAllowedError, match="admin"):
        revoke_key(made.key.pk, actor=Actor.person(operator))
    with pytest.raises(NotFoundError):
        revoke_key(made.key.pk + 1, actor=Actor.person(admin))


def test_the_page_shows_a_new_key_once(admin: User) -> None:
    client = signed_in(admin)
    made = client.post(reverse("playground:key_create"), {"name": "app", "expires_in_days": "7"})
    key = GatewayKey.objects.get()
    shown = made.content.decode()
    assert made.status_code == 200
    assert f"berth-{key.prefix}-" in shown
    assert 'id="key-secret"' in shown
    assert "no-store" in made["Cache-Control"]
    assert key.expires_at is not None
    again = client.get(KEYS).content.decode()
    assert 'id="key-secret"' not in again
    assert f"berth-{key.prefix}-…" in again


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_new_key_goes_out_uncompressed(admin: User, headers: dict[str, str]) -> None:
    client, zipped = signed_in(admin), {"Accept-Encoding": "gzip"}
    made = client.post(reverse("playground:key_create"), {"name": "app"}, headers=zipped | headers)
    assert 'id="key-secret"' in made.content.decode()
    assert "Content-Encoding" not in made.headers
    assert {"no-store", "no-transform"} <= set(made["Cache-Control"].split(", "))
    assert client.get(KEYS, headers=zipped | headers)["Content-Encoding"] == "gzip"


def test_the_page_keeps_what_was_written_when_it_was_wrong(admin: User) -> None:
    create_key("app", actor=CLI)
    answer = signed_in(admin).post(reverse("playground:key_create"), {"name": "app", "expires_in_days": "30"})
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert "called app already" in shown
    assert 'value="app"' in shown
    assert '<option value="30" selected>' in shown
    answer = signed_in(admin).post(reverse("playground:key_create"), {"name": "b", "expires_in_days": "soon"})
    assert answer.status_code == 422


def test_htmx_gets_the_list_or_a_notice_alone(admin: User) -> None:
    client = signed_in(admin)
    made = client.post(reverse("playground:key_create"), {"name": "app"}, headers=HTMX)
    assert "<html" not in made.content.decode()
    assert "key-secret" in made.content.decode()
    refused = client.post(reverse("playground:key_create"), {"name": "app"}, headers=HTMX)
    assert refused.status_code == 422
    assert "data-notice" in refused.content.decode()


def test_opening_the_address_that_makes_keys_leads_to_the_page_of_keys(admin: User) -> None:
    client = signed_in(admin)
    answer = client.get(reverse("playground:key_create"))
    assert (answer.status_code, answer["Location"]) == (302, KEYS)
    assert client.put(reverse("playground:key_create")).status_code == 405


def test_revoking_on_the_page(admin: User) -> None:
    key = create_key("app", actor=CLI).key
    client = signed_in(admin)
    address = reverse("playground:key_revoke", args=[key.pk])
    assert client.get(address).status_code == 405
    answer = client.post(address)
    assert (answer.status_code, answer["Location"]) == (303, KEYS)
    assert client.post(address, headers=HTMX).status_code == 200
    key.refresh_from_db()
    assert (key.state, key.revoked_by) == ("revoked", "chief")
    assert client.post(reverse("playground:key_revoke", args=[999])).status_code == 404


def test_who_may_not_make_keys_is_told_why(viewer: User) -> None:
    create_key("app", actor=CLI)
    client = signed_in(viewer)
    shown = client.get(KEYS).content.decode()
    assert shown.count("needs the admin role") >= 2
    assert "hx-post" not in shown.split('id="keys"')[1].split("keys-table")[1]
    assert client.post(reverse("playground:key_create"), {"name": "b"}).status_code == 403
    assert Client().get(KEYS).status_code == 302


def test_the_list_costs_the_same_however_long_it_is(admin: User) -> None:
    client = signed_in(admin)
    client.get(KEYS)
    with CaptureQueriesContext(connection) as few:
        client.get(KEYS)
    for number in range(20):
        create_key(f"app-{number}", actor=CLI)
    with CaptureQueriesContext(connection) as many:
        client.get(KEYS)
    assert len(few) == len(many) < 10


def test_the_command_makes_lists_and_revokes(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("key", "create", "app", "--expires", "3")
    secret = capsys.readouterr().out.strip()
    assert find_key(secret) is not None
    call_command("key", "list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert [(entry["name"], entry["state"]) for entry in listed] == [("app", "active")]
    call_command("key", "list")
    assert "app  berth-" in capsys.readouterr().out
    call_command("key", "revoke", "app")
    call_command("key", "revoke", "app")
    assert "was revoked before" in capsys.readouterr().out


def test_the_command_names_near_keys(capsys: pytest.CaptureFixture[str]) -> None:
    create_key("notebook", actor=CLI)
    with pytest.raises(SystemExit) as caught:
        call_command("key", "revoke", "notebok")
    assert caught.value.code == 1
    assert "Did you mean notebook?" in capsys.readouterr().err
