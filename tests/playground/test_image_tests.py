"""The steps Test and Report: an image that is run, asked, judged and stopped; and all of it on one page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deployments.actors import Actor
from deployments.deliveries.requirement import Hardware, Requirement, Targets
from deployments.deliveries.steps import State
from deployments.exceptions import ConflictError, NotAllowedError
from deployments.jobs import carry_out
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import Attempt, AuditEntry, Config, Delivery, Deployment, ImageBuild, Node
from deployments.services.trials import make_draft
from playground.deliveries.targets import NAMES, settings_for, targets_of
from playground.deliveries.testing import run_image_test, step_state
from playground.loadtests.verdicts import TARGETS, verdicts
from playground.loadtests.work import run_load_test
from playground.models import ImageTest, LoadTest
from playground.services.image_tests import begin_image_test, cancel_image_test
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
    from deployments.services.lifecycle import start_deployment

    run = start_deployment("qwen-service", actor=ED).deployment
    ImageTest.objects.filter(pk=test.pk).update(deployment=run, runs=1, state=ImageTest.State.RUNNING)
    with PacedServer(QUICK) as server:
        host(ready_at(server.url))
        carried_out(test)
    assert test.deployment == run
    assert Deployment.objects.count() == 1
    assert test.state == ImageTest.State.DONE


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
