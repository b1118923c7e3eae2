"""The steps Test and Report: an image that is run, asked, judged and stopped; and all of it on one page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments import jobs
from deployments.actors import Actor
from deployments.deliveries.requirement import Hardware, Requirement, Targets
from deployments.deliveries.steps import State, step_states
from deployments.exceptions import ConflictError, NotAllowedError
from deployments.jobs import carry_out
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import Attempt, AuditEntry, Config, Delivery, Deployment, ImageBuild, ImageTransfer, Node
from deployments.services.deliveries import close_delivery
from deployments.services.lifecycle import start_deployment
from deployments.services.trials import make_draft, publish
from playground.deliveries import work
from playground.deliveries.report import report_of
from playground.deliveries.targets import NAMES, kind_for, settings_for, targets_of
from playground.deliveries.testing import step_state
from playground.deliveries.work import end_left_tests, run_image_test
from playground.loadtests.verdicts import TARGETS, verdicts
from playground.loadtests.work import run_load_test
from playground.models import ImageTest, LoadTest
from playground.services.image_tests import begin_image_test, cancel_image_test
from playground.services.load_tests import begin_load_test
from playground.tasks import stop_left_tests
from tests.deployments.editing import person, signed_in
from tests.deployments.hosts import database_of_threads
from tests.fakes.paced_server import Pace, PacedServer

pytestmark = pytest.mark.django_db(transaction=True)
ED = Actor(name="ed", via="cli")
WANTED = Requirement(
    model="Qwen2.5-7B",
    repository="Qwen/Qwen2.5-7B-Instruct",
    hardware=Hardware(count=0),
    targets=Targets(requests_per_s=0.1, concurrent_users=2, first_token_ms=5000.0, tokens_per_s=1.0, context_tokens=8),
)
QUICK = Pace(first_s=lambda _number: 0.01, token_s=0.002, tokens=4)
SMALL = replace(
    settings_for(WANTED, kind="chat", direct=True), requests=2, prompt_tokens=8, output_tokens=4, warm_up=0, level_s=10
)


class WorkerKilledError(BaseException):
    """What stands for SIGKILL: no job catches it."""


@pytest.fixture(autouse=True)
def _ground(redis_server: redis.Redis, tmp_path: Path) -> Iterator[None]:
    """Hints go nowhere, and every thread opens the same database."""
    with database_of_threads(tmp_path):
        yield


@pytest.fixture
def delivery() -> Delivery:
    made = Delivery.objects.create(name="qwen-service", tool="vllm", requirement=WANTED.to_json(), created_by="ed")
    make_draft(made, actor=ED)
    Node.objects.create(name="gpu-01", runtimes=["docker"], heartbeat_at=timezone.now())
    return made


def built(delivery: Delivery, tag: str = "berth/qwen:1") -> ImageBuild:
    return ImageBuild.objects.create(
        delivery=delivery,
        node=Node.objects.get(),
        requested_by="ed",
        dockerfile="FROM scratch\n",
        tag=tag,
        image_id="sha256:1",
        state=ImageBuild.State.DONE,
        ended_at=timezone.now(),
    )


class Host(threading.Thread):
    """Stands for the workers: brings a started run to its end, and carries out its load test."""

    def __init__(self, bring: Callable[[Deployment], None]) -> None:
        super().__init__(daemon=True)
        self.bring = bring
        self.over = threading.Event()

    def run(self) -> None:
        try:
            while not self.over.wait(0.05):
                for run in Deployment.objects.filter(phase=Phase.QUEUED, desired=Desired.RUNNING):
                    self.bring(run)
                for run in Deployment.objects.filter(desired=Desired.STOPPED).exclude(phase=Phase.STOPPED):
                    Deployment.objects.filter(pk=run.pk).update(phase=Phase.STOPPED, ended_at=timezone.now())
                for test in LoadTest.objects.exclude(state__in=LoadTest.ENDED):
                    carry_out(LoadTest, test.pk, run_load_test)
        finally:
            connections.close_all()


@pytest.fixture
def host() -> Iterator[Callable[[Callable[[Deployment], None]], None]]:
    began: list[Host] = []

    def begin(bring: Callable[[Deployment], None]) -> None:
        began.append(Host(bring))
        began[0].start()

    yield begin
    for thread in began:
        thread.over.set()
        thread.join(10)


def ready_at(endpoint: str) -> Callable[[Deployment], None]:
    def bring(run: Deployment) -> None:
        Deployment.objects.filter(pk=run.pk).update(
            phase=Phase.READY, ready_at=timezone.now(), endpoint=endpoint, node=Node.objects.get()
        )

    return bring


def crash(run: Deployment) -> None:
    now = timezone.now()
    Attempt.objects.create(deployment=run, number=1, started_at=now, ended_at=now, exit_code=1, log="no such weights")
    Deployment.objects.filter(pk=run.pk).update(phase=Phase.FAILED, ended_at=now, reason="crashed")


def carried_out(test: ImageTest) -> ImageTest:
    carry_out(ImageTest, test.pk, run_image_test)
    test.refresh_from_db()
    return test


def state(delivery: Delivery) -> tuple[State, str]:
    found = step_state(Delivery.objects.get(pk=delivery.pk))
    return found.state, found.sentence


# ---- targets


def test_every_target_of_a_requirement_is_judged_as_what_it_is() -> None:
    assert set(NAMES) == set(Targets.__dataclass_fields__)
    wanted = targets_of(WANTED)
    assert set(wanted) == set(NAMES.values()) <= set(TARGETS)
    level: Any = {"concurrency": 2, "done": 4, "failed": 0, "unfinished": 0, "requests_per_s": 9.0}
    level |= {"tokens_per_s": 90.0, "stream_tokens_per_s": {"p50": 45.0, "p95": 50.0, "p99": 51.0, "n": 4}}
    level |= {"first_token_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "n": 4}, "most_tokens": 12}
    judged = {
        verdict.target: verdict.measured
        for verdict in verdicts({str(name): value for name, value in wanted.items()}, [level])
    }
    assert set(judged) == set(wanted)
    # Of one answer, and not of all together.
    assert judged["stream_tokens_per_s"] == 45.0


@pytest.mark.parametrize(
    ("task", "protocol", "engine", "kind"),
    [
        ("text", "openai-text", "vllm", "chat"),
        ("embedding", "openai-text", "vllm", "embeddings"),
        ("text", "tgi", "tgi", "tgi"),
        ("text", "ollama-text", "ollama", "ollama"),
    ],
)
def test_it_is_loaded_with_what_was_asked_for(task: str, protocol: str, engine: str, kind: str) -> None:
    spoken = "openai-text" if protocol == "tgi" else protocol
    assert kind_for(replace(WANTED, task=task, protocol=protocol), spoken, engine) == kind


@pytest.mark.parametrize(
    ("task", "kind", "smoke"),
    [
        ("multimodal", "chat", ["models", "chat", "chat_stream", "vision"]),
        ("embedding", "embeddings", ["models", "embeddings"]),
        ("text", "chat", ["models", "chat", "chat_stream"]),
    ],
)
def test_the_smoke_requests_are_those_of_the_task(task: str, kind: str, smoke: list[str]) -> None:
    wanted = replace(WANTED, model="Another", task=task)
    made = Delivery.objects.create(name="another", tool="vllm", requirement=wanted.to_json(), created_by="ed")
    make_draft(made, actor=ED)
    Node.objects.create(name="gpu-01", runtimes=["docker"], heartbeat_at=timezone.now())
    run = start_deployment("another", actor=ED).deployment
    ready_at("http://127.0.0.1:9")(run)
    load = begin_load_test("another", actor=ED, settings=replace(SMALL, kind=kind), with_smoke=True)
    assert [each["name"] for each in load.smoke] == smoke


# ---- a test


def test_an_image_is_run_where_it_was_built_asked_judged_and_stopped(
    delivery: Delivery, host: Callable[[Callable[[Deployment], None]], None]
) -> None:
    build = built(delivery)
    with PacedServer(QUICK) as server:
        host(ready_at(server.url))
        test = carried_out(begin_image_test(delivery, SMALL, actor=ED))
    assert test.error == ""
    assert test.state == ImageTest.State.DONE
    assert test.deployment is not None
    assert test.deployment.serving_spec().image == "berth/qwen:1"
    assert test.deployment.pinned_node == build.node
    assert test.deployment.desired == Desired.STOPPED
    assert test.load_test is not None
    assert {verdict["target"] for verdict in test.load_test.verdicts} == set(NAMES.values())
    assert {smoke["name"] for smoke in test.load_test.smoke} >= {"chat", "chat_stream"}
    found, sentence = state(delivery)
    assert (found is State.DONE) is bool(test.passed), sentence
    built(delivery, "berth/qwen:2")
    if test.passed:
        assert state(delivery)[0] is State.STALE
    page = unescape(
        signed_in("ed", "editor").get(reverse("playground:delivery_report", args=[delivery.pk])).content.decode()
    )
    for told in ("berth/qwen", "FROM scratch", "docker run", "<polyline", "Qwen/Qwen2.5-7B-Instruct", "services:"):
        assert told in page
    text = signed_in("ed", "editor").get(reverse("playground:delivery_report_text", args=[delivery.pk]))
    assert text.headers["Content-Type"].startswith("text/markdown")
    assert "| Users |" in text.content.decode()


def test_an_image_that_never_answers_ends_with_its_log(
    delivery: Delivery, host: Callable[[Callable[[Deployment], None]], None]
) -> None:
    built(delivery)
    host(crash)
    test = carried_out(begin_image_test(delivery, SMALL, actor=ED))
    assert test.state == ImageTest.State.FAILED
    assert "ended before it answered" in test.error
    assert "no such weights" in test.error
    assert state(delivery)[0] is State.FAILED
    assert (
        "no such weights"
        in signed_in("vi", "viewer").get(reverse("playground:delivery_test", args=[delivery.pk])).content.decode()
    )


def test_an_image_that_starts_and_never_answers_is_a_sentence_and_stopped(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less the time to load that the draft grants: it is over at once.
    monkeypatch.setattr(work, "_MOST_WAIT_S", -900.0)
    built(delivery)
    test = carried_out(begin_image_test(delivery, SMALL, actor=ED))
    run = Deployment.objects.get()
    assert test.error == f"The image did not answer within its time. See deployment {run.pk}."
    assert (test.state, run.desired) == (ImageTest.State.FAILED, Desired.STOPPED)
    assert state(delivery) == (State.FAILED, test.error)


def test_a_cancelled_test_stops_what_it_started(
    delivery: Delivery, host: Callable[[Callable[[Deployment], None]], None]
) -> None:
    test = begin_image_test(delivery, SMALL, actor=ED)
    with pytest.raises(ConflictError, match="under way"):
        begin_image_test(delivery, SMALL, actor=ED)
    cancels: list[bool] = []

    def never(run: Deployment) -> None:
        if not cancels:
            cancels.append(cancel_image_test(delivery, test.pk, actor=ED))

    host(never)
    carried_out(test)
    assert test.state == ImageTest.State.CANCELLED
    assert test.deployment is not None
    assert test.deployment.desired == Desired.STOPPED
    assert AuditEntry.objects.filter(action="image_test.cancel", target="qwen-service").exists()


def test_the_worker_after_one_that_died_goes_on_with_what_was_started(
    delivery: Delivery, host: Callable[[Callable[[Deployment], None]], None]
) -> None:
    test = begin_image_test(delivery, SMALL, actor=ED)
    run = start_deployment("qwen-service", actor=ED).deployment
    ImageTest.objects.filter(pk=test.pk).update(deployment=run, runs=1, state=ImageTest.State.RUNNING)
    with PacedServer(QUICK) as server:
        host(ready_at(server.url))
        carried_out(test)
    assert test.deployment == run
    assert Deployment.objects.count() == 1
    assert test.state == ImageTest.State.DONE


def test_what_a_worker_that_died_three_times_left_is_stopped(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right after the start, while it waits, and while the load test runs; no killed process tidies up."""
    test = begin_image_test(delivery, SMALL, actor=ED)
    ends = work.end_what_it_began

    def killed(_seconds: float) -> None:
        raise WorkerKilledError

    monkeypatch.setattr(time, "sleep", killed)
    monkeypatch.setattr(work, "end_what_it_began", lambda _test: None)
    with PacedServer(QUICK) as server:
        for _number in range(3):
            with pytest.raises(WorkerKilledError):
                carry_out(ImageTest, test.pk, run_image_test)
            ready_at(server.url)(Deployment.objects.get())
            ImageTest.objects.filter(pk=test.pk).update(claim_expires_at=timezone.now() - timedelta(seconds=1))
            assert end_left_tests() == 0, "the next worker goes on with it"
        test = carried_out(test)
    assert (test.state, test.error_code) == (ImageTest.State.FAILED, "worker_died")
    run = Deployment.objects.get()
    assert test.load_test is not None
    assert (run.desired, test.load_test.state) == (Desired.RUNNING, LoadTest.State.PENDING)

    monkeypatch.setattr(work, "end_what_it_began", ends)
    assert end_left_tests() == 1
    run.refresh_from_db()
    test.load_test.refresh_from_db()
    assert (run.desired, run.stopped_by, test.load_test.state) == (Desired.STOPPED, "ed", LoadTest.State.CANCELLED)
    assert end_left_tests() == 0
    assert django_settings.CELERY_BEAT_SCHEDULE["left tests"]["task"] == stop_left_tests.name


