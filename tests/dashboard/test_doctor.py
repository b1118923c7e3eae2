"""The doctor: each finding, the report's way through Redis, the page, the command, and who may ask."""

from __future__ import annotations

import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard.doctor import examination, host, services
from dashboard.doctor.asking import ask_for_examination
from dashboard.doctor.findings import Finding, Report, State, ok
from dashboard.doctor.words import LOOKS, TITLES, WORDS, line
from deployments.actors import Actor
from deployments.exceptions import LaunchError, RuntimeUnavailableError
from deployments.gpu_readings import GpuReading, NodeReading, publish_reading
from deployments.models import AuditEntry, Node
from deployments.redis import RedisError, client
from deployments.runtimes.docker import diagnosis
from tests.deployments.editing import make_config

pytestmark = pytest.mark.django_db
UUIDS = ("GPU-a", "GPU-b")


def report(*findings: Finding, at: float | None = None) -> Report:
    return Report(node=settings.BERTH_NODE_NAME, at=time.time() if at is None else at, findings=findings)


def outcomes(findings: Any) -> list[tuple[str, str, str]]:
    return [(each.check, each.outcome, each.state.value) for each in findings]


@pytest.fixture
def node() -> Node:
    return Node.objects.create(name=settings.BERTH_NODE_NAME)


@pytest.fixture
def operator(client: Client) -> Client:
    user = User.objects.create_user("ops")
    user.groups.add(Group.objects.get(name="operator"), Group.objects.get(name="viewer"))
    client.force_login(user)
    return client


# The words


def test_every_outcome_has_words_in_both_languages_that_its_parameters_fill() -> None:
    class Anything(dict[str, Any]):
        def __missing__(self, key: str) -> str:
            return "x"

    for check, outcome in WORDS:
        assert check in TITLES
        for language in ("en", "zh-hans"):
            with translation.override(language):
                state = State.OK if outcome == "ok" else State.FAILED
                shown = line(Finding(check=check, outcome=outcome, state=state, params=Anything()))
                assert shown.sentence
                assert "%(" not in shown.sentence + shown.fix


def test_a_part_that_is_well_needs_no_fix() -> None:
    assert line(ok("redis", ms=1)[0]).fix == ""


def test_every_state_has_a_look() -> None:
    assert set(LOOKS) == {state.value for state in State}


# Each check


def test_a_database_with_the_schema_is_well() -> None:
    assert outcomes(services.database()) == [("database", "ok", "ok")]


def test_a_database_with_an_old_schema_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "missing_migrations", lambda: True)
    (finding,) = services.database()
    assert (finding.outcome, finding.state) == ("old_schema", State.FAILED)


def test_redis_away_is_a_finding_and_takes_worker_and_agent_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def ping(self) -> None:
            raise RedisError("connection refused")

        def get(self, name: str) -> None:
            raise RedisError("connection refused")

    monkeypatch.setattr(services, "client", Away)
    assert outcomes([*services.redis(), *services.worker(), *services.agent()]) == [
        ("redis", "silent", "failed"),
        ("worker", "unknown", "failed"),
        ("agent", "unknown", "failed"),
    ]


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize(
    ("age_s", "outcome"), [(None, ("never", "failed")), (60, ("late", "warning")), (0, ("ok", "ok"))]
)
def test_the_worker_is_known_by_its_sweep(age_s: float | None, outcome: tuple[str, str]) -> None:
    if age_s is not None:
        client().set("berth:sweep", json.dumps({"at": time.time() - age_s}))
    assert outcomes(services.worker()) == [("worker", *outcome)]


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize(("ahead_s", "count"), [(0.5, 0), (-30, 1)])
def test_a_clock_that_differs_is_named(monkeypatch: pytest.MonkeyPatch, ahead_s: float, count: int) -> None:
    really = time.time
    monkeypatch.setattr("dashboard.doctor.services.time.time", lambda: really() + ahead_s)
    differing = [each for each in services.clock() if each.outcome == "differs"]
    assert len(differing) == count
    if differing:
        assert differing[0].params == {"other": "redis", "seconds": pytest.approx(30, abs=1)}


def test_an_address_that_nobody_listens_on_is_named(settings: Settings) -> None:
    settings.BERTH_WEB_AT = settings.BERTH_GATEWAY_AT = "http://127.0.0.1:9"
    assert outcomes(services.ports()) == [("web", "unreachable", "failed"), ("gateway", "unreachable", "failed")]


def test_an_engine_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    (finding,) = host.docker()
    assert (finding.outcome, finding.state) == ("silent", State.FAILED)


