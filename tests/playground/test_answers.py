"""Answers as tasks: made through a gateway as the person, told by numbers, kept, stopped, and marked when they die."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.utils import timezone

from deployments.actors import Actor
from deployments.exceptions import ConflictError, NotFoundError
from deployments.redis import async_client, client
from playground.answers import runner as running
from playground.answers.following import Follower, Wanted
from playground.answers.journal import Journal
from playground.answers.names import answer_deltas
from playground.answers.progress import Progress
from playground.answers.runner import runner
from playground.answers.storing import interrupt_dead_answers
from playground.chat.settings import ChatSettings, read_settings
from playground.models import Answer, Message
from playground.protocols.streams.events import Text, ToolCall
from playground.services import conversations
from playground.services.conversations import Question, ask_again, say, stop_answer
from playground.services.person_token import make_person_token, read_person_token
from playground.tasks import end_dead_answers
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, USAGE, ScriptedUpstream, frame
from tests.playground.chatting import PLAIN, a_config, ask, begin, ended
from tests.playground.waiting import SPEAKS, Worker, startable

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
WHOLE = [frame("He"), frame("llo 你好"), FINISH, USAGE, STREAM[-1]]


async def test_an_answer_is_made_kept_and_measured(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route(7))
        settings = read_settings({"system": "Be brief.", "numbers": {"temperature": 0.5}})
        asked = await ask(person, "Hello?", question=Question(config="tiny", settings=settings))
        answer = await ended(asked.answer.pk)
    assert (answer.state, answer.message.content, answer.error) == ("done", "Hello 你好", "")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.finish_reason) == (7, 3, "stop")
    assert answer.deployment_id == 7
    assert answer.request_id
    assert answer.queue_ms is not None
    assert answer.first_token_ms is not None
    assert answer.duration_ms is not None
    assert answer.duration_ms >= answer.first_token_ms
    assert answer.stream_ms is not None
    seen = upstream.seen[0]
    assert seen.json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
    ]
    assert (seen.json["model"], seen.json["temperature"]) == ("served-tiny", 0.5)
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    ("columns", "rate"),
    [
        ({"completion_tokens": 101, "pieces": 7, "stream_ms": 2000}, 50.0),
        ({"completion_tokens": None, "pieces": 11, "stream_ms": 1000}, 10.0),
        ({"completion_tokens": 1, "stream_ms": 1000}, None),
        ({"completion_tokens": 9, "stream_ms": 0}, None),
        ({"completion_tokens": 9, "stream_ms": None}, None),
    ],
)
def test_the_first_token_belongs_to_the_prompt(columns: dict[str, Any], rate: float | None) -> None:
    assert Answer(**columns).tokens_per_s == rate


async def test_metering_names_the_person(gateway: RunningGateway, person: User, redis_server: redis.Redis) -> None:
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        await ended((await ask(person)).answer.pk)
        await until(lambda: redis_server.xlen("berth:usage") > 0)
    (_id, entry) = client().xrange("berth:usage")[0]
    (record,) = json.loads(entry["records"])
    assert (record[2], record[3], record[9], record[10]) == (None, "ops", 7, 3)


async def test_the_branch_is_sent_and_nothing_of_others(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        first = await ask(person, "One")
        await ended(first.answer.pk)
        other = await sync_to_async(ask_again)(first.answer.pk, actor=Actor.person(person), question=PLAIN)
        await ended(other.answer.pk)
        second = await sync_to_async(say)(
            first.conversation.pk,
            "Two",
            actor=Actor.person(person),
            question=PLAIN,
            parent_id=first.answer.pk,
        )
        await ended(second.answer.pk)
        edited = await sync_to_async(say)(
            first.conversation.pk, "Uno", actor=Actor.person(person), question=PLAIN, parent_id=None
        )
        await ended(edited.answer.pk)
    said = [[each["content"] for each in seen.json["messages"]] for seen in upstream.seen]
    assert said == [["One"], ["One"], ["One", "Hello 你好", "Two"], ["Uno"]]


async def test_ollama_is_asked_in_its_own_way(gateway: RunningGateway, person: User) -> None:
    lines = [
        b'{"model":"served-tiny","message":{"role":"assistant","thinking":"Hm"},"done":false}\n',
        b'{"model":"served-tiny","message":{"role":"assistant","content":"He"},"done":false}\n',
        b'{"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3,"load_duration":250000000}\n',
    ]
    await sync_to_async(a_config)("shown", protocol="ollama-text", model="Vision-7B")
    async with ScriptedUpstream(scripts.saying(*lines, content_type="application/x-ndjson")) as upstream:
        await gateway.serve(upstream.route(config="shown", protocol="ollama-text", engine="ollama"))
        question = Question(config="shown", settings=ChatSettings(think=True, ollama_options={"num_ctx": 4096}))
        answer = await ended((await ask(person, question=question)).answer.pk)
    assert (answer.state, answer.message.content, answer.reasoning) == ("done", "He", "Hm")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.start_ms) == (7, 3, 250)
    assert upstream.seen[0].path == "/api/chat"
    assert (upstream.seen[0].json["think"], upstream.seen[0].json["options"]) == (True, {"num_ctx": 4096})


async def test_calls_of_tools_are_kept(gateway: RunningGateway, person: User) -> None:
    call = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"tide","arguments":'
    parts = [call + b'"{\\"at\\":"}}]}}]}\n\n', call + b'"1}"}}]}}]}\n\n', FINISH, STREAM[-1]]
    async with ScriptedUpstream(scripts.saying(*parts)) as upstream:
        await gateway.serve(upstream.route())
        tools = ChatSettings(extra={"tools": [{"type": "function", "function": {"name": "tide"}}]})
        asked = await ask(person, question=Question(config="tiny", settings=tools))
        answer = await ended(asked.answer.pk)
    assert answer.tool_calls == [{"index": 0, "id": "c", "name": "tide", "arguments": '{"at":1}'}]
    assert answer.state == "done"
    assert upstream.seen[0].json["tools"][0]["function"]["name"] == "tide"


async def test_an_answer_for_which_a_model_was_started_tells_how_long_that_took(
    gateway: RunningGateway, person: User
) -> None:
    worker = Worker(gateway, SPEAKS)
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(startable=[startable()])
        asked = await ask(person)
        await worker.is_asked()
        # The head of the answer is out, and knows of no deployment yet.
        await until(lambda: gateway.application.line.waiting == 1)
        await asyncio.sleep(0.1)
        await gateway.serve(upstream.route(7), version=2)
        answer = await ended(asked.answer.pk)
    assert (answer.state, answer.message.content, answer.deployment_id) == ("done", "Hello 你好", 7)
    assert answer.start_ms is not None
    assert answer.start_ms >= 100
    assert answer.queue_ms is not None
    assert answer.queue_ms < answer.start_ms


# What goes wrong


@pytest.mark.parametrize(
    ("script", "state", "kept", "said"),
    [
        (scripts.refuse, "failed", "", "the prompt is too long for the context"),
        (scripts.telling({"error": {"message": "CUDA out of memory"}}, status=500), "failed", "", "CUDA out of memory"),
        (scripts.telling({"error": {"message": "quota reached"}}, status=429), "failed", "", "quota reached"),
        (scripts.saying(frame("He"), cut=True), "interrupted", "He", "broke off"),
        (
            scripts.saying(frame("He"), b'data: {"error":{"message":"no memory"}}\n\n', STREAM[-1]),
            "interrupted",
            "He",
            "no memory",
        ),
        (scripts.saying(FINISH, STREAM[-1]), "failed", "", "without a word"),
        (scripts.telling(scripts.WHOLE), "done", "Hello 你好", ""),
    ],
)
async def test_what_came_is_kept_and_the_server_has_its_say(
    gateway: RunningGateway, person: User, *, script: Any, state: str, kept: str, said: str
) -> None:
    async with ScriptedUpstream(script) as upstream:
        await gateway.serve(upstream.route())
        answer = await ended((await ask(person)).answer.pk)
    assert (answer.state, answer.message.content) == (state, kept)
    assert said in answer.error
    assert bool(answer.error) is bool(said)


async def test_nothing_that_runs_is_said_by_the_gateway(gateway: RunningGateway, person: User) -> None:
    answer = await ended((await ask(person)).answer.pk)
    assert answer.state == "failed"
    assert answer.error
    assert answer.error_code


async def test_a_gateway_that_is_away_is_said(person: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "gateway_url", lambda: "http://127.0.0.1:9")
    answer = await ended((await ask(person)).answer.pk)
    assert "does not answer" in answer.error


async def test_who_lost_the_right_is_refused(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        asked = await sync_to_async(lambda: _without_right(person))()
        answer = await ended(asked)
    assert "operator role" in answer.error
    assert upstream.seen == []


def _without_right(person: User) -> int:
    from django.db import transaction

    with transaction.atomic():
        asked = begin(person)
        person.groups.clear()
    return int(asked.answer.pk)


def test_a_token_of_another_kind_is_no_person(operator: User) -> None:
    assert read_person_token(make_person_token(operator.pk)) == operator.pk
    assert read_person_token("berth-cli:" + make_person_token(operator.pk).partition(":")[2]) is None
    assert read_person_token("berth-person:7:abc:def") is None


# Stopping


async def test_stop_ends_the_work_upstream_and_keeps_what_came(
    gateway: RunningGateway, person: User, pages: Pages
) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person)
        follower = pages.follow(person, {asked.answer.pk: None})
        await heard(follower, lambda said: said.get("text") == "He")
        assert await sync_to_async(stop_answer)(asked.answer.pk, actor=Actor.person(person))
        await asyncio.wait_for(upstream.freed.wait(), 5)
        answer = await ended(asked.answer.pk)
    assert (answer.state, answer.message.content, answer.error) == ("stopped", "He", "")
    assert not await sync_to_async(stop_answer)(asked.answer.pk, actor=Actor.person(person))


async def test_another_process_can_stop_it_too(
    gateway: RunningGateway, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person)
        await asyncio.wait_for(upstream.busy.wait(), 5)
        monkeypatch.setattr(runner, "end", lambda answer_id: None)
        await sync_to_async(stop_answer)(asked.answer.pk, actor=Actor.person(person))
        answer = await ended(asked.answer.pk)
    assert answer.state == "stopped"


async def test_a_web_that_ends_marks_its_answers(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person)
        await asyncio.wait_for(upstream.busy.wait(), 5)
        await runner.stop()
        answer = await ended(asked.answer.pk)
    assert answer.state == "interrupted"


async def test_too_many_at_once_are_refused(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.think_until_left) as upstream:
        await gateway.serve(upstream.route())
        for _number in range(conversations.MOST_AT_ONCE):
            await ask(person)
        with pytest.raises(ConflictError, match=f"{conversations.MOST_AT_ONCE} answers"):
            await ask(person)
        upstream.go_on.set()
        await until(lambda: runner.at_work == 0)


# Reading


class Away:
    """A Redis that does not answer."""

    def pipeline(self, **_: Any) -> Any:
        raise redis.ConnectionError("away")

    async def get(self, name: str) -> str:
        raise redis.ConnectionError("away")

    async def aclose(self) -> None:
        """Nothing was open."""


@dataclass
class Pages:
    """Pages that follow answers; closed at the end of the test."""

    clients: list[Any] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    def follow(
        self, user: User, answers: dict[int, int | None], conversation_id: int | None = None, *, silent_s: float = 5.0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What a page of ``user`` hears."""
        self.clients.append(async_client(tries_again=False))
        follower = Follower(user.pk, self.clients[-1], silent_s=silent_s)
        follower.want(Wanted(answers=answers, conversation_id=conversation_id))
        self.opened.append(follower.messages())
        return self.opened[-1]  # type: ignore[no-any-return]


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    made = Pages()
    yield made
    for messages in made.opened:
        await messages.aclose()
    for each in made.clients:
        await each.aclose()


