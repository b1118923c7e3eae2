"""The page that asks hears its answer at once: before it knows the answer's number, and nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock

import pytest
import redis
from aiohttp import web
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.conf import settings

from deployments.redis import async_client
from playground import consumers
from playground.answers import making
from playground.answers import runner as running
from playground.answers.deltas import MOST_HEARD
from playground.answers.following import Follower
from playground.answers.names import answer_deltas
from playground.answers.pages import Pages, pages
from playground.chat.settings import ChatSettings
from playground.services import conversations
from playground.services.conversations import Question
from playground.websocket_urls import websocket_urlpatterns
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import STREAM, USAGE, ScriptedUpstream, frame
from tests.fakes.websocket import FakeWebsocket
from tests.playground.chatting import ask, ended
from tests.playground.conftest import make_person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
WHOLE = [frame("He"), frame("llo"), FINISH, USAGE, STREAM[-1]]


async def opened(user: User, name: str) -> FakeWebsocket:
    """A page of a new conversation, which asks under ``name``."""
    router = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]  # typed for patterns of Channels' own
    page = FakeWebsocket(router, "/ws/answers/", user=user, origin=settings.BERTH_ORIGINS[0])
    assert await page.connect() is None
    await page.send({"follow": {}, "conversation": None, "page": name})
    return page


async def told_to_the_end(page: FakeWebsocket) -> list[dict[str, Any]]:
    """What the page hears until its answer is over."""
    told = [await page.receive()]
    while told[-1]["type"] != "over":
        told.append(await page.receive())
    return told


def pausing(goes_on: asyncio.Event, pieces: Sequence[bytes], rest: Sequence[bytes]) -> scripts.Script:
    """``pieces``, each of which waits before the next until it goes on, then the ``rest`` at once."""

    async def speak(_upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await goes_on.wait()
            goes_on.clear()
        await response.write(b"".join(rest))
        await response.write_eof()
        return response

    return speak


@dataclass(kw_only=True)
class Begun:
    """An answer of which ``page`` has heard the ``first`` piece; ``goes_on`` lets the others come."""

    page: FakeWebsocket
    asked: conversations.Asked
    first: dict[str, Any]
    goes_on: asyncio.Event


@contextlib.asynccontextmanager
async def begun(gateway: RunningGateway, person: User) -> AsyncIterator[Begun]:
    """An answer of two pieces, of which the second waits; the block is left when it has ended."""
    page, goes_on = await opened(person, "one"), asyncio.Event()
    async with ScriptedUpstream(pausing(goes_on, WHOLE[:1], WHOLE[1:])) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person, question=question("one"))
        yield Begun(page=page, asked=asked, first=await page.receive(), goes_on=goes_on)
        await ended(asked.answer.pk)


def question(page: str) -> Question:
    return Question(config="tiny", settings=ChatSettings(), page=page)


async def test_the_page_that_asks_hears_its_answer_unasked(
    gateway: RunningGateway, person: User, redis_server: redis.Redis
) -> None:
    mine, another = await opened(person, "one"), await opened(person, "two")
    stranger = await opened(await sync_to_async(make_person)("nora", "operator"), "one")
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person, question=question("one"))
        told = await told_to_the_end(mine)
        await ended(asked.answer.pk)
    assert {each["answer"] for each in told} == {asked.answer.pk}
    deltas = [each for each in told if each["type"] == "delta"]
    assert deltas[0]["after"] == 0
    assert "".join(each["text"] for each in deltas) == "Hello"
    assert told[-1]["text"] == "Hello"
    assert await another.is_quiet(0.3)
    assert await stranger.is_quiet(0.1)
    for page in (mine, another, stranger):
        await page.leave()


class Away:
    """A page's Redis that refuses what is asked of it, or never answers."""

    def __init__(self, how: str) -> None:
        self._how = how
        self.asked = 0

    async def _answer(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        if self._how == "hangs":
            await asyncio.Event().wait()
        raise redis.ConnectionError("away")

    ping = xread = xrevrange = _answer

    async def aclose(self) -> None:
        """Nothing was open."""


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_the_page_that_asks_needs_no_redis(
    gateway: RunningGateway, person: User, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Each piece goes to the page by itself: nothing else happens here that would take it along."""
    away = Away(how)
    # Whether it is there at all is asked once.
    monkeypatch.setattr(away, "ping", AsyncMock())
    monkeypatch.setattr(consumers, "async_client", lambda **_: away)
    page, goes_on = await opened(person, "one"), asyncio.Event()
    pieces = [frame(str(number)) for number in range(10)]
    async with ScriptedUpstream(pausing(goes_on, pieces, [FINISH, USAGE, STREAM[-1]])) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person, question=question("one"))
        told = [await page.receive()]
        follow = {str(asked.answer.pk): told[0]["sequence"]}
        await page.send({"follow": follow, "conversation": asked.conversation.pk, "page": "one"})
        async with asyncio.timeout(5):
            # Well within what it waits for where nothing is heard, and within its pause for Redis.
            for _piece in pieces:
                goes_on.set()
                told.append(await page.receive())
        told += await told_to_the_end(page) if told[-1]["type"] != "over" else []
        await ended(asked.answer.pk)
    assert "".join(each["text"] for each in told if each["type"] == "delta" and "text" in each) == "0123456789"
    assert told[-1]["text"] == "0123456789"
    assert away.asked < 10
    await page.leave()


async def test_a_socket_that_is_lost_meanwhile_goes_on_where_it_was(
    gateway: RunningGateway, person: User, redis_server: redis.Redis
) -> None:
    async with begun(gateway, person) as it:
        await it.page.leave()
        again = await opened(person, "one")
        follow = {str(it.asked.answer.pk): it.first["sequence"]}
        await again.send({"follow": follow, "conversation": None, "page": "one"})
        it.goes_on.set()
        told = [it.first, *await told_to_the_end(again)]
    assert "".join(each.get("text", "") for each in told if each["type"] == "delta") == "Hello"
    assert told[-1]["text"] == "Hello"
    await again.leave()


async def test_a_page_whose_socket_is_slow_reads_from_redis(person: User, redis_server: redis.Redis) -> None:
    """What it has not taken is not kept for it."""
    answer = (await ask(person)).answer.pk
    client = async_client()
    follower = Follower(person.pk, client)
    follower.begin(answer)
    for number in range(1, MOST_HEARD + 100):
        delta = {"text": f"{number} "}
        redis_server.xadd(answer_deltas(answer), {"delta": json.dumps(delta)}, id=f"{number}-0")
        follower.hear(answer, number, delta)
    text = ""
    async with contextlib.aclosing(follower.messages()) as messages:
        async for message in messages:
            text += message.get("text", "")
            if message["sequence"] == MOST_HEARD + 99:
                break
    assert text == "".join(f"{number} " for number in range(1, MOST_HEARD + 100))
    follower.hear(answer, MOST_HEARD + 100, {"text": "late"})
    await client.aclose()


async def test_what_cannot_be_planned_at_once_is_planned_by_its_task(
    gateway: RunningGateway, person: User, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "plan_chat", Mock(side_effect=KeyError))
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        answer = await ended((await ask(person)).answer.pk)
    assert (answer.state, answer.message.content) == ("done", "Hello")


async def test_an_answer_that_is_named_later_goes_on_and_nothing_comes_twice(
    gateway: RunningGateway, person: User, redis_server: redis.Redis
) -> None:
    async with begun(gateway, person) as it:
        # Something else is wanted meanwhile: what was not named yet stays.
        await it.page.send({"follow": {}, "conversation": None, "page": "one"})
        follow = {str(it.asked.answer.pk): it.first["sequence"]}
        await it.page.send({"follow": follow, "conversation": None, "page": "one"})
        it.goes_on.set()
        told = [it.first, *await told_to_the_end(it.page)]
    assert [each["type"] for each in told].count("snapshot") == 0
    assert "".join(each.get("text", "") for each in told if each["type"] == "delta") == "Hello"
    numbers = [each["sequence"] for each in told if each["type"] == "delta"]
    assert numbers == sorted(set(numbers))
    await it.page.leave()


def text_of(heard: list[dict[str, Any]], asked: conversations.Asked) -> str:
    """What the deltas of this answer say."""
    mine = [each for each in heard if each["answer"] == asked.answer.pk and each["type"] == "delta"]
    return "".join(each.get("text", "") for each in mine)


async def test_one_socket_has_an_answer_that_is_told_and_one_that_is_read(
    gateway: RunningGateway, person: User, redis_server: redis.Redis
) -> None:
    """One was asked for on this page, the other on another, so that it comes by Redis; neither holds the other up."""
    page = await opened(person, "one")
    goes_on = {"told": asyncio.Event(), "read": asyncio.Event()}

    async def speak(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["messages"][-1]["content"]
        return await pausing(goes_on[asked], [frame(f"{asked} "), frame("once ")], WHOLE)(upstream, request)

    async with ScriptedUpstream(speak) as upstream:
        await gateway.serve(upstream.route())
        told = await ask(person, "told", question=question("one"))
        heard = [await page.receive()]
        read = await ask(person, "read")
        follow = {str(told.answer.pk): heard[0]["sequence"], str(read.answer.pk): 0}
        await page.send({"follow": follow, "conversation": None, "page": "one"})

        async def hear(asked: conversations.Asked, text: str) -> None:
            """Until all of ``text`` came, so that its pause has begun."""
            while text_of(heard, asked) != text:
                heard.append(await page.receive())

        await hear(read, "read ")
        goes_on["read"].set()
        await hear(read, "read once ")
        goes_on["told"].set()
        await hear(told, "told once ")
        goes_on["told"].set()
        goes_on["read"].set()
        while [each["type"] for each in heard].count("over") < 2:
            heard.append(await page.receive())
        await ended(read.answer.pk)
    for asked, text in ((told, "told once Hello"), (read, "read once Hello")):
        assert text_of(heard, asked) == text
        assert [each["text"] for each in heard if each["type"] == "over" and each["answer"] == asked.answer.pk] == [
            text
        ]
    await page.leave()


async def test_a_stop_before_the_first_word_does_not_wait_for_it(
    gateway: RunningGateway, person: User, redis_server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which replica answers is known by then, and is named after the first word: with the end, where none comes."""
    monkeypatch.setattr(making, "replica_name", lambda _deployment: "gpu-01 · 2")

    async def headers_alone(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Berth-Deployment": "7"})
        await response.prepare(request)
        upstream.freed.set()
        await upstream.go_on.wait()
        return response

    async with ScriptedUpstream(headers_alone) as upstream:
        monkeypatch.setattr(running, "gateway_url", lambda: upstream.endpoint)
        asked = await ask(person)
        await upstream.freed.wait()
        await asyncio.sleep(0.1)
        running.runner.end(asked.answer.pk)
        async with asyncio.timeout(2):
            answer = await ended(asked.answer.pk)
    assert (answer.state, answer.message.content, answer.replica) == ("stopped", "", "gpu-01 · 2")


class Heard(list[int]):
    """The numbers of the answers that a page asked for."""

    def begin(self, answer_id: int) -> None:
        self.append(answer_id)

    def hear(self, answer_id: int, sequence: int, delta: dict[str, Any]) -> None:
        raise AssertionError


async def test_a_page_that_left_is_forgotten(person: User, redis_server: redis.Redis) -> None:
    page = await opened(person, "one")
    assert await page.is_quiet(0.1)
    await page.leave()
    heard = Heard()
    pages.open(person.pk, "two", heard)
    assert pages.tell(person.pk, "one", 1) is None
    assert pages.tell(person.pk, "two", 2) is heard
    pages.close(person.pk, "two", heard)
    assert pages.tell(person.pk, "two", 3) is None
    assert heard == [2]


def test_a_late_close_leaves_the_socket_that_followed() -> None:
    known, first, second = Pages(), Heard(), Heard()
    known.open(1, "one", first)
    known.open(1, "one", second)
    known.close(1, "one", first)
    known.tell(1, "one", 7)
    assert (first, second) == ([], [7])
