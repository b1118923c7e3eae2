"""No address shows or does anything for a stranger, or for a person without a role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from deployments.models import CatalogueModel
from tests.deployments.editing import make_config

pytestmark = pytest.mark.django_db

ARGUMENTS: dict[str, object] = {
    "name": "some-config",
    "pk": 1,
    "number": 1,
    "deployment_id": 1,
    "delivery_id": 1,
    "transfer_id": 1,
    "build_id": 1,
    "test_id": 1,
    "attempt": 1,
    "uuid": "GPU-1",
    "kind": "md",
    "token": "unknown",
}
#: Open by design: entrance, language, health; the stock admin and the metrics keep their own doors.
OPEN = {"login", "logout", "set_language", "dashboard:healthz", "dashboard:readyz", "dashboard:metrics"}


def addresses() -> Iterator[str]:
    """The name of every address outside the stock admin."""

    def walk(patterns: list[URLPattern | URLResolver], namespace: str) -> Iterator[tuple[str, URLPattern]]:
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                yield f"{namespace}{pattern.name}", pattern
            elif pattern.namespace != "admin":
                inner = f"{pattern.namespace}:" if pattern.namespace else namespace
                yield from walk(pattern.url_patterns, inner)

    for name, pattern in walk(get_resolver().url_patterns, ""):
        if name not in OPEN:
            wanted = {key: ARGUMENTS[key] for key in pattern.pattern.converters}
            yield reverse(name, kwargs=wanted)


ADDRESSES = sorted(set(addresses()))


@pytest.fixture(autouse=True)
def _something_to_find() -> None:
    CatalogueModel.objects.create(name="some-config")
    make_config("some-config")


def test_there_are_addresses_to_walk() -> None:
    assert len(ADDRESSES) > 25


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_stranger_is_sent_to_sign_in(client: Client, address: str, method: str) -> None:
    answer = getattr(client, method)(address)
    assert (answer.status_code, answer.headers.get("Location", "").split("?")[0]) == (302, "/accounts/login/")


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_person_without_a_role_is_refused(client: Client, address: str, method: str) -> None:
    client.force_login(User.objects.create_user("nobody"))
    answer = getattr(client, method)(address)
    assert answer.status_code in {403, 405}, answer.content[:300]


@pytest.mark.parametrize(("method", "status"), [("get", 401), ("post", 405)])
def test_metrics_are_closed_to_strangers_and_to_sessions_of_any_role(client: Client, method: str, status: int) -> None:
    elsewhere = {"REMOTE_ADDR": "203.0.113.7"}
    assert getattr(client, method)("/metrics", **elsewhere).status_code == status
    client.force_login(User.objects.create_superuser("root"))
    assert getattr(client, method)("/metrics", **elsewhere).status_code == status