def test_a_test_whose_end_fails_keeps_no_other_from_its_end(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_deployment("qwen-service", actor=ED).deployment
    tests = [begin_image_test(delivery, SMALL, actor=ED)]
    ImageTest.objects.update(deployment=run, state=ImageTest.State.FAILED)
    tests.append(begin_image_test(delivery, SMALL, actor=ED))
    ImageTest.objects.update(deployment=run, state=ImageTest.State.FAILED)
    tried: list[int] = []

    def end(test: ImageTest) -> None:
        tried.append(test.pk)
        if len(tried) == 1:
            raise ConflictError("busy")

    monkeypatch.setattr(work, "end_what_it_began", end)
    assert end_left_tests() == 1
    assert set(tried) == {test.pk for test in tests}


def test_what_a_cancelled_test_began_is_stopped_though_its_node_is_gone(delivery: Delivery) -> None:
    run = start_deployment("qwen-service", actor=ED).deployment
    test = begin_image_test(delivery, SMALL, actor=ED)
    held = timezone.now() + timedelta(minutes=1)
    rows = ImageTest.objects.filter(pk=test.pk)
    rows.update(deployment=run, state=ImageTest.State.RUNNING, claim_expires_at=held)
    cancel_image_test(delivery, test.pk, actor=ED)
    assert end_left_tests() == 0, "its worker does that"
    rows.update(claim_expires_at=timezone.now() - timedelta(seconds=1))
    assert end_left_tests() == 1
    run.refresh_from_db()
    assert run.desired == Desired.STOPPED


def test_a_worker_that_was_killed_at_the_start_has_started_nothing(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = begin_image_test(delivery, SMALL, actor=ED)

    def killed(*_args: object, **_began: object) -> None:
        raise WorkerKilledError

    monkeypatch.setattr(work, "_note", killed)
    with pytest.raises(WorkerKilledError):
        carry_out(ImageTest, test.pk, run_image_test)
    assert not Deployment.objects.exists()


def test_a_worker_that_lost_its_claim_leaves_everything_to_the_next(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = begin_image_test(delivery, SMALL, actor=ED)
    monkeypatch.setattr(jobs, "REPORT_EVERY_S", 0.0)
    monkeypatch.setattr(
        time, "sleep", lambda _seconds: ImageTest.objects.filter(pk=test.pk).update(claim_token="another")
    )
    carried_out(test)
    assert test.state == ImageTest.State.RUNNING
    assert Deployment.objects.get().desired == Desired.RUNNING


def test_a_person_who_lost_the_right_meanwhile_leaves_nothing_running(delivery: Delivery) -> None:
    editor = person("ed2", "editor")
    test = begin_image_test(delivery, SMALL, actor=Actor.person(editor))
    run = start_deployment("qwen-service", actor=ED).deployment
    ImageTest.objects.filter(pk=test.pk).update(deployment=run, cancel_requested_at=timezone.now())
    editor.groups.clear()
    assert carried_out(test).state == ImageTest.State.CANCELLED
    run.refresh_from_db()
    assert (run.desired, run.stopped_by) == (Desired.STOPPED, "ed2")


def test_a_test_leaves_the_config_as_it_was(
    delivery: Delivery, host: Callable[[Callable[[Deployment], None]], None]
) -> None:
    pinned = "registry.example.org/team/qwen@sha256:" + "1" * 64
    Config.objects.update(image=pinned)
    before = Config.objects.get()
    built(delivery)
    host(crash)
    test = carried_out(begin_image_test(delivery, SMALL, actor=ED))
    assert test.deployment is not None
    assert test.deployment.serving_spec().image == "berth/qwen:1"
    after = Config.objects.get()
    assert (after.image, after.revision) == (pinned, before.revision)
    # Who puts that run into the catalogue means what it ran.
    Attempt.objects.update_or_create(
        deployment=test.deployment, number=1, defaults={"started_at": timezone.now(), "ready_at": timezone.now()}
    )
    assert publish(delivery, test.deployment.pk, actor=ED).image == "berth/qwen:1"


def test_a_run_that_somebody_else_started_is_neither_tested_nor_stopped(delivery: Delivery) -> None:
    run = start_deployment("qwen-service", actor=ED).deployment
    test = carried_out(begin_image_test(delivery, SMALL, actor=ED))
    assert (test.state, test.deployment) == (ImageTest.State.FAILED, None)
    assert "runs already" in test.error
    run.refresh_from_db()
    assert run.desired == Desired.RUNNING


# ---- the step


def passed(delivery: Delivery, **columns: Any) -> ImageTest:
    """A test that has passed."""
    return ImageTest.objects.create(
        delivery=delivery,
        node=Node.objects.get(),
        image="berth/qwen:1",
        requested_by="ed",
        settings=SMALL.to_json(),
        targets=targets_of(WANTED),
        **{"state": ImageTest.State.DONE, "passed": True, "load_test": a_load_test(), **columns},
    )


def a_load_test() -> LoadTest:
    return LoadTest.objects.create(
        node=Node.objects.get(), config="qwen-service", requested_by="ed", settings=SMALL.to_json(), state="done"
    )


def test_the_step_stands_by_what_is_there(delivery: Delivery) -> None:
    build = built(delivery)
    passed(delivery, build=build)
    passed(delivery, build=build, state=ImageTest.State.CANCELLED, passed=None)
    assert state(delivery)[0] is State.DONE

    wanted = replace(WANTED, targets=replace(WANTED.targets, concurrent_users=64))
    Delivery.objects.update(requirement=wanted.to_json())
    assert state(delivery) == (State.STALE, "What is asked for was changed after berth/qwen:1 was tested.")
    Delivery.objects.update(requirement=WANTED.to_json())

    ImageBuild.objects.update(gone_at=timezone.now())
    assert state(delivery) == (State.STALE, "berth/qwen:1 was tested, and is not there any more.")
    ImageBuild.objects.update(gone_at=None)

    LoadTest.objects.all().delete()
    assert state(delivery) == (State.STALE, "The figures of the test of berth/qwen:1 were deleted. Test it again.")


def test_a_page_of_one_delivery_asks_for_each_thing_once(
    delivery: Delivery, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """However much was done: the delivery, its runs, builds, tests and pushes, and nothing of their logs."""
    for number in range(3):
        passed(delivery, build=built(delivery, f"berth/qwen:{number}"))
    with django_assert_num_queries(5) as captured:
        steps = step_states(delivery)
    assert [step.name for step in steps if step.state.state is State.DONE] == ["requirement", "tool", "test"]
    asked = " ".join(query["sql"] for query in captured.captured_queries)
    for unread in ("log", "steps", "levels", "layers", "spec"):
        assert f'."{unread}"' not in asked
    # What is asked for and chosen, the build, the push, the test, the config; nothing of the steps once more.
    with django_assert_num_queries(4):
        report_of(delivery)


def test_an_image_of_a_closed_delivery_is_not_tested(delivery: Delivery) -> None:
    close_delivery(delivery.pk, actor=ED)
    with pytest.raises(ConflictError, match="is closed"):
        begin_image_test(delivery, SMALL, actor=ED)
    assert not ImageTest.objects.exists()


def test_the_report_tells_how_to_run_what_was_delivered(delivery: Delivery) -> None:
    """Pinned or not: before the push what was built, after it what the registry has."""
    assert "vllm/vllm-openai" in report_of(delivery).docker_run
    build = built(delivery)
    report = report_of(delivery)
    assert " berth/qwen:1" in report.docker_run
    assert "image: berth/qwen:1" in report.compose
    ImageTransfer.objects.create(
        delivery=delivery,
        node=build.node,
        kind="push",
        state="done",
        repository="registry.example.org/team/qwen",
        tag="1",
        digest="sha256:" + "1" * 64,
        requested_by="ed",
    )
    assert f"registry.example.org/team/qwen@sha256:{'1' * 64}" in report_of(delivery).docker_run


# ---- who may not, and what bad input says


def test_who_may_not_begins_and_cancels_nothing(delivery: Delivery) -> None:
    operator = Actor.person(person("op", "operator"))
    with pytest.raises(NotAllowedError):
        begin_image_test(delivery, SMALL, actor=operator)
    with pytest.raises(NotAllowedError):
        cancel_image_test(delivery, 1, actor=operator)
    sent = {"concurrency": "1,2", "requests": 2, "prompt_tokens": 8, "output_tokens": 4}
    client = signed_in("op", "operator")
    assert client.post(reverse("playground:delivery_test", args=[delivery.pk]), sent).status_code == 403
    assert not ImageTest.objects.exists()


def test_what_was_typed_wrongly_is_said_and_kept(delivery: Delivery) -> None:
    client: Client = signed_in("ed", "editor")
    address = reverse("playground:delivery_test", args=[delivery.pk])
    sent = {"concurrency": "4,2", "requests": 2, "prompt_tokens": 8, "output_tokens": 4}
    refused = client.post(address, sent)
    assert refused.status_code == 422
    assert "rising order" in refused.content.decode()
    assert 'value="4,2"' in refused.content.decode()
    assert client.post(address, {**sent, "concurrency": "1,2"}).status_code == 303
    assert ImageTest.objects.get().targets == targets_of(WANTED)


def test_a_report_holds_no_secret_and_says_what_is_missing(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(dockerfile="FROM x\nENV HF_TOKEN=hf_abcdefghijklmnopqrstuvwx\n")
    Config.objects.update(environment={"API_KEY": "sk-abcdefghijklmnopqrstuvwx", "HF_TOKEN": "${HF_TOKEN}"})
    client = signed_in("vi", "viewer")
    for name in ("delivery_report", "delivery_report_text"):
        said = client.get(reverse(f"playground:{name}", args=[delivery.pk])).content.decode()
        assert "hf_abc" not in said
        assert "sk-abc" not in said
        assert "not tested yet" in said