async def heard(messages: Any, condition: Any) -> list[dict[str, Any]]:
    """The messages until one that fits."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        async for message in messages:
            found.append(message)
            if condition(message):
                return found
    raise AssertionError(found)


def folded(messages: list[dict[str, Any]]) -> str:
    """The text as a page has it; every delta has to fit to what is there."""
    text, sequence = "", 0
    for message in messages:
        if message["type"] in ("snapshot", "over"):
            text, sequence = message["text"], message["sequence"]
        elif message["type"] == "delta":
            assert message["after"] == sequence
            text, sequence = text + message.get("text", ""), message["sequence"]
    return text


async def test_every_reader_hears_everything_once_early_late_and_again(
    gateway: RunningGateway, person: User, pages: Pages
) -> None:
    words = [f"word{number} " for number in range(60)]

    async def speak(upstream: ScriptedUpstream, request: Any) -> Any:
        response = await scripts._begin(request)
        for number, word in enumerate(words):
            await response.write(frame(word))
            if number == 29:
                await upstream.go_on.wait()
            await asyncio.sleep(0.002)
        await response.write(FINISH + STREAM[-1])
        return response

    async with ScriptedUpstream(speak) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person)
        answer_id = asked.answer.pk
        early = pages.follow(person, {answer_id: None})
        text = "".join(words[:30])
        before: list[dict[str, Any]] = []
        while folded(before) != text:
            before += await heard(early, lambda said: True)
        late = pages.follow(person, {answer_id: None})
        before_late: list[dict[str, Any]] = []
        while folded(before_late) != text:
            before_late += await heard(late, lambda said: True)
        # The early one loses its connection and comes back with the number that it has.
        await early.aclose()
        await early.aclose()
        have = before[-1]["sequence"]
        upstream.go_on.set()
        again = pages.follow(person, {answer_id: have})
        after = await heard(again, lambda said: said["type"] == "over")
        after_late = await heard(late, lambda said: said["type"] == "over")
    assert folded(before + after) == folded(before_late + after_late) == "".join(words)
    assert after[-1]["state"] == "done"
    # Whoever comes when it is over hears all at once.
    (only,) = await heard(pages.follow(person, {answer_id: None}), lambda said: True)
    assert (only["type"], only["text"]) == ("over", "".join(words))
    (only,) = await heard(pages.follow(person, {answer_id: 3}), lambda said: True)
    assert only["type"] == "over"


async def test_the_answer_goes_on_without_any_reader_and_without_redis(
    gateway: RunningGateway, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_redis", Away())
    async with ScriptedUpstream(scripts.saying(*WHOLE)) as upstream:
        await gateway.serve(upstream.route())
        answer = await ended((await ask(person)).answer.pk)
    assert (answer.state, answer.message.content) == ("done", "Hello 你好")


async def test_the_row_has_no_more_than_was_told() -> None:
    """What came since has the next number: in the row it would be read twice."""
    progress = Progress(sent_at=0)
    journal = Journal(1, progress, Away(), clock=time.monotonic)  # type: ignore[arg-type]
    progress.apply(Text("He"), now=1)
    progress.apply(ToolCall(index=0, name="tide", arguments="{"), now=1)
    await journal._tell(journal._delta())
    progress.apply(Text("llo"), now=2)
    progress.apply(ToolCall(index=0, arguments="}"), now=2)
    assert journal.told.content == "He"
    assert journal.told.calls[0]["arguments"] == "{"
    assert journal._delta()["text"] == "llo"


async def test_deltas_that_are_lost_are_made_good_from_the_row(
    gateway: RunningGateway, person: User, redis_server: redis.Redis, pages: Pages
) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person)
        answer_id = asked.answer.pk
        await until(lambda: redis_server.exists(answer_deltas(answer_id)) == 1)
        redis_server.xtrim(answer_deltas(answer_id), maxlen=0, approximate=False)
        messages = pages.follow(person, {answer_id: None}, silent_s=0.1)
        found: list[dict[str, Any]] = []
        while folded(found) != "He":
            found += await heard(messages, lambda said: True)
        upstream.go_on.set()
        found += await heard(messages, lambda said: said["type"] == "over")
    assert folded(found) == "He"


async def test_answers_of_others_are_not_there(gateway: RunningGateway, person: User, pages: Pages) -> None:
    from tests.playground.conftest import make_person

    asked = await ask(person)
    await ended(asked.answer.pk)
    stranger = await sync_to_async(make_person)("eve", "operator")
    messages = pages.follow(stranger, {asked.answer.pk: None}, asked.conversation.pk)
    assert await heard(messages, lambda said: True) == [{"type": "gone", "answer": asked.answer.pk}]
    with pytest.raises(NotFoundError):
        await sync_to_async(stop_answer)(asked.answer.pk, actor=Actor.person(stranger))
    with pytest.raises(NotFoundError):
        await sync_to_async(ask_again)(asked.answer.pk, actor=Actor.person(stranger), question=PLAIN)


async def test_the_first_word_waits_for_no_row_and_is_nobody_elses(
    gateway: RunningGateway, person: User, pages: Pages
) -> None:
    from tests.playground.conftest import make_person

    stranger = await sync_to_async(make_person)("eve", "operator")
    finish = asyncio.Event()

    async def speak(upstream: ScriptedUpstream, request: Any) -> Any:
        response = await scripts._begin(request)
        await upstream.go_on.wait()
        await response.write(frame("Hello"))
        await finish.wait()
        await response.write(FINISH + STREAM[-1])
        return response

    async with ScriptedUpstream(speak) as upstream:
        await gateway.serve(upstream.route())
        asked = await ask(person)
        await until(lambda: runner.at_work == 1)
        page = pages.follow(person, {asked.answer.pk: 0}, asked.conversation.pk)
        others = pages.follow(stranger, {asked.answer.pk: 0})
        assert await heard(others, lambda said: True) == [{"type": "gone", "answer": asked.answer.pk}]
        upstream.go_on.set()
        (first,) = await heard(page, lambda said: True)
        assert (first["type"], first["after"], first["text"]) == ("delta", 0, "Hello")
        # Word of the page's own message comes after the first one, and names it.
        grown = await heard(page, lambda said: said["type"] == "changed")
        assert grown[-1]["leaf"] == asked.answer.pk
        finish.set()
        said = await heard(page, lambda said: said["type"] == "over")
    assert "snapshot" not in [each["type"] for each in (*grown, *said)]


async def test_another_tab_hears_of_another_message(gateway: RunningGateway, person: User, pages: Pages) -> None:
    asked = await ask(person)
    await ended(asked.answer.pk)
    messages = pages.follow(person, {}, asked.conversation.pk)
    assert (await heard(messages, lambda said: True))[0]["type"] == "changed"
    other = await sync_to_async(ask_again)(asked.answer.pk, actor=Actor.person(person), question=PLAIN)
    said = await heard(messages, lambda said: True)
    assert said == [{"type": "changed", "conversation": asked.conversation.pk, "leaf": other.answer.pk}]
    await ended(other.answer.pk)


# Answers whose task died


def dead(user: User, *, since: timedelta) -> Answer:
    """An answer at work whose task said nothing for that long."""
    a_config()
    asked = begin(user)
    Answer.objects.filter(pk=asked.answer.pk).update(state="streaming", heartbeat_at=timezone.now() - since)
    Message.objects.filter(pk=asked.answer.pk).update(content="He")
    return asked.answer


def test_the_sweep_marks_what_died_and_leaves_what_lives(operator: User, redis_server: redis.Redis) -> None:
    answer = dead(operator, since=timedelta(seconds=16))
    living = begin(operator).answer
    end_dead_answers()
    answer.refresh_from_db()
    living.refresh_from_db()
    assert (answer.state, answer.message.content, living.state) == ("interrupted", "He", "waiting")
    assert answer.ended_at is not None
    assert interrupt_dead_answers() == 0


async def test_the_next_reader_marks_what_died(operator: User, redis_server: redis.Redis, pages: Pages) -> None:
    answer = await sync_to_async(dead)(operator, since=timedelta(seconds=16))
    (said,) = await heard(pages.follow(operator, {answer.pk: None}), lambda said: True)
    assert (said["type"], said["state"], said["text"]) == ("over", "interrupted", "He")


async def test_a_reader_that_waits_sees_it_die(operator: User, redis_server: redis.Redis, pages: Pages) -> None:
    answer = await sync_to_async(dead)(operator, since=timedelta(seconds=14))
    began = time.monotonic()
    messages = pages.follow(operator, {answer.pk: None}, silent_s=0.1)
    said = await heard(messages, lambda said: said["type"] == "over")
    assert said[-1]["state"] == "interrupted"
    assert time.monotonic() - began < 5
