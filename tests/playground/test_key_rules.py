"""Scopes and limits of a key: the services, the page, the command, and what the gateway makes of them."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError, NotAllowedError, NotFoundError
from deployments.models import AuditEntry, CatalogueModel, Config
from playground.gateway.auth import Authenticator, Caller
from playground.key_rules import NO_RULES, KeyRules
from playground.models import GatewayKey
from playground.selectors_keys import key_scopes
from playground.services.keys import create_key, edit_key, revoke_key
from tests.deployments.editing import make_config

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
CLI = Actor.command_line()


@pytest.fixture
def config() -> Config:
    """A config of a model in the catalogue."""
    CatalogueModel.objects.get_or_create(name="Tiny")
    return make_config("tiny_1")


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_a_key_has_the_rules_that_it_was_made_with(config: Config) -> None:
    rules = KeyRules(models=("tiny_1",), endpoints=("chat",), requests_per_minute=5, tokens_per_day=100)
    key = create_key("app", actor=CLI, rules=rules).key
    key.refresh_from_db()
    assert key.rules == rules
    assert AuditEntry.objects.get(action="key.create").detail["requests_per_minute"] == 5
    assert not create_key("free", actor=CLI).key.limits


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (KeyRules(requests_per_minute=0), "requests_per_minute"),
        (KeyRules(tokens_per_minute=-1), "tokens_per_minute"),
        (KeyRules(tokens_per_day=10**13), "tokens_per_day"),
        (KeyRules(endpoints=("chats",)), "endpoints"),
        (KeyRules(models=("tiny_2",)), "models"),
    ],
)
def test_wrong_rules_name_the_field(config: Config, rules: KeyRules, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        create_key("app", actor=CLI, rules=rules)
    assert list(caught.value.fields) == [field]
    assert field != "models" or "Did you mean tiny_1" in str(caught.value)


@pytest.mark.django_db(transaction=True)
def test_editing_is_announced_audited_and_repeatable(redis_server: redis.Redis) -> None:
    key = create_key("app", actor=CLI).key
    listener = redis_server.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    listener.subscribe("berth:keys:changed")
    listener.get_message(timeout=1)
    end = timezone.now() + timedelta(days=3)
    for changed in (True, False):
        result = edit_key(key.pk, actor=CLI, rules=KeyRules(tokens_per_minute=50), expires_at=end)
        assert result.changed is changed
        assert result.key.tokens_per_minute == 50
    assert listener.get_message(timeout=2) is not None
    listener.close()
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == ["key.create", "key.edit"]
    assert AuditEntry.objects.latest("id").detail["tokens_per_minute"] == 50


def test_only_an_admin_may_edit_and_only_a_key_that_lives(operator: User) -> None:
    key = create_key("app", actor=CLI).key
    with pytest.raises(NotAllowedError, match="admin"):
        edit_key(key.pk, actor=Actor.person(operator), rules=NO_RULES, expires_at=None)
    with pytest.raises(InvalidInputError, match="between 1 and"):
        edit_key(key.pk, actor=CLI, rules=NO_RULES, expires_at=timezone.now() - timedelta(days=1))
    revoke_key(key.pk, actor=CLI)
    with pytest.raises(InvalidInputError, match="is revoked"):
        edit_key(key.pk, actor=CLI, rules=NO_RULES, expires_at=None)
    with pytest.raises(NotFoundError):
        edit_key(key.pk + 1, actor=CLI, rules=NO_RULES, expires_at=None)


def test_a_model_includes_its_configs_and_not_the_other_way_round(config: Config) -> None:
    model = config.model.name
    by_model = key_scopes(create_key("a", actor=CLI, rules=KeyRules(models=(model,))).key)
    by_config = key_scopes(create_key("b", actor=CLI, rules=KeyRules(models=("tiny_1",))).key)
    assert by_model.allows_model("TINY_1")
    assert by_model.allows_model(model)
    assert by_config.allows_model("tiny_1")
    assert by_config.allows_model(model) is (model.casefold() == "tiny_1")


@pytest.mark.django_db(transaction=True)
def test_the_gateway_knows_limits_and_scopes_of_a_caller() -> None:
    rules = KeyRules(endpoints=("chat",), requests_per_minute=3)
    made, free = create_key("app", actor=CLI, rules=rules), create_key("free", actor=CLI)
    authenticator = Authenticator()

    def caller_of(secret: str) -> Caller:
        return asyncio.run(authenticator.check({b"authorization": f"Bearer {secret}".encode()}))

    caller, other = caller_of(made.secret), caller_of(free.secret)
    assert caller.key_id == made.key.pk
    assert caller.limits is not None
    assert caller.limits.requests_per_minute == 3
    assert caller.scopes is not None
    assert not caller.scopes.allows_endpoint("images")
    assert (other.limits, other.scopes) == (None, None)


def test_rules_are_set_and_changed_on_the_page(admin: User, config: Config) -> None:
    client = signed_in(admin)
    client.post(
        reverse("playground:key_create"),
        {"name": "app", "models": ["tiny_1"], "endpoints": ["chat", "images"], "requests_per_minute": "60"},
    )
    key = GatewayKey.objects.get()
    assert key.rules == KeyRules(models=("tiny_1",), endpoints=("chat", "images"), requests_per_minute=60)
    assert "60 requests/min" in client.get("/keys/").content.decode()
    address = reverse("playground:key_edit", args=[key.pk])
    shown = client.get(address).content.decode()
    assert 'value="tiny_1" checked' in shown
    assert 'value="60"' in shown
    answer = client.post(address, {"tokens_per_day": "1000", "expires_in_days": "7"})
    assert (answer.status_code, answer["Location"]) == (303, "/keys/")
    key.refresh_from_db()
    assert key.rules == KeyRules(tokens_per_day=1000)
    assert key.expires_at is not None
    client.post(address, {"tokens_per_day": "1000", "expires_in_days": "0"})
    key.refresh_from_db()
    assert key.expires_at is None


def test_the_page_keeps_what_was_written_when_it_was_wrong(admin: User, config: Config) -> None:
    client = signed_in(admin)
    key = create_key("app", actor=CLI).key
    wrong = {"name": "b", "requests_per_minute": "many", "endpoints": ["chat"]}
    for address in (reverse("playground:key_create"), reverse("playground:key_edit", args=[key.pk])):
        answer = client.post(address, wrong)
        shown = answer.content.decode()
        assert answer.status_code == 422
        assert 'value="many"' in shown
        assert 'value="chat" checked' in shown
        assert "A limit is a whole number" in shown


def test_names_that_left_the_catalogue_stay_with_their_key(admin: User, config: Config) -> None:
    key = create_key("app", actor=CLI, rules=KeyRules(models=("tiny_1",))).key
    Config.objects.filter(pk=config.pk).update(archived_at=timezone.now())
    client = signed_in(admin)
    address = reverse("playground:key_edit", args=[key.pk])
    assert "tiny_1 (not in the catalogue)" in client.get(address).content.decode()
    assert client.post(address, {"models": ["tiny_1"], "requests_per_minute": "5"}).status_code == 303


def test_who_may_not_edit_is_refused(viewer: User) -> None:
    key = create_key("app", actor=CLI).key
    client = signed_in(viewer)
    address = reverse("playground:key_edit", args=[key.pk])
    assert client.get(address).status_code == 403
    assert client.post(address, {}).status_code == 403
    assert address not in client.get("/keys/").content.decode()


def test_the_command_sets_and_changes_rules(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    call_command(
        "key", "create", "app", "--model", "tiny_1", "--endpoint", "chat", "--rpm", "60", "--tokens-per-day", "900"
    )
    capsys.readouterr()
    call_command("key", "edit", "app", "--tpm", "500", "--rpm", "0", "--expires", "3")
    call_command("key", "edit", "app", "--tpm", "500")
    assert "was like that before" in capsys.readouterr().out
    key = GatewayKey.objects.get()
    assert key.rules == KeyRules(models=("tiny_1",), endpoints=("chat",), tokens_per_minute=500, tokens_per_day=900)
    assert key.expires_at is not None
    call_command("key", "edit", "app", "--model", "all", "--endpoint", "all", "--expires", "0")
    call_command("key", "list", "--json")
    listed = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert (listed[0]["models"], listed[0]["endpoints"], listed[0]["expires_at"]) == ([], [], None)
    call_command("key", "list")
    assert "tpm=500  tokens/day=900" in capsys.readouterr().out
