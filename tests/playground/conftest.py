"""A gateway with a client, and people. Django's models are imported late: its setup comes after this file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import redis
from asgiref.sync import sync_to_async
from django.conf import settings

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from playground.services.keys import NewKey
    from tests.fakes.gateway import RunningGateway


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """asyncio's own: uvloop's may wait for ever in its close, where no time-out reaches it."""
    return {"asyncio": asyncio.new_event_loop}


def make_person(name: str, role: str) -> User:
    """A user with one of the four roles."""
    from django.contrib.auth.models import Group, User

    person = User.objects.create_user(name, password="x")
    person.groups.add(Group.objects.get(name=role))
    return person


@pytest.fixture
def viewer(db: None) -> User:
    """Somebody who may only look."""
    return make_person("visitor", "viewer")


@pytest.fixture
def operator(db: None) -> User:
    """Somebody who may send requests."""
    return make_person("ops", "operator")


@pytest.fixture
def admin(db: None) -> User:
    """Somebody who may make keys."""
    from django.contrib.auth.models import Group

    person = make_person("chief", "admin")
    person.groups.add(*Group.objects.filter(name__in=("viewer", "operator", "editor")))
    return person


@pytest.fixture
def a_key(transactional_db: None, redis_server: redis.Redis) -> NewKey:
    """A gateway key without an end."""
    from deployments.actors import Actor
    from playground.services.keys import create_key

    return create_key("notebook", actor=Actor.command_line())


@pytest.fixture
async def gateway(
    a_key: NewKey, redis_server: redis.Redis, request: pytest.FixtureRequest
) -> AsyncIterator[RunningGateway]:
    """A gateway without routes, and a client with a valid key. Its parameter may be "httptools", as in the web role."""
    from playground.gateway.app import GatewayApplication
    from playground.gateway.serving.connection import GatewayProtocol
    from tests.fakes.gateway import RunningGateway, serve_gateway

    application = GatewayApplication()
    headers = {"Authorization": f"Bearer {a_key.secret}"}
    client = redis.Redis.from_url(settings.REDIS_URL)
    http = getattr(request, "param", GatewayProtocol)
    async with serve_gateway(application, http=http) as url, aiohttp.ClientSession(url, headers=headers) as session:
        yield RunningGateway(application=application, url=url, client=session, redis=client)
    client.close()


@pytest.fixture
async def person(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[User]:
    """An operator whose answers are made through ``gateway``, and the config "tiny"."""
    from playground.answers import runner as running
    from tests.playground.chatting import a_config

    monkeypatch.setattr(running, "gateway_url", lambda: gateway.url)
    await sync_to_async(a_config)()
    await running.runner.start()
    yield await sync_to_async(make_person)("ops", "operator")
    await running.runner.stop()
