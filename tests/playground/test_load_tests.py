"""Load tests as rows: who may begin, cancel and delete them, what the worker makes of them, pages and command."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deployments import jobs
from deployments.actors import Actor
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError, NotFoundError
from deployments.gpu_history.writer import HistoryWriter
from deployments.jobs import carry_out
from deployments.lifecycle.phases import Phase
from deployments.models import AuditEntry, Deployment
from playground.exceptions import TargetNotRunningError
from playground.loadtests.presenting import level_rows
from playground.loadtests.settings import LoadSettings
from playground.loadtests.targeting import target_of
from playground.loadtests.work import run_load_test
from playground.models import LoadTest
from playground.services.load_tests import begin_load_test, cancel_load_test, delete_load_test
from tests.deployments.gpu_past import UUID, one_gpu
from tests.fakes import upstream as scripts
from tests.fakes.paced_server import Pace, PacedServer
from tests.playground.conftest import make_person
from tests.playground.test_playground_page import a_config, a_run
from tests.playground.test_request_command import Stage, a_stage

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import Settings

pytestmark = pytest.mark.django_db(transaction=True)

GIB = 1024**3
SMALL = LoadSettings(concurrency=(1, 2), requests=3, prompt_tokens=8, output_tokens=4, warm_up=1, level_s=10)
DIRECT = LoadSettings.from_json({**SMALL.to_json(), "direct": True})
OPS = Actor(name="ops", via="cli")
QUICK = Pace(first_s=lambda _number: 0.01, token_s=0.002, tokens=4)
SLOW = Pace(first_s=lambda _number: 0.01, token_s=1.0, tokens=100)


@pytest.fixture(autouse=True)
def _redis(redis_server: redis.Redis) -> None:
    """Hints go nowhere, and there is no GPU history."""


def ready_run(endpoint: str = "http://127.0.0.1:9", name: str = "tiny") -> Deployment:
    run = a_run(a_config(name))
    Deployment.objects.filter(pk=run.pk).update(endpoint=endpoint)
    return run


def done(test: LoadTest) -> LoadTest:
    """The row after the worker had it."""
    carry_out(LoadTest, test.pk, run_load_test)
    test.refresh_from_db()
    return test


def kept(name: str = "tiny", **columns: Any) -> LoadTest:
    """A load test that has ended, with two levels."""
    run = Deployment.objects.filter(config__name=name).first() or ready_run(name=name)
    test = begin_load_test(name, actor=OPS, settings=SMALL)
    levels = [level(1), level(2, failed=1, errors=[{"code": "refused", "status": 503, "words": "full", "count": 1}])]
    fields: dict[str, Any] = {"state": LoadTest.State.DONE, "levels": levels, "deployment": run, **columns}
    LoadTest.objects.filter(pk=test.pk).update(**fields)
    test.refresh_from_db()
    return test


def level(users: int, **changes: Any) -> dict[str, Any]:
    spread = {"p50": 10.0, "p95": 20.0 * users, "p99": 1234.5, "n": 3}
    fields: dict[str, Any] = {
        "concurrency": users,
        "requests": 3,
        "done": 3,
        "failed": 0,
        "unfinished": 0,
        "seconds": 1.0,
    }
    fields |= {"requests_per_s": 3.0, "tokens_per_s": 12.0, "errors": [], "ended": "complete", "started_at": 1.0}
    fields |= {"first_token_ms": spread, "per_token_ms": spread, "total_ms": spread, "stream_tokens_per_s": spread}
    return {**fields, "gpu": {"reason": "no_gpus", "gpus": 0}, **changes}


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_the_worker_measures_the_server_and_judges_the_targets() -> None:
    with PacedServer(pace=QUICK) as server:
        ready_run(server.url)
        targets = {"concurrent_users": 2, "first_token_ms": 5000, "tokens_per_s": 10**6, "colour": 1}
        test = done(begin_load_test("tiny", actor=OPS, settings=DIRECT, targets=targets))
    assert (test.state, test.error) == ("done", "")
    assert [(each["concurrency"], each["done"], each["ended"]) for each in test.levels] == [
        (1, 3, "complete"),
        (2, 3, "complete"),
    ]
    assert test.levels[0]["gpu"] == {"reason": "no_gpus", "gpus": 0}
    assert test.levels[0]["output_tokens"] == 4
    assert {each["target"]: each["passed"] for each in test.verdicts} == {
        "concurrent_users": True,
        "first_token_ms": True,
        "tokens_per_s": False,
    }
    assert test.progress["done"] == test.progress["total"] == 6
    entry = AuditEntry.objects.get(action="load_test.begin")
    assert (entry.target, entry.actor, entry.detail["concurrency"]) == ("tiny", "ops", [1, 2])


def test_through_the_gateway_it_asks_as_the_person_with_smoke_requests_first(settings: Settings) -> None:
    with a_stage(settings, scripts.answer) as stage:
        person = make_person("ops", "operator")
        test = begin_load_test("tiny", actor=Actor.person(person), settings=SMALL, with_smoke=True)
        assert test.smoke == [{"name": "models"}, {"name": "chat"}, {"name": "chat_stream"}]
        test = done(test)
    assert test.state == "done"
    assert [each["code"] for each in test.smoke] == ["", "", ""]
    assert [each["done"] for each in test.levels] == [3, 3]
    assert all("authorization" not in seen.headers or "person" not in str(seen.headers) for seen in stage.upstream.seen)


def test_a_person_who_lost_the_right_is_refused_by_the_gateway(settings: Settings) -> None:
    with a_stage(settings, scripts.answer):
        person = make_person("ops", "operator")
        test = begin_load_test("tiny", actor=Actor.person(person), settings=SMALL)
        person.groups.clear()
        test = done(test)
    assert test.state == "failed"
    assert "operator role" in test.error


def test_a_test_of_a_deleted_account_asks_nobody() -> None:
    ready_run()
    person = make_person("ops", "operator")
    test = begin_load_test("tiny", actor=Actor.person(person), settings=SMALL)
    person.delete()
    test = done(test)
    assert (test.state, "was deleted" in test.error) == ("failed", True)


def test_the_servers_own_key_goes_with_direct_requests_only() -> None:
    run = ready_run("http://127.0.0.1:8123")
    direct = target_of(begin_load_test("tiny", actor=OPS, settings=DIRECT))
    assert direct.url == "http://127.0.0.1:8123"
    assert direct.token().startswith("berth-")
    assert direct.model == run.serving_spec().served_name
    LoadTest.objects.all().delete()
    through = target_of(begin_load_test("tiny", actor=OPS, settings=SMALL))
    assert through.token().startswith("berth-cli:")
    assert through.url != direct.url


def test_memory_and_power_are_those_of_the_deployments_own_gpus() -> None:
    writer, now = HistoryWriter(), time.time()
    for second in range(-5, 30):
        writer.record(one_gpu(now + second, memory_used_bytes=40 * GIB, power_watts=300.0))
    with PacedServer(pace=QUICK) as server:
        run = ready_run(server.url)
        Deployment.objects.filter(pk=run.pk).update(gpu_uuids=[UUID])
        test = done(begin_load_test("tiny", actor=OPS, settings=DIRECT))
    gpu = test.levels[0]["gpu"]
    assert (gpu["reason"], gpu["gpus"]) == ("", 1)
    assert (gpu["memory_peak_bytes"], gpu["power_mean_watts"]) == (40 * GIB, 300.0)
    assert level_rows(test.measured)[0].memory.text == "40.0 GiB"


def cancelled_midway(test: LoadTest, server: PacedServer) -> None:
    """Cancel once the first request is under way."""

    def cancel() -> None:
        try:
            ends_at = time.monotonic() + 10
            while not server.told and time.monotonic() < ends_at:
                time.sleep(0.01)
            cancel_load_test(test.pk, actor=OPS)
        finally:
            connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    done(test)
    thread.join(10)


def test_a_cancel_ends_it_within_two_seconds_and_keeps_what_came() -> None:
    with PacedServer(pace=SLOW) as server:
        ready_run(server.url)
        test = begin_load_test("tiny", actor=OPS, settings=LoadSettings.from_json({**DIRECT.to_json(), "warm_up": 0}))
        began = time.monotonic()
        cancelled_midway(test, server)
        assert time.monotonic() - began < 5
    test.refresh_from_db()
    assert test.state == "cancelled"
    assert [each["ended"] for each in test.levels] == ["cancelled"]
    assert AuditEntry.objects.filter(action="load_test.cancel").count() == 1
    assert cancel_load_test(test.pk, actor=OPS) is False


def test_a_server_that_is_gone_is_a_sentence() -> None:
    ready_run()
    test = done(begin_load_test("tiny", actor=OPS, settings=DIRECT))
    assert test.state == "failed"
    assert "cannot be reached" in test.error


def test_what_does_not_run_any_more_is_not_asked() -> None:
    run = ready_run()
    test = begin_load_test("tiny", actor=OPS, settings=DIRECT)
    Deployment.objects.filter(pk=run.pk).update(phase=Phase.STOPPED)
    assert "does not run any more" in done(test).error


def test_a_test_whose_worker_died_is_not_begun_again_by_itself() -> None:
    ready_run()
    test = begin_load_test("tiny", actor=OPS, settings=DIRECT)
    LoadTest.objects.filter(pk=test.pk).update(runs=1, levels=[level(1)])
    test = done(test)
    assert test.state == "failed"
    assert "What was measured is kept" in test.error
    assert len(test.levels) == 1


def test_one_config_is_tested_by_one_at_a_time_and_only_when_it_is_ready() -> None:
    ready_run()
    begin_load_test("tiny", actor=OPS, settings=SMALL)
    with pytest.raises(ConflictError, match="under way"):
        begin_load_test("tiny", actor=OPS, settings=SMALL)
    a_config("idle")
    with pytest.raises(TargetNotRunningError, match="not ready"):
        begin_load_test("idle", actor=OPS, settings=SMALL)
    with pytest.raises(NotFoundError):
        begin_load_test("nothing", actor=OPS, settings=SMALL)


def test_what_the_config_cannot_be_asked_is_refused_with_what_it_can() -> None:
    ready_run()
    with pytest.raises(InvalidInputError, match="chat, embeddings"):
        begin_load_test("tiny", actor=OPS, settings=LoadSettings(kind="images"))
    drawing = a_config("drawing", protocol="openai-image", model="Drawing")
    drawing.engine = "comfyui"
    drawing.save()
    a_run(drawing)
    with pytest.raises(InvalidInputError, match="through the gateway"):
        begin_load_test("drawing", actor=OPS, settings=LoadSettings(kind="images", direct=True))


@pytest.mark.parametrize("act", ["begin", "cancel", "delete"])
def test_a_viewer_may_only_look(viewer: User, act: str) -> None:
    test = kept()
    actor = Actor.person(viewer)
    calls: dict[str, Callable[[], object]] = {
        "begin": lambda: begin_load_test("tiny", actor=actor, settings=SMALL),
        "cancel": lambda: cancel_load_test(test.pk, actor=actor),
        "delete": lambda: delete_load_test(test.pk, actor=actor),
    }
    with pytest.raises(NotAllowedError):
        calls[act]()
    posted = signed_in(viewer).post(
        f"/playground/load/{'' if act == 'begin' else f'{test.pk}/'}{act}/", {"config": "tiny"}
    )
    assert posted.status_code in {403, 422}
    assert LoadTest.objects.count() == 1


def test_what_is_under_way_is_not_deleted() -> None:
    ready_run()
    test = begin_load_test("tiny", actor=OPS, settings=SMALL)
    with pytest.raises(ConflictError):
        delete_load_test(test.pk, actor=OPS)
    LoadTest.objects.filter(pk=test.pk).update(state="done")
    delete_load_test(test.pk, actor=OPS)
    assert not LoadTest.objects.exists()
    assert AuditEntry.objects.filter(action="load_test.delete", target="tiny").exists()


FORM = {
    "config": "tiny",
    "kind": "chat",
    "concurrency": "1, 2",
    "requests": "3",
    "prompt_tokens": "8",
    "output_tokens": "4",
    "warm_up": "0",
    "level_s": "5",
    "total_s": "60",
    "stream": "on",
    "direct": "on",
    "tokens_per_s": "100",
}


def test_the_form_begins_one_and_leads_to_it(operator: User) -> None:
    ready_run()
    client = signed_in(operator)
    answer = client.post("/playground/load/begin/", FORM, HTTP_HX_REQUEST="true")
    test = LoadTest.objects.get()
    assert answer.headers["HX-Redirect"] == f"/playground/load/{test.pk}/"
    assert test.asked == LoadSettings(
        concurrency=(1, 2), requests=3, prompt_tokens=8, output_tokens=4, warm_up=0, level_s=5, total_s=60, direct=True
    )
    assert test.targets == {"tokens_per_s": 100.0}
    assert (test.user_id, test.via_command_line) == (operator.pk, False)
    page = client.get(f"/playground/load/{test.pk}/").content.decode()
    assert "Waiting for the worker of gpu-01" in page
    assert client.get("/playground/load/begin/").status_code == 302


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("concurrency", "4,2", "rising order"),
        ("concurrency", "many", "commas between"),
        ("requests", "-1", "whole number"),
        ("requests", "0", "between 1 and"),
        ("tokens_per_s", "fast", "above zero"),
        ("context_length", "9999999", "not tested"),
        ("kind", "images", "cannot be asked images"),
    ],
)
def test_what_is_wrong_in_the_form_is_said_beside_what_was_written(
    operator: User, field: str, text: str, words: str
) -> None:
    ready_run()
    answer = signed_in(operator).post("/playground/load/begin/", {**FORM, field: text})
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert words in shown
    assert field == "kind" or f'value="{text}"' in shown
    assert not LoadTest.objects.exists()


def test_runs_are_listed_compared_and_exported(viewer: User) -> None:
    one, two = kept(), kept()
    client = signed_in(viewer)
    shown = client.get("/playground/load/").content.decode()
    assert shown.count(" checked") == 3, "both runs, and the stream of the form"
    lines = json.loads(client.get(f"/playground/load/?run={one.pk}").context["lines"])
    assert [(line["number"], line["users"], line["first_token_ms"]) for line in lines] == [(one.pk, [1, 2], [20, 40])]
    assert json.loads(client.get("/playground/load/?chosen=1").context["lines"]) == []
    both = f"run={one.pk}&run={two.pk}&run=x"
    records = client.get(f"/playground/load/load-tests.json?{both}").json()["load_tests"]
    assert [record["number"] for record in records] == [one.pk, two.pk]
    rows = list(csv.DictReader(io.StringIO(client.get(f"/playground/load/load-tests.csv?{both}").content.decode())))
    assert [(row["number"], row["concurrency"], row["first_token_ms_p95"]) for row in rows[:2]] == [
        (str(one.pk), "1", "20.0"),
        (str(one.pk), "2", "40.0"),
    ]
    assert rows[1]["errors"] == "1 x Refused with status 503: full"
    assert client.get("/playground/load/load-tests.xml").status_code == 404


def test_lines_of_runs_differ_in_more_than_their_colour() -> None:
    from playground.loadtests.charting import style_of

    styles = [style_of(number) for number in range(48)]
    assert len(set(styles)) == 48
    for number in range(40):
        near = styles[number : number + 8]
        assert len({(style.marker, style.dash) for style in near}) == len(near)


def test_the_empty_page_says_how_to_begin(viewer: User) -> None:
    shown = signed_in(viewer).get("/playground/load/").content.decode()
    assert "Nothing is ready" in shown
    assert "No model was tested yet." in shown


def test_a_viewer_sees_why_a_button_does_nothing(viewer: User) -> None:
    test = kept()
    for path in ("/playground/load/", f"/playground/load/{test.pk}/"):
        shown = signed_in(viewer).get(path).content.decode()
        assert 'aria-disabled="true" data-why="Sending requests needs the operator role.' in shown


def test_a_run_shows_levels_errors_verdicts_and_smoke_requests(operator: User) -> None:
    test = kept(
        verdicts=[
            {"target": "tokens_per_s", "wanted": 100.0, "measured": 12.0, "passed": False, "concurrency": 1},
            {"target": "context_length", "wanted": 4096.0, "measured": None, "passed": None, "concurrency": None},
        ],
        smoke=[{"name": "chat", "ms": 12.0, "code": "refused", "status": 400, "words": "no"}, {"name": "vision"}],
        error="It went wrong.",
    )
    shown = signed_in(operator).get(f"/playground/load/{test.pk}/").content.decode()
    for words in ("1,234", "25.0 %", "Refused with status 503: full", "12, wanted 100", "Refused with status 400: no"):
        assert words in shown, words
    assert "not measured" in shown
    assert "It went wrong." in shown
    assert "hx-trigger" not in shown.partition('id="load-run"')[2].partition(">")[0], "nothing more comes"


@pytest.mark.parametrize(("path", "queries"), [("/playground/load/", 9), ("/playground/load/{}/", 6)])
def test_pages_take_as_many_queries_however_many_runs_there_are(viewer: User, path: str, queries: int) -> None:
    test = kept()
    client = signed_in(viewer)
    counts = []
    for number in range(6):
        client.get(path.format(test.pk))
        with CaptureQueriesContext(connection) as taken:
            assert client.get(path.format(test.pk)).status_code == 200
        counts.append(len(taken))
        kept(f"tiny-{number}")
    assert counts == [queries] * 6


def test_another_config_brings_its_own_kinds_into_the_form(operator: User) -> None:
    ready_run()
    drawing = a_run(a_config("drawing", protocol="openai-image", model="Drawing"))
    Deployment.objects.filter(pk=drawing.pk).update(spec={**drawing.spec, "engine": "localai"})
    shown = (
        signed_in(operator).get("/playground/load/?part=form&config=drawing", HTTP_HX_REQUEST="true").content.decode()
    )
    assert '<option value="images">' in shown
    assert '<option value="chat">' not in shown


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is the work: a node's worker in the test's own thread."""

    def work(task: str, job_id: int, *, node: str) -> None:
        assert (task, node) == (LoadTest.TASK, "gpu-01")
        carry_out(LoadTest, job_id, run_load_test)

    monkeypatch.setattr(jobs, "hint_job", work)


