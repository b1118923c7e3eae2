"""Signing in and out, the lock after wrong passwords, language, and that every page asks for it."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/"


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada", password="right")


def text_of(response: Any) -> str:
    return unescape(str(response.content, "utf-8"))


def sign_in(client: Client, password: str, **more: str) -> Any:
    return client.post(LOGIN, {"username": "ada", "password": password, **more})


@pytest.mark.parametrize(
    "path", ["/", "/catalogue/", "/deployments/", "/deployments/1/", "/deployments/1/log/1/", "/activity/"]
)
def test_every_page_asks_for_a_session(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"] == f"{LOGIN}?next={path}"


def test_signing_in_leads_to_where_one_was_going(client: Client, ada: User) -> None:
    assert "Sign in to Berth" in text_of(client.get(LOGIN))
    response = sign_in(client, "right", next="/activity/")
    assert response.headers["Location"] == "/activity/"


def test_another_site_is_no_place_to_go(client: Client, ada: User) -> None:
    response = sign_in(client, "right", next="https://evil.example/")
    assert response.headers["Location"] == reverse("dashboard:overview")


def test_a_wrong_password_is_told_and_the_name_stays(client: Client, ada: User) -> None:
    page = text_of(sign_in(client, "wrong"))
    assert "notice-error" in page
    assert 'value="ada"' in page
    assert "wrong" not in page


def test_too_many_wrong_passwords_lock_with_a_sentence(client: Client, ada: User) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT):
        response = sign_in(client, "wrong")
    response = sign_in(client, "right")
    assert response.status_code == 429
    assert "is locked for 10 minutes" in text_of(response)


def test_signing_out_leads_to_the_sign_in(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.post(reverse("logout")).headers["Location"] == LOGIN
    assert client.get("/").status_code == 302


def test_the_language_can_be_changed_before_signing_in(client: Client) -> None:
    response = client.post(reverse("set_language"), {"language": "zh-hans", "next": LOGIN})
    assert response.headers["Location"] == LOGIN
    assert '<html lang="zh-hans"' in text_of(client.get(LOGIN))


def test_an_address_that_is_none_is_explained(client: Client, ada: User) -> None:
    client.force_login(ada)
    response = client.get("/nope/")
    assert response.status_code == 404
    assert "There is no such page" in text_of(response)


def test_a_form_without_its_token_is_explained(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    response = client.post(reverse("logout"))
    assert response.status_code == 403
    assert "Load the page anew" in text_of(response)