@pytest.mark.parametrize(("version", "outcome"), [("19.3.1", "old"), ("20.10.24+dfsg1", "ok"), ("27.1.1", "ok")])
def test_an_old_engine_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, outcome: str
) -> None:
    facts = diagnosis.EngineFacts(version=version, storage_driver="overlay2", root=str(tmp_path))
    monkeypatch.setattr(diagnosis, "engine_facts", lambda: facts)
    assert outcomes(host.docker())[0][1] == outcome


@pytest.mark.parametrize(("free_gib", "outcome"), [(1, "full"), (20, "low"), (500, "ok")])
def test_a_disk_is_judged_by_what_is_free(monkeypatch: pytest.MonkeyPatch, free_gib: int, outcome: str) -> None:
    class Usage:
        total, used, free = 1000 * host.GIB, 0, free_gib * host.GIB

    monkeypatch.setattr("dashboard.doctor.host.shutil.disk_usage", lambda folder: Usage)
    (finding,) = host.disk()
    assert (finding.outcome, finding.params["free"]) == (outcome, float(free_gib))


def test_a_folder_that_cannot_be_seen_is_not_judged(settings: Settings, tmp_path: Path) -> None:
    settings.BERTH_DATA_DIR = tmp_path / "missing"
    assert outcomes(host.disk()) == [("data_disk", "invisible", "skipped")]


def test_a_hub_that_cannot_be_reached_is_a_warning(settings: Settings) -> None:
    settings.BERTH_HUB_URL = "http://127.0.0.1:9"
    assert outcomes(host.hub()) == [("hub", "unreachable", "warning")]


# GPUs


@pytest.fixture
def two_gpus(redis_server: object) -> None:
    publish(tuple(GpuReading(uuid=uuid, index=index) for index, uuid in enumerate(UUIDS)))


def publish(gpus: tuple[GpuReading, ...], *, source: str = "nvml", reason: str = "") -> None:
    reading = NodeReading(
        node=settings.BERTH_NODE_NAME, at=time.time(), source=source, driver="580.159", reason=reason, gpus=gpus
    )
    publish_reading(reading)


@pytest.mark.usefixtures("redis_server")
def test_without_a_reading_the_gpus_are_not_judged() -> None:
    assert outcomes(host.gpus()) == [("driver", "no_reading", "skipped")]


@pytest.mark.usefixtures("redis_server")
def test_a_host_without_gpus_says_why() -> None:
    publish((), source="", reason="The NVIDIA driver is not installed.")
    (finding,) = host.gpus()
    assert (finding.outcome, finding.params["reason"]) == ("none", "The NVIDIA driver is not installed.")


@pytest.mark.usefixtures("redis_server")
def test_a_recording_says_nothing_about_this_host() -> None:
    publish((GpuReading(uuid="GPU-a", index=0),), source="replay:four.jsonl")
    assert outcomes(host.gpus()) == [("driver", "replay", "skipped")]


@pytest.mark.usefixtures("two_gpus")
def test_without_an_image_no_container_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "first_local_image", lambda images: None)
    assert outcomes(host.gpus())[1] == ("toolkit", "no_image", "warning")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_a_container_does_not_see_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("some-config", runtime="docker", gpus=1, image="vllm/vllm-openai:v0.32.0")
    asked: list[list[str]] = []

    def first(images: list[str]) -> str:
        asked.append(images)
        return images[0]

    monkeypatch.setattr(diagnosis, "first_local_image", first)
    monkeypatch.setattr(diagnosis, "gpus_in_container", lambda image: frozenset({"GPU-a"}))
    found = host.gpus()
    assert asked == [["vllm/vllm-openai:v0.32.0"]]
    assert outcomes(found) == [
        ("driver", "ok", "ok"),
        ("toolkit", "ok", "ok"),
        ("gpu_in_container", "ok", "ok"),
        ("gpu_in_container", "invisible", "failed"),
    ]
    assert found[-1].params == {"index": 1, "uuid": "GPU-b"}


@pytest.mark.usefixtures("two_gpus")
def test_a_missing_toolkit_comes_with_its_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(image: str) -> frozenset[str]:
        raise LaunchError('could not select device driver "" with capabilities: [[gpu]]', code="no_nvidia_runtime")

    monkeypatch.setattr(diagnosis, "first_local_image", lambda images: "some/image")
    monkeypatch.setattr(diagnosis, "gpus_in_container", refuse)
    shown = line(host.gpus()[1])
    assert shown.link.endswith("/container-toolkit/latest/install-guide.html")


# The examination


def test_a_check_that_fails_itself_or_hangs_is_a_line_and_keeps_no_other() -> None:
    def break_down() -> list[Finding]:
        raise ZeroDivisionError("by zero")

    def hang() -> list[Finding]:
        time.sleep(1.5)
        return []

    made = examination.examine(
        {"docker": break_down, "hub": hang, "redis": lambda: ok("redis", ms=1, embedded=True)}, limit_s=0.3
    )
    assert outcomes(made.findings) == [
        ("docker", "crashed", "failed"),
        ("hub", "timeout", "failed"),
        ("redis", "ok", "ok"),
    ]
    assert "ZeroDivisionError: by zero" in line(made.findings[0]).sentence