BENCH = ("--concurrency", "1,2", "--requests", "3", "--prompt-tokens", "8", "--output-tokens", "4")


@pytest.fixture
def stage(settings: Settings) -> Iterator[Stage]:
    with a_stage(settings, scripts.answer) as running:
        yield running


def bench(*arguments: str) -> int:
    """The command's exit code."""
    try:
        call_command("bench", *arguments)
    except SystemExit as exit_:
        return int(str(exit_.code))
    return 0


@pytest.mark.usefixtures("worker")
def test_the_command_prints_a_table_and_keeps_the_run(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("Tiny-1B", *BENCH) == 0
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    assert [line[:3] for line in lines[1:]] == [["1", "3", "0.0"], ["2", "3", "0.0"]]
    test = LoadTest.objects.get()
    assert (test.config, test.via_command_line, test.state) == ("tiny", True, "done")
    assert f"load test {test.pk} of tiny" in printed.err
    assert "2 users:" in printed.err


@pytest.mark.usefixtures("worker")
def test_the_command_prints_json_and_nothing_else_to_stdout(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("tiny", *BENCH, "--json", "--no-stream") == 0
    record = json.loads(capsys.readouterr().out)
    assert [each["done"] for each in record["levels"]] == [3, 3]
    assert record["settings"]["stream"] is False


@pytest.mark.usefixtures("worker")
def test_the_command_fails_when_no_request_was_answered(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with a_stage(settings, scripts.refuse):
        assert bench("tiny", *BENCH) == 1
    assert "the prompt is too long for the context" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("unknown",), ("tiny", "--concurrency", "4,2"), ("tiny", "--requests", "0")])
def test_the_command_refuses_with_a_sentence(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    ready_run()
    assert bench(*arguments) == 1
    assert capsys.readouterr().err.strip()
    assert not LoadTest.objects.exists()
