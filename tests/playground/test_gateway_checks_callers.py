"""Who may use the gateway, by which credential, and how soon a revocation counts."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import Client
from django.utils import timezone

from deployments.actors import Actor
from playground.gateway.auth import Authenticator
from playground.models import GatewayKey
from playground.services import command_line_token
from playground.services.keys import NewKey, digest_of, revoke_key
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = settings.BERTH_ORIGINS[0]
OWN_PAGE = {"Origin": ORIGIN, "X-Berth-Request": "1"}


async def models_status(gateway: RunningGateway, headers: dict[str, str]) -> tuple[int, str]:
    """Status and message of a request with only these headers."""
    async with (
        aiohttp.ClientSession(gateway.url) as session,
        session.get("/v1/models", headers=headers) as response,
    ):
        content = await response.json()
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
        return response.status, content.get("error", {}).get("message", "")


def session_cookie(person: User) -> dict[str, str]:
    """The Cookie header of a browser in which ``person`` is signed in."""
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    name = settings.SESSION_COOKIE_NAME
    return {"Cookie": f"other=1; {name}={client.cookies[name].value}"}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic eDp5",
        "Bearer berth-abcdefgh-short",
        "Bearer berth-cli:root:1:forged",
        "Bearer sk-something",
        "Bearer berth-cli:" + "ü" * 10,
    ],
)
async def test_a_missing_or_wrong_credential_is_a_401_with_a_sentence(
    gateway: RunningGateway, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    status, message = await models_status(gateway, headers)
    assert status == 401
    assert "key" in message


async def test_a_key_with_one_wrong_character_is_refused(gateway: RunningGateway, a_key: NewKey) -> None:
    wrong = a_key.secret[:-1] + ("A" if a_key.secret[-1] != "A" else "B")
    status, _message = await models_status(gateway, {"Authorization": f"Bearer {wrong}"})
    assert status == 401


async def test_a_key_is_kept_only_as_its_digest(gateway: RunningGateway, a_key: NewKey) -> None:
    status, _message = await models_status(gateway, {"Authorization": f"bearer {a_key.secret}"})
    assert status == 200
    stored = await GatewayKey.objects.aget()
    assert a_key.secret not in str(vars(stored))
    assert stored.digest == digest_of(a_key.secret)


async def test_a_revoked_key_is_refused_at_once(gateway: RunningGateway, a_key: NewKey) -> None:
    headers = {"Authorization": f"Bearer {a_key.secret}"}
    assert (await models_status(gateway, headers))[0] == 200
    await sync_to_async(revoke_key)(a_key.key.pk, actor=Actor.command_line())
    async with asyncio.timeout(1):
        while (await models_status(gateway, headers))[0] == 200:
            pass
    assert "revoked" in (await models_status(gateway, headers))[1]


async def test_an_expired_key_is_refused(gateway: RunningGateway, a_key: NewKey) -> None:
    await GatewayKey.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    status, message = await models_status(gateway, {"Authorization": f"Bearer {a_key.secret}"})
    assert status == 401
    assert "expired" in message


async def test_a_key_that_expires_soon_is_remembered_no_longer_than_that(a_key: NewKey) -> None:
    now = 1000.0
    authenticator = Authenticator(clock=lambda: now)
    headers = {b"authorization": f"Bearer {a_key.secret}".encode()}
    await GatewayKey.objects.aupdate(expires_at=timezone.now() + timedelta(seconds=2))
    assert (await authenticator.check(headers)).name == "notebook"
    await GatewayKey.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=2))
    now += 1.5
    assert (await authenticator.check(headers)).name == "notebook"
    now += 1
    with pytest.raises(Exception, match="no longer valid"):
        await authenticator.check(headers)


async def test_what_was_read_before_a_revocation_is_not_remembered_after_it(a_key: NewKey) -> None:
    authenticator = Authenticator()
    headers = {b"authorization": f"Bearer {a_key.secret}".encode()}
    check = asyncio.create_task(authenticator.check(headers))
    await asyncio.sleep(0)
    authenticator.forget()
    await check
    await GatewayKey.objects.aupdate(revoked_at=timezone.now())
    with pytest.raises(Exception, match="no longer valid"):
        await authenticator.check(headers)


async def test_a_seen_caller_costs_no_query(a_key: NewKey, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = Authenticator()
    headers = {b"authorization": f"Bearer {a_key.secret}".encode()}
    await authenticator.check(headers)
    monkeypatch.setattr("playground.gateway.auth.find_key", lambda _token: pytest.fail("asked the database"))
    await authenticator.check(headers)


async def test_the_last_use_of_a_key_is_noted_coarsely(gateway: RunningGateway, a_key: NewKey) -> None:
    headers = {"Authorization": f"Bearer {a_key.secret}"}
    await models_status(gateway, headers)
    first = (await GatewayKey.objects.aget()).last_used_at
    assert first is not None
    gateway.application.authenticator.forget()
    await models_status(gateway, headers)
    assert (await GatewayKey.objects.aget()).last_used_at == first


async def test_a_session_counts_on_requests_from_our_own_pages(operator: User, gateway: RunningGateway) -> None:
    cookie = await sync_to_async(session_cookie)(operator)
    async with ScriptedUpstream(scripts.answer) as upstream:
        await gateway.serve(upstream.route())
        assert (await models_status(gateway, {**cookie, **OWN_PAGE}))[0] == 200
    assert "cookie" not in str([seen.headers for seen in upstream.seen])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN},
        {"X-Berth-Request": "1"},
        {"Origin": "http://evil.example", "X-Berth-Request": "1"},
        {"Origin": ORIGIN + ".evil.example", "X-Berth-Request": "1"},
        {"Origin": ORIGIN.upper(), "X-Berth-Request": "1"},
        {"Origin": "null", "X-Berth-Request": "1"},
        {"Origin": ORIGIN, "X-Berth-Request": "2"},
    ],
)
async def test_a_session_from_elsewhere_is_refused(
    operator: User, gateway: RunningGateway, headers: dict[str, str]
) -> None:
    cookie = await sync_to_async(session_cookie)(operator)
    status, message = await models_status(gateway, {**cookie, **headers})
    assert status == 403
    assert "own pages" in message


async def test_a_wrong_key_is_not_saved_by_a_session(operator: User, gateway: RunningGateway) -> None:
    cookie = await sync_to_async(session_cookie)(operator)
    headers = {**cookie, **OWN_PAGE, "Authorization": "Bearer berth-wrong"}
    assert (await models_status(gateway, headers))[0] == 401


async def test_a_viewers_session_is_refused_with_the_role_that_it_lacks(viewer: User, gateway: RunningGateway) -> None:
    cookie = await sync_to_async(session_cookie)(viewer)
    status, message = await models_status(gateway, {**cookie, **OWN_PAGE})
    assert status == 403
    assert "operator role" in message


async def test_a_session_that_ended_is_refused(operator: User, gateway: RunningGateway) -> None:
    cookie = await sync_to_async(session_cookie)(operator)
    operator.is_active = False
    await operator.asave()
    assert (await models_status(gateway, {**cookie, **OWN_PAGE}))[0] == 401
    unknown = {"Cookie": f"{settings.SESSION_COOKIE_NAME}=unknown"}
    assert (await models_status(gateway, {**unknown, **OWN_PAGE}))[0] == 401


async def test_the_hosts_command_line_needs_no_key(gateway: RunningGateway) -> None:
    headers = {"Authorization": f"Bearer {command_line_token.make_token('root')}"}
    assert (await models_status(gateway, headers))[0] == 200


async def test_a_token_of_the_command_line_is_good_for_a_minute(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = command_line_token.make_token("root")
    monkeypatch.setattr(command_line_token, "LIFETIME_S", -1)
    assert (await models_status(gateway, {"Authorization": f"Bearer {token}"}))[0] == 401