@pytest.mark.usefixtures("redis_server")
def test_a_report_goes_through_redis_and_back() -> None:
    made = report(*ok("redis", ms=1.5, embedded=True))
    examination.keep_report(made)
    assert examination.last_report(made.node) == made
    client().set(f"berth:doctor:{made.node}", "{")
    assert examination.last_report(made.node) is None


@pytest.mark.parametrize(
    ("states", "worst"),
    [(["ok", "skipped"], "ok"), (["ok", "warning"], "warning"), (["warning", "failed"], "failed"), ([], "ok")],
)
def test_the_worst_line_is_the_reports_state(states: list[str], worst: str) -> None:
    findings = [Finding(check="redis", outcome="ok", state=State(state)) for state in states]
    assert report(*findings).worst == worst


# The command


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    made = [report(*ok("redis", ms=1.5, embedded=True))]
    monkeypatch.setattr("dashboard.management.commands.doctor.examine", lambda: made[0])
    return made


@pytest.mark.usefixtures("examined")
def test_the_command_prints_a_line_for_each_part() -> None:
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "✓ Redis  It answers in 1.5 ms." in out.getvalue()


def test_the_command_ends_with_1_when_something_failed_and_says_the_fix(examined: list[Report]) -> None:
    examined[0] = report(Finding(check="worker", outcome="never", state=State.FAILED))
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=out)
    assert ended.value.code == 1
    assert "→ Start it with berth up" in out.getvalue()


@pytest.mark.usefixtures("examined")
def test_json_has_codes_and_words() -> None:
    out = StringIO()
    call_command("doctor", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["worst"] == "ok"
    assert told["findings"][0]["check"] == "redis"
    assert told["findings"][0]["sentence"] == "It answers in 1.5 ms."


# The page


@pytest.mark.usefixtures("redis_server", "node")
def test_the_page_shows_what_was_found_and_the_fix(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    examination.keep_report(
        report(Finding(check="docker", outcome="silent", state=State.FAILED, params={"detail": "x"}))
    )
    operator.get(reverse("dashboard:doctor"))
    with django_assert_num_queries(6):
        answer = operator.get(reverse("dashboard:doctor"))
    text = answer.content.decode()
    assert "The engine does not answer: x" in text
    assert "https://docs.docker.com/engine/install/" in text
    assert "<html" in text
    fragment = operator.get(reverse("dashboard:doctor"), headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in fragment
    assert "The engine does not answer: x" in fragment


@pytest.mark.usefixtures("redis_server", "node")
def test_a_node_that_was_never_examined_says_so(operator: Client) -> None:
    assert "Not examined yet." in operator.get(reverse("dashboard:doctor")).content.decode()


def test_without_nodes_the_page_says_what_to_do(operator: Client) -> None:
    assert "No node has reported yet." in operator.get(reverse("dashboard:doctor")).content.decode()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "celery.app.base.Celery.send_task",
        lambda self, name, *, queue, **options: messages.append((name, queue)),
    )
    return messages


def test_pressing_examine_asks_the_nodes_worker_and_is_recorded(
    operator: Client, node: Node, sent: list[tuple[str, str]]
) -> None:
    answer = operator.post(reverse("dashboard:examine", args=[node.name]))
    assert (answer.status_code, answer.headers["Location"]) == (303, reverse("dashboard:doctor"))
    assert sent == [("dashboard.tasks.examine_node", f"work.{node.name}")]
    assert AuditEntry.objects.get().action == "node.examine"


def test_a_viewer_may_not_have_a_node_examined(client: Client, node: Node, sent: list[tuple[str, str]]) -> None:
    viewer = User.objects.create_user("viewer")
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    assert client.post(reverse("dashboard:examine", args=[node.name])).status_code == 403
    assert not sent
    assert not AuditEntry.objects.exists()


def test_an_unknown_node_is_a_sentence(operator: Client, sent: list[tuple[str, str]]) -> None:
    answer = operator.post(reverse("dashboard:examine", args=["nowhere"]))
    assert answer.status_code == 404
    assert not sent


def test_with_redis_away_the_person_is_told_what_to_run(
    operator: Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RedisError("connection refused")

    monkeypatch.setattr("celery.app.base.Celery.send_task", refuse)
    with pytest.raises(RuntimeUnavailableError, match=r"Run manage\.py doctor"):
        ask_for_examination(node.name, actor=Actor.command_line())


def test_only_a_post_examines(operator: Client, node: Node) -> None:
    assert operator.get(reverse("dashboard:examine", args=[node.name])).status_code == 405
