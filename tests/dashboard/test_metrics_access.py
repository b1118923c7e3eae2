"""Who may read /metrics: an allowed address or a key made for it, and never a session."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard.metrics import access
from deployments.actors import Actor
from playground.key_rules import KeyRules
from playground.models import GatewayKey
from playground.services.keys import create_key, revoke_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
ELSEWHERE = "203.0.113.7"


def make_key(*endpoints: str) -> tuple[GatewayKey, str]:
    made = create_key("prometheus", actor=Actor(name="root", via="cli"), rules=KeyRules(endpoints=endpoints))
    return made.key, made.secret


def ask(authorization: str = "", *, address: str = ELSEWHERE, **headers: Any) -> Any:
    if authorization:
        headers["HTTP_AUTHORIZATION"] = authorization
    return Client().get("/metrics", REMOTE_ADDR=address, **headers)


@pytest.mark.parametrize("endpoints", [("metrics",), ("chat", "metrics")])
def test_a_key_that_names_metrics_may(endpoints: tuple[str, ...]) -> None:
    key, secret = make_key(*endpoints)
    assert ask(f"Bearer {secret}").status_code == 200
    assert ask(f"bearer  {secret} ").status_code == 200
    key.refresh_from_db()
    assert key.last_used_at is not None


@pytest.mark.parametrize("endpoints", [(), ("chat",)])
def test_a_key_that_does_not_name_metrics_may_not(endpoints: tuple[str, ...]) -> None:
    _key, secret = make_key(*endpoints)
    answer = ask(f"Bearer {secret}")
    assert answer.status_code == 403
    assert answer.content == (
        b"The gateway key prometheus is not for metrics. An admin can tick metrics for it on the page Keys.\n"
    )


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic YTpi", "berth-x"])
def test_without_a_key_the_answer_says_how_to_get_one(authorization: str) -> None:
    answer = ask(authorization)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="Berth metrics"')
    assert b"berth key create NAME --endpoint metrics" in answer.content


def test_an_unknown_expired_or_revoked_key_is_refused() -> None:
    key, secret = make_key("metrics")
    assert ask(f"Bearer {secret[:-1]}x").status_code == 401
    GatewayKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert b"no longer valid (expired)" in ask(f"Bearer {secret}").content
    revoke_key(key.pk, actor=Actor(name="root", via="cli"))
    answer = ask(f"Bearer {secret}")
    assert (answer.status_code, b"revoked" in answer.content) == (401, True)


def test_a_session_never_counts() -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    assert browser.get("/metrics", REMOTE_ADDR=ELSEWHERE).status_code == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_host_may_by_default(address: str) -> None:
    assert ask(address=address).status_code == 200


@pytest.mark.parametrize("address", ["127.0.0.2", "10.0.0.5", "::2", "::ffff:10.0.0.5", "", "unix"])
def test_nobody_else_may_by_default(address: str) -> None:
    assert ask(address=address).status_code == 401


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_X_CLIENT_IP"])
def test_no_header_of_a_client_changes_its_address(header: str) -> None:
    assert ask(**{header: "127.0.0.1"}).status_code == 401
    assert ask(**{header: "for=127.0.0.1"}).status_code == 401


def test_networks_are_those_of_the_setting(settings: Settings) -> None:
    settings.BERTH_METRICS_ALLOW = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert ask(address="10.1.2.3").status_code == 200
    assert ask(address="fd00::7").status_code == 200
    assert ask(address="10.2.0.1").status_code == 401
    assert ask(address="127.0.0.1").status_code == 401
    settings.BERTH_METRICS_ALLOW = ()
    assert ask(address="10.1.2.3").status_code == 401


def test_a_key_costs_one_query_more(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _key, secret = make_key("metrics")
    ask(f"Bearer {secret}")
    with django_assert_num_queries(5):
        ask(f"Bearer {secret}")
    with django_assert_num_queries(0):
        ask("Bearer nonsense")


def test_with_the_database_away_a_key_is_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_secret: str) -> None:
        raise OperationalError("no route")

    monkeypatch.setattr(access, "find_key", away)
    answer = ask("Bearer berth-x")
    assert (answer.status_code, answer.content) == (503, b"The database does not answer.\n")


def test_other_methods_are_refused(client: Client) -> None:
    assert client.post("/metrics").status_code == 405
    assert client.head("/metrics").content == b""
