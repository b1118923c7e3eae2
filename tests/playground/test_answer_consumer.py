"""The socket of answers: who may hear, what it understands, and that a page gets what it asked for."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from playground.models import Answer
from playground.websocket_urls import websocket_urlpatterns
from tests.fakes.websocket import FakeWebsocket
from tests.playground.chatting import a_config, begin
from tests.playground.conftest import make_person

pytestmark = pytest.mark.django_db(transaction=True)


def an_ended_answer() -> tuple[User, Answer]:
    """Somebody, and an answer that is complete."""
    user = make_person("ops", "operator")
    a_config()
    answer = begin(user).answer
    Answer.objects.filter(pk=answer.pk).update(state="done", ended_at=timezone.now())
    return user, answer


def socket(user: Any, origin: str | None = None) -> FakeWebsocket:
    """A page's socket."""
    origin = settings.BERTH_ORIGINS[0] if origin is None else origin
    router = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]  # typed for patterns of Channels' own
    return FakeWebsocket(router, "/ws/answers/", user=user, origin=origin)


async def test_a_page_hears_of_the_answers_that_it_names(redis_server: redis.Redis) -> None:
    user, answer = await sync_to_async(an_ended_answer)()
    page = socket(user)
    assert await page.connect() is None
    await page.send({"follow": {str(answer.pk): None, "999": 3}, "conversation": None})
    told = [await page.receive(), await page.receive()]
    assert [(each["type"], each["answer"]) for each in told] == [("over", answer.pk), ("gone", 999)]
    conversation = answer.message.conversation_id
    await page.send({"follow": {}, "conversation": conversation})
    assert await page.receive() == {"type": "changed", "conversation": conversation, "leaf": answer.pk}
    await page.leave()


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        [],
        {},
        {"follow": [], "conversation": None},
        {"follow": {"x": None}, "conversation": None},
        {"follow": {"1": "2"}, "conversation": None},
        {"follow": {"1": -1}, "conversation": None},
        {"follow": {"1": True}, "conversation": None},
        {"follow": {"9" * 20: None}, "conversation": None},
        {"follow": {}, "conversation": "1"},
    ],
)
async def test_what_is_not_understood_closes_the_socket(redis_server: redis.Redis, message: Any) -> None:
    page = socket(await sync_to_async(make_person)("ops", "operator"))
    assert await page.connect() is None
    await page.send(message)
    assert await page.closed_with() == 4400


async def test_strangers_and_other_origins_hear_nothing() -> None:
    page = socket(AnonymousUser())
    assert await page.connect() is None
    assert await page.closed_with() == 4401
    user = await sync_to_async(make_person)("ops", "operator")
    assert await socket(user, "http://evil.example").connect() == 4403
    nobody = await sync_to_async(User.objects.create_user)("nora")
    page = socket(nobody)
    assert await page.connect() is None
    assert await page.closed_with() == 4403
