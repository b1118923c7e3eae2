"""Health and readiness, and what readiness says when a part is missing."""

from __future__ import annotations

import json
import time

import pytest
from django.conf import settings
from django.test import Client

from dashboard import health
from deployments.redis import RedisError, client

pytestmark = pytest.mark.django_db


@pytest.fixture
def heartbeats(redis_server: object) -> None:
    beat("berth:sweep")
    beat(f"berth:agent:{settings.BERTH_NODE_NAME}")


def beat(key: str, *, age_s: float = 0) -> None:
    client().set(key, json.dumps({"at": time.time() - age_s}))


def test_healthz_answers_without_signing_in(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"


@pytest.mark.usefixtures("heartbeats")
def test_readyz_is_200_when_everything_answers(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": {}})


@pytest.mark.usefixtures("heartbeats")
@pytest.mark.parametrize(("key", "name"), [("berth:sweep", "worker"), ("berth:agent:{node}", "agent")])
def test_readyz_names_what_is_silent(client: Client, key: str, name: str) -> None:
    beat(key.format(node=settings.BERTH_NODE_NAME), age_s=60)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["missing"]) == [name]
    assert "for 60 s" in answer.json()["missing"][name]


@pytest.mark.usefixtures("redis_server")
def test_readyz_names_what_never_reported(client: Client) -> None:
    assert set(client.get("/readyz").json()["missing"]) == {"worker", "agent"}


def test_readyz_says_that_redis_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def ping(self) -> None:
            raise RedisError("connection refused")

        get = ping

    monkeypatch.setattr(health, "client", Away)
    monkeypatch.setattr(Away, "get", lambda self, key: self.ping())
    missing = client.get("/readyz").json()["missing"]
    assert missing["redis"] == "Redis does not answer."
    assert set(missing) == {"redis", "worker", "agent"}


def test_other_methods_are_refused(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
    assert client.post("/readyz").status_code == 405
