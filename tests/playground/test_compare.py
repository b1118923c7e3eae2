"""Comparisons: asked all or none, made through a gateway, voted on, batched, exported; each for its owner only."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError
from deployments.models import AuditEntry, Config
from playground.answers import runner as running
from playground.answers.runner import runner
from playground.chat.settings import ChatSettings
from playground.comparing.batches import BatchRunner, batches
from playground.comparing.prompts import read_prompts
from playground.comparing.storing import Step, take_step
from playground.models import (
    Answer,
    Comparison,
    ComparisonBatch,
    ComparisonCell,
    ComparisonRound,
    Conversation,
    Message,
)
from playground.services.comparison_batches import begin_batch
from playground.services.comparisons import ask_round, begin_comparison
from playground.services.conversations import Question
from playground.spreadsheets import harmless
from playground.tasks import end_dead_answers
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway, until
from tests.fakes.upstream import STREAM, USAGE, ScriptedUpstream, frame
from tests.playground.chatting import PLAIN, a_config
from tests.playground.conftest import make_person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COLUMNS: list[dict[str, Any]] = [
    {"config": "tiny", "settings": {"numbers": {"temperature": 0.1}}},
    {"config": "tiny"},
    {"config": "other"},
]
ASK: dict[str, Any] = {"comparison": None, "columns": COLUMNS, "prompt": "Tides?"}
WARM = Question(config="tiny", settings=ChatSettings(numbers={"temperature": 0.9}))


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def post(client: Client, path: str, content: Any = None) -> tuple[int, Any]:
    answer = client.post(f"/playground/compare/{path}", json.dumps(content or {}), content_type="application/json")
    return answer.status_code, answer.json()


def finish(told: dict[str, Any], text: str = "High and low") -> None:
    """As the tasks do at the end."""
    answers = [each["id"] for each in told["round"]["answers"]]
    Answer.objects.filter(pk__in=answers).update(state="done", completion_tokens=11, stream_ms=100, first_token_ms=20)
    Message.objects.filter(pk__in=answers).update(content=text)


@pytest.fixture
def client(db: None, redis_server: object, operator: User) -> Client:
    a_config()
    a_config("other", protocol="ollama-text", model="Other-1B")
    return signed_in(operator)


def test_one_prompt_asks_every_column_with_its_own_settings(client: Client) -> None:
    status, told = post(client, "ask/", ASK)
    assert status == 200
    assert [each["answer"]["config"] for each in told["round"]["answers"]] == ["tiny", "tiny", "other"]
    assert [each["answer"]["settings"] for each in told["round"]["answers"]] == [COLUMNS[0]["settings"], {}, {}]
    assert (told["round"]["prompt"], told["url"]) == ("Tides?", f"/playground/compare/{told['comparison']}/")
    finish(told)
    changed = [{**column, "settings": {"system": "Be brief."}} for column in COLUMNS]
    _status, second = post(client, "ask/", {**ASK, "comparison": told["comparison"], "columns": changed})
    assert len(second["rounds"]) == 2
    assert second["columns"][2]["settings"] == {"system": "Be brief."}
    # Nothing of the first round is in what the second one asks.
    asked = Message.objects.get(pk=second["round"]["answers"][0]["id"]).parent
    assert asked is not None
    assert asked.parent is None


def test_comparisons_are_no_conversations_of_the_list(client: Client) -> None:
    post(client, "ask/", ASK)
    assert (
        "Tides?" not in client.get("/playground/?part=conversations", headers={"HX-Request": "true"}).content.decode()
    )


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"prompt": "  "}, 422, "Write a message"),
        ({"columns": COLUMNS[:1]}, 422, "between 2 and 6"),
        ({"columns": COLUMNS * 3}, 422, "between 2 and 6"),
        ({"columns": "x"}, 422, "has to be a list"),
        ({"columns": [*COLUMNS, {"config": "nope"}]}, 404, "no config called nope"),
        ({"columns": [{"config": "tiny", "settings": {"numbers": {"seed": -1}}}, COLUMNS[1]]}, 422, "seed"),
        ({"comparison": 99}, 404, "no such comparison"),
        ({"set": True, "prompt": "\n\n"}, 422, "at least one"),
        ({"set": True, "prompt": "a\n" * 101}, 422, "at most 100"),
    ],
)
def test_what_cannot_be_asked_is_said_and_leaves_nothing(
    client: Client, change: dict[str, Any], status: int, reason: str
) -> None:
    answered, told = post(client, "ask/", {**ASK, **change})
    assert (answered, reason in told["error"]) == (status, True), told
    assert not Comparison.objects.exists()
    assert not Conversation.objects.exists()


def test_all_columns_are_asked_or_none(client: Client) -> None:
    _status, told = post(client, "ask/", {**ASK, "columns": COLUMNS * 2})
    status, refused = post(client, "ask/", {**ASK, "comparison": told["comparison"], "columns": COLUMNS * 2})
    assert (status, "under way" in refused["error"]) == (409, True)
    assert (ComparisonRound.objects.count(), ComparisonCell.objects.count()) == (1, 6)
    finish(told)
    status, refused = post(client, "ask/", {**ASK, "comparison": told["comparison"]})
    assert (status, "stay as they are" in refused["error"]) == (422, True)


def test_a_vote_is_kept_changed_and_taken_back(client: Client) -> None:
    _status, told = post(client, "ask/", ASK)
    path, column = f"rounds/{told['round']['id']}/vote/", told["columns"][1]["id"]
    assert post(client, path, {"vote": "best", "column": column}) == (200, {"vote": "best", "best": column})
    state = client.get(f"/playground/compare/{told['comparison']}/state/").json()
    assert [each["wins"] for each in state["columns"]] == [0, 1, 0]
    assert post(client, path, {"vote": "tie"}) == (200, {"vote": "tie", "best": None})
    assert post(client, path, {"vote": "worst"})[0] == 422
    assert post(client, path, {"vote": "best", "column": 99})[0] == 404
    assert ComparisonRound.objects.get().vote == "tie"
    assert post(client, path, {"vote": ""}) == (200, {"vote": "", "best": None})


def test_it_is_deleted_with_its_conversations(client: Client) -> None:
    _status, told = post(client, "ask/", ASK)
    assert client.post(f"/playground/compare/{told['comparison']}/delete/").status_code == 303
    assert not Comparison.objects.exists()
    assert not Conversation.objects.exists()
    assert AuditEntry.objects.filter(action="comparison.delete").count() == 1


def test_nobody_else_has_it_and_who_only_looks_begins_none(client: Client, admin: User, viewer: User) -> None:
    _status, told = post(client, "ask/", ASK)
    number, column = told["comparison"], told["columns"][0]["id"]
    other = signed_in(admin)
    for path in ("", "state/", "comparison.csv", "comparison.json"):
        assert other.get(f"/playground/compare/{number}/{path}").status_code == 404
    assert post(other, f"{number}/stop/")[0] == 404
    assert post(other, f"rounds/{told['round']['id']}/vote/", {"vote": "best", "column": column})[0] == 404
    assert post(other, "ask/", {**ASK, "comparison": number})[0] == 404
    assert post(other, "ask/", {**ASK, "comparison": number, "set": True})[0] == 404
    assert other.post(f"/playground/compare/{number}/delete/").status_code == 404
    looking = signed_in(viewer)
    assert post(looking, "ask/", ASK)[0] == 403
    assert post(looking, f"{number}/stop/")[0] == 403
    assert looking.post(f"/playground/compare/{number}/delete/").status_code == 403
    shown = looking.get("/playground/compare/").content.decode()
    assert "data-send>" not in shown
    assert "aria-disabled" in shown
    assert Comparison.objects.count() == 1
    assert looking.get("/playground/compare/ask/").status_code == 405


def test_pages_take_constant_queries(client: Client) -> None:
    _status, told = post(client, "ask/", ASK)
    page = f"/playground/compare/{told['comparison']}/"
    client.get(page)
    with CaptureQueriesContext(connection) as few:
        client.get(page)
    with CaptureQueriesContext(connection) as exported:
        client.get(f"{page}comparison.csv")
    for number in range(4):
        finish(told)
        _status, told = post(client, "ask/", {**ASK, "comparison": told["comparison"], "prompt": f"Prompt {number}"})
    with CaptureQueriesContext(connection) as many:
        shown = client.get(page).content.decode()
    assert len(few) == len(many)
    assert "Prompt 3" in shown
    with CaptureQueriesContext(connection) as exported_more:
        client.get(f"{page}comparison.csv")
    assert len(exported) == len(exported_more)
    assert client.get(page, headers={"HX-Request": "true"}).content.decode().lstrip().startswith("<div")


# Exports


def test_exports_have_every_answer_and_no_formula(client: Client) -> None:
    prompt = '=HYPERLINK("http://x","y")'
    _status, told = post(client, "ask/", {**ASK, "prompt": prompt})
    finish(told, "-1+2\n你好")
    post(client, f"rounds/{told['round']['id']}/vote/", {"vote": "best", "column": told["columns"][1]["id"]})
    page = f"/playground/compare/{told['comparison']}/"
    answer = client.get(f"{page}comparison.csv")
    assert answer["Content-Disposition"] == f'attachment; filename="comparison-{told["comparison"]}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    assert [row["vote"] for row in rows] == ["", "best", ""]
    assert {row["prompt"] for row in rows} == {f"'{prompt}"}
    assert {row["answer"] for row in rows} == {"'-1+2\n你好"}
    assert (rows[0]["tokens_per_s"], rows[0]["first_token_ms"]) == ("100.0", "20")
    assert json.loads(rows[0]["settings"]) == COLUMNS[0]["settings"]
    records = client.get(f"{page}comparison.json").json()["answers"]
    assert [(each["prompt"], each["answer"], each["column"]) for each in records] == [
        (prompt, "-1+2\n你好", number) for number in (1, 2, 3)
    ]
    assert client.get(f"{page}comparison.xlsx").status_code == 404


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_formulas_are_text(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless("1=1") == "1=1"


# Sets of prompts


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("one\n\n two \r\nthree", ["one", "two", "three"]),
        ("one\nmore\n---\ntwo\n--- \n\n---\n", ["one\nmore", "two"]),
        ("a --- b", ["a --- b"]),
    ],
)
def test_a_set_is_read_by_lines_or_by_marks(text: str, prompts: list[str]) -> None:
    assert read_prompts(text, columns=2) == prompts


def test_sets_are_bounded_by_answers_too() -> None:
    assert len(read_prompts("x\n" * 50, columns=6)) == 50
    with pytest.raises(InvalidInputError, match="at most 50"):
        read_prompts("x\n" * 51, columns=6)
    with pytest.raises(InvalidInputError, match="100,000"):
        read_prompts("x" * 100_001, columns=2)


def a_batch(person: User, text: str = "one\ntwo") -> ComparisonBatch:
    """A batch of two columns that nothing works on."""
    actor = Actor.person(person)
    comparison = begin_comparison([PLAIN, WARM], actor=actor)
    return begin_batch(comparison.pk, text, actor=actor, questions=[PLAIN, WARM])


def state_of(batch: ComparisonBatch) -> str:
    return ComparisonBatch.objects.get(pk=batch.pk).state


def end_answers() -> None:
    Answer.objects.update(state="done")


def test_a_batch_asks_the_next_prompt_when_the_answers_before_are_over(client: Client, operator: User) -> None:
    batch = a_batch(operator)
    assert take_step(batch.pk) is Step.WAIT
    assert take_step(batch.pk) is Step.WAIT
    assert [each.prompt for each in batch.rounds.all()] == ["one"]
    end_answers()
    assert take_step(batch.pk) is Step.WAIT
    end_answers()
    assert take_step(batch.pk) is Step.OVER
    assert [each.prompt for each in batch.rounds.all()] == ["one", "two"]
    assert [each.settings.get("numbers") for each in Answer.objects.all()] == [None, {"temperature": 0.9}] * 2
    assert state_of(batch) == "done"
    assert take_step(batch.pk) is Step.OVER
    assert AuditEntry.objects.filter(action="comparison.batch").count() == 1


def test_stop_cancels_the_batch_and_one_runs_at_once(client: Client, operator: User) -> None:
    batch = a_batch(operator)
    take_step(batch.pk)
    columns = [{"config": "tiny"}, {"config": "tiny"}]
    status, told = post(client, "ask/", {"columns": columns, "prompt": "x", "set": True})
    assert (status, "under way" in told["error"]) == (409, True)
    assert post(client, f"{batch.comparison_id}/stop/") == (200, {"stopped": 2})
    assert take_step(batch.pk) is Step.OVER
    assert state_of(batch) == "cancelled"
    assert batch.rounds.count() == 1


def test_a_batch_waits_while_its_person_has_too_much_under_way(client: Client, operator: User) -> None:
    batch = a_batch(operator)
    actor = Actor.person(operator)
    busy = begin_comparison([PLAIN] * 6, actor=actor)
    ask_round(busy.pk, "busy", actor=actor, questions=[PLAIN] * 6)
    other = begin_comparison([PLAIN] * 2, actor=actor)
    ask_round(other.pk, "busy too", actor=actor, questions=[PLAIN] * 2)
    assert take_step(batch.pk) is Step.WAIT
    assert batch.rounds.count() == 0
    end_answers()
    take_step(batch.pk)
    assert batch.rounds.count() == 1


def test_a_config_that_went_away_ends_the_batch_with_its_reason(client: Client, operator: User) -> None:
    batch = a_batch(operator)
    Config.objects.filter(name="tiny").update(archived_at=timezone.now())
    assert take_step(batch.pk) is Step.OVER
    batch.refresh_from_db()
    assert (batch.state, "no config called tiny" in batch.error) == ("failed", True)


def test_who_lost_the_right_asks_nothing_more(client: Client, operator: User) -> None:
    batch = a_batch(operator)
    operator.groups.clear()
    assert take_step(batch.pk) is Step.OVER
    assert state_of(batch) == "failed"
    assert not Answer.objects.exists()


def test_a_batch_whose_web_died_is_marked(client: Client, operator: User) -> None:
    batch = a_batch(operator)
    end_dead_answers()
    assert state_of(batch) == "running"
    ComparisonBatch.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=20))
    state = client.get(f"/playground/compare/{batch.comparison_id}/state/").json()
    assert (state["batch"]["state"], state["batch"]["total"]) == ("interrupted", 2)


@pytest.fixture
async def person(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[User]:
    """An operator whose answers and batches are made in this loop, through ``gateway``."""
    monkeypatch.setattr(running, "gateway_url", lambda: gateway.url)
    monkeypatch.setattr(batches, "_step_every_s", 0.02)
    await sync_to_async(a_config)()
    await runner.start()
    await batches.start()
    yield await sync_to_async(make_person)("ops", "operator")
    await batches.stop()
    await runner.stop()


@pytest.mark.django_db(transaction=True)
async def test_a_batch_is_made_through_the_gateway(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.saying(frame("He"), frame("llo"), USAGE, STREAM[-1])) as upstream:
        await gateway.serve(upstream.route())
        batch = await sync_to_async(a_batch)(person)
        await until(lambda: batches.at_work == 0, within_s=15)
    assert await sync_to_async(state_of)(batch) == "done"
    said = [answer.message.content async for answer in Answer.objects.select_related("message")]
    assert said == ["Hello"] * 4
    asked = sorted((seen.json["messages"][-1]["content"], seen.json.get("temperature", 0)) for seen in upstream.seen)
    assert asked == [("one", 0), ("one", 0.9), ("two", 0), ("two", 0.9)]


@pytest.mark.django_db(transaction=True)
async def test_a_web_that_ends_interrupts_its_batch(gateway: RunningGateway, person: User) -> None:
    async with ScriptedUpstream(scripts.stream_until_left) as upstream:
        await gateway.serve(upstream.route())
        batch = await sync_to_async(a_batch)(person)
        await until(lambda: len(upstream.seen) == 2, within_s=10)
        await batches.stop()
        await runner.stop()
    assert await sync_to_async(state_of)(batch) == "interrupted"


@pytest.mark.django_db(transaction=True)  # it writes in threads of its own
async def test_a_step_that_fails_ends_the_task_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_batch_id: int) -> Step:
        raise RuntimeError("boom")

    own = BatchRunner(step=fail)
    await own.start()
    own.begin(1)
    await until(lambda: "boom" in caplog.text, within_s=5)
    await until(lambda: own.at_work == 0, within_s=5)
    await own.stop()
