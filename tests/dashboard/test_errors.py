"""What a page says when something is wrong: the cause and the next step, never a traceback."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client

from deployments import exceptions
from deployments.redis import RedisError

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("harbour"))
    return client


def failing(error: Exception) -> object:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (exceptions.NotAllowedError("Ask an admin."), 403),
        (exceptions.NotFoundError("There is no such thing."), 404),
        (exceptions.InvalidInputError("port: too large."), 422),
        (exceptions.ConflictError("Somebody was first."), 409),
        (exceptions.RuntimeUnavailableError("The host is silent."), 503),
    ],
)
def test_berths_own_errors_are_their_sentence_with_their_status(
    browser: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    monkeypatch.setattr("deployments.views.catalogue.catalogue_page", failing(error))
    answer = browser.get("/catalogue/")
    assert answer.status_code == status
    assert str(error) in answer.content.decode()
    assert "<html" in answer.content.decode()
    fragment = browser.get("/catalogue/", headers={"HX-Request": "true"})
    assert (fragment.status_code, "<html" in fragment.content.decode()) == (status, False)


def test_a_database_that_is_away_is_said_so(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionStore, "load", failing(OperationalError("connection refused")))
    answer = browser.get("/catalogue/")
    assert answer.status_code == 503
    assert "The database does not answer." in answer.content.decode()
    assert "connection refused" not in answer.content.decode()
    assert "/readyz" in answer.content.decode()


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("database or disk is full"),
        OperationalError('could not extend file "base/1/2": No space left on device'),
        RedisError("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk."),
    ],
)
def test_a_full_disk_is_said_so(browser: Client, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(SessionStore, "load", failing(error))
    answer = browser.get("/catalogue/")
    assert answer.status_code == 503
    assert "The disk of the data folder or the database is full" in answer.content.decode()
    assert "does not answer" not in answer.content.decode()


def test_a_redis_that_is_away_is_said_so(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.views.catalogue.catalogue_page", failing(RedisError("no route")))
    answer = browser.get("/catalogue/")
    assert answer.status_code == 503
    assert "Redis does not answer." in answer.content.decode()


def test_a_fault_of_ours_is_a_500_without_its_traceback(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.views.catalogue.catalogue_page", failing(ValueError("secret detail")))
    answer = browser.get("/catalogue/")
    assert answer.status_code == 500
    assert "secret detail" not in answer.content.decode()
