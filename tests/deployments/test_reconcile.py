"""The loop on a scripted host: from Start to each way a run can end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from deployments import logs
from deployments.engines.base import CausePattern
from deployments.exceptions import LaunchError, RuntimeFaultError
from deployments.fetching import run_fetch
from deployments.lifecycle import reconcile as loop
from deployments.lifecycle.decide import BACKOFF_FIRST_S, PREPARE_DEADLINE, READY_CHECK_S, START_DEADLINE
from deployments.lifecycle.phases import Phase
from deployments.models import Deployment, Fetch, Node
from tests.deployments.hosts import (
    WAY_UP,
    Host,
    attempt,
    entered,
    pass_time,
    scripted_host,
    small_config,
    stop,
)
from tests.fakes.runtime import Script

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


# The way up and down


def test_a_start_goes_all_the_way_to_ready(host: Host) -> None:
    deployment = host.ready()
    assert entered(deployment) == WAY_UP
    assert (deployment.node, deployment.endpoint) == (host.node, "http://127.0.0.1:1")
    assert deployment.ready_at is not None
    assert deployment.ended_at is None
    row = attempt(deployment)
    assert row.started_at <= (row.ready_at or row.started_at)
    assert row.ended_at is None
    assert host.runtime.calls == [("create", deployment.run_name), ("start", deployment.run_name)]


def test_a_ready_run_gives_its_claim_back_and_is_looked_at_again(host: Host) -> None:
    deployment = host.ready()
    assert deployment.claim_token == ""
    assert deployment.claim_expires_at is None
    assert deployment.next_check_at is not None
    assert 0 < (deployment.next_check_at - deployment.phase_since).total_seconds() < READY_CHECK_S + 5


def test_what_is_launched_is_the_frozen_specification_with_secrets_filled_in(host: Host, settings: Settings) -> None:
    settings.BERTH_SECRETS = {"HF_TOKEN": "hf_secret"}
    deployment = host.ready(environment={"HF_TOKEN": "${HF_TOKEN}"})
    run = host.runtime.run(deployment.run_name).spec
    assert run.argv == ("fake-server", "server", "--port", "{port}")
    assert run.environment == (("HF_TOKEN", "hf_secret"),)
    assert dict(run.labels)["berth.deployment"] == str(deployment.pk)
    assert "hf_secret" not in json.dumps(deployment.spec)


def test_only_the_first_ready_takes_a_real_request(host: Host) -> None:
    deployment = host.ready()
    assert host.engine.probes == [False, True, False]
    host.go_on(deployment)
    assert host.engine.probes == [False, True, False, False]


def test_a_healthy_server_that_does_not_serve_is_not_ready(host: Host) -> None:
    host.engine.serves = False
    deployment = host.start(load_timeout_s=600)
    loop.reconcile(deployment.pk)
    deployment.refresh_from_db()
    assert deployment.phase == Phase.LOADING


def test_the_progress_of_loading_is_read_from_the_log(host: Host) -> None:
    host.engine.healthy = False
    deployment = host.start(load_timeout_s=600)

    def print_a_shard() -> None:
        if deployment.run_name in host.runtime.owned():
            host.runtime.write(deployment.run_name, "shard")
            logs.ship(deployment)

    host.clock.at_nap = print_a_shard
    loop.reconcile(deployment.pk)
    deployment.refresh_from_db()
    assert deployment.progress["step"] == "shards"
    assert deployment.progress["done"] >= 2


def test_stop_ends_the_run_and_keeps_its_log(host: Host) -> None:
    host.runtime.default_script = Script(lines=("one", "two"))
    deployment = host.ready()
    stop(deployment)
    host.go_on(deployment)
    assert deployment.phase == Phase.STOPPED
    assert deployment.reason == "stopped"
    assert deployment.ended_at is not None
    assert (deployment.endpoint, deployment.next_check_at) == ("", None)
    assert entered(deployment) == [*WAY_UP, "stopping", "stopped"]
    row = attempt(deployment)
    assert (row.log, row.exit_code, row.cause) == ("one\ntwo", -15, "")
    assert list(host.runtime.owned()) == []
    assert [verb for verb, _ in host.runtime.calls] == ["create", "start", "stop", "remove"]


def test_what_has_ended_is_left_alone(host: Host) -> None:
    deployment = host.ready()
    stop(deployment)
    host.go_on(deployment)
    before = host.runtime.calls.copy()
    assert loop.reconcile(deployment.pk) is False
    assert host.runtime.calls == before
    deployment.refresh_from_db()
    assert deployment.next_check_at is None


def test_a_deployment_that_does_not_exist_is_no_error(host: Host) -> None:
    assert loop.reconcile(4711) is False


def test_a_run_that_ignores_sigterm_is_killed_after_its_grace(host: Host) -> None:
    host.runtime.default_script = Script(ignores_sigterm=True)
    deployment = host.ready(grace_s=5)
    host.clock.naps.clear()
    began = time.monotonic()
    stop(deployment)
    host.go_on(deployment)
    assert deployment.phase == Phase.STOPPED
    assert [verb for verb, _ in host.runtime.calls[2:]] == ["stop", "kill", "remove"]
    assert sum(host.clock.naps) + (time.monotonic() - began) >= 5, "the naps count as time, and so does the test"
    assert sum(host.clock.naps) < 6
    assert attempt(deployment).exit_code == -9
    assert (deployment.signalled_at, deployment.killed_at) == (None, None)


def test_a_run_that_survives_sigkill_is_reported_and_never_let_go(host: Host) -> None:
    host.runtime.default_script = Script(ignores_sigterm=True, ignores_sigkill=True)
    deployment = host.ready(grace_s=0)
    stop(deployment)
    loop.reconcile(deployment.pk)
    pass_time(61)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.STOPPING, "will_not_die")
    assert [verb for verb, _ in host.runtime.calls].count("kill") == 1
    assert loop.reconcile(deployment.pk) is False, "nobody waits at its side for ever"
    host.runtime.end(deployment.run_name, -9)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.STOPPED, "stopped")


# Waiting for a node


def test_without_a_node_it_waits_and_says_why(host: Host) -> None:
    Node.objects.update(heartbeat_at=None)
    deployment = host.go_on(host.start())
    assert (deployment.phase, deployment.reason) == (Phase.QUEUED, "no_node_answers")
    Node.objects.update(heartbeat_at=deployment.created_at)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.READY, "")


def test_without_a_node_of_its_runtime_it_names_the_runtime(host: Host) -> None:
    Node.objects.update(runtimes=["docker"])
    deployment = host.go_on(host.start())
    assert (deployment.phase, deployment.reason) == (Phase.QUEUED, "no_node_offers_runtime")
    assert deployment.reason_params == {"runtime": "process", "detail": "gpu-01"}


# Fetching


def fetch_asked_for(host: Host) -> Deployment:
    """A deployment whose image is not here and was asked for."""
    host.runtime.images.clear()
    deployment = host.go_on(host.start())
    assert deployment.phase == Phase.PREPARING
    assert set(host.hints) == {Fetch.objects.get().pk}
    return deployment


def test_a_missing_image_is_fetched_first(host: Host) -> None:
    deployment = fetch_asked_for(host)
    run_fetch(host.hints[0])
    host.go_on(deployment)
    assert entered(deployment) == WAY_UP


def test_the_progress_of_a_fetch_is_shown(host: Host) -> None:
    deployment = fetch_asked_for(host)
    progress = {"step": "weights", "done": 1.0, "total": 2.0, "unit": "B"}
    Fetch.objects.update(state=Fetch.State.RUNNING, claim_token="x", progress=progress)
    Fetch.objects.update(claim_expires_at=deployment.phase_since.replace(year=2100))
    host.go_on(deployment)
    assert deployment.progress == progress


def test_a_long_fetch_holds_no_thread(host: Host) -> None:
    deployment = fetch_asked_for(host)
    pass_time(60)
    host.clock.naps.clear()
    assert loop.reconcile(deployment.pk) is False
    assert host.clock.naps == []


def test_stop_during_a_fetch_ends_it_at_once(host: Host) -> None:
    deployment = fetch_asked_for(host)
    stop(deployment)
    host.go_on(deployment)
    assert deployment.phase == Phase.STOPPED
    assert host.runtime.calls == []
    assert deployment.attempts.count() == 0


def test_a_fetch_with_a_wrong_hash_fails_for_good(host: Host) -> None:
    deployment = fetch_asked_for(host)
    Fetch.objects.update(state=Fetch.State.FAILED, error_code="hash_mismatch", error="weights.whl", permanent=True)
    pass_time(-1)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.FAILED, "hash_mismatch")
    assert deployment.reason_params == {"detail": "weights.whl"}


def test_a_lost_connection_is_tried_again_after_a_while(host: Host) -> None:
    deployment = fetch_asked_for(host)
    Fetch.objects.update(state=Fetch.State.FAILED, error_code="fetch_failed", error="timed out")
    Fetch.objects.update(updated_at=deployment.phase_since)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "fetch_failed")
    pass_time(BACKOFF_FIRST_S)
    host.hints.clear()
    host.go_on(deployment)
    assert (deployment.phase, deployment.attempt) == (Phase.PREPARING, 2)
    run_fetch(host.hints[0])
    host.go_on(deployment)
    assert deployment.phase == Phase.READY


def test_a_fetch_without_end_is_given_up(host: Host) -> None:
    deployment = fetch_asked_for(host)
    pass_time(PREPARE_DEADLINE.total_seconds() + 1)
    Fetch.objects.update(state=Fetch.State.RUNNING, claim_expires_at=deployment.phase_since.replace(year=2100))
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "fetch_timeout")


# Failures


def test_a_crash_is_tried_again_until_the_attempts_are_used_up(host: Host) -> None:
    host.runtime.default_script = Script(lines=("loading", "Segmentation fault"), exits_with=139)
    deployment = host.go_on(host.start(max_attempts=2))
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "exited_at_once")
    assert loop.reconcile(deployment.pk) is False, "not before the back-off has passed"
    pass_time(BACKOFF_FIRST_S)
    host.go_on(deployment)
    assert deployment.phase == Phase.FAILED
    assert deployment.failures == 2
    assert deployment.ended_at is not None
    up = WAY_UP[:2]
    assert entered(deployment) == [*up, "backoff", *up, "failed"]
    for number in (1, 2):
        row = attempt(deployment, number)
        assert (row.exit_code, row.cause, row.log) == (139, "exited_at_once", "loading\nSegmentation fault")
        assert row.cause_params == {"exit_code": "139", "last_line": "Segmentation fault"}
    assert list(host.runtime.owned()) == []


def test_a_cause_that_trying_again_cannot_help_fails_at_once(host: Host) -> None:
    host.runtime.default_script = Script(lines=("error: unrecognized arguments: --tpyo",), exits_with=2)
    deployment = host.go_on(host.start())
    assert (deployment.phase, deployment.reason) == (Phase.FAILED, "unknown_argument")
    assert deployment.attempt == 1


def test_the_engines_own_patterns_name_the_cause(host: Host) -> None:
    host.engine.causes = (CausePattern(pattern="no room for the cache", cause="cuda_out_of_memory"),)
    host.runtime.default_script = Script(lines=("there is no room for the cache",), exits_with=1)
    assert host.go_on(host.start()).reason == "cuda_out_of_memory"


def test_a_crash_of_a_ready_run_starts_it_again(host: Host) -> None:
    deployment = host.ready()
    host.runtime.end(deployment.run_name, 1)
    host.go_on(deployment)
    assert (deployment.phase, deployment.failures) == (Phase.BACKOFF, 1)
    assert deployment.endpoint == ""
    assert deployment.ready_at is None
    pass_time(BACKOFF_FIRST_S)
    host.go_on(deployment)
    assert (deployment.phase, deployment.attempt) == (Phase.READY, 2)


def test_long_service_forgives_earlier_failures(host: Host) -> None:
    deployment = host.ready(max_attempts=2)
    Deployment.objects.update(failures=1)
    pass_time(3600)
    host.runtime.end(deployment.run_name, 1)
    host.go_on(deployment)
    assert (deployment.phase, deployment.failures) == (Phase.BACKOFF, 1)


def test_a_load_without_end_is_killed_and_fails(host: Host) -> None:
    host.engine.healthy = False
    deployment = host.start(load_timeout_s=30, max_attempts=1)
    loop.reconcile(deployment.pk)
    pass_time(30)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.FAILED, "load_timeout")
    assert [verb for verb, _ in host.runtime.calls] == ["create", "start", "kill", "remove"]
    assert attempt(deployment).cause == "load_timeout"


def test_a_load_that_even_sigkill_does_not_end_is_not_watched_in_every_tenth_of_a_second(host: Host) -> None:
    host.engine.healthy = False
    host.runtime.default_script = Script(ignores_sigkill=True)
    deployment = host.start(load_timeout_s=30)
    loop.reconcile(deployment.pk)
    pass_time(30)
    loop.reconcile(deployment.pk)
    pass_time(120)
    assert loop.reconcile(deployment.pk) is False
    deployment.refresh_from_db()
    assert (deployment.phase, deployment.reason) == (Phase.LOADING, "will_not_die")
    assert [verb for verb, _ in host.runtime.calls].count("kill") == 1


@pytest.mark.parametrize("while_in", [Phase.LOADING, Phase.READY])
def test_a_run_that_somebody_removed_is_started_again(host: Host, while_in: Phase) -> None:
    host.engine.healthy = while_in is Phase.READY
    deployment = host.start(load_timeout_s=600)
    while deployment.phase != while_in:
        loop.reconcile(deployment.pk)
        deployment.refresh_from_db()
    host.runtime.vanish(deployment.run_name)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "vanished")
    assert attempt(deployment).exit_code is None


def test_a_refused_launch_keeps_the_refusal(host: Host) -> None:
    refusal = LaunchError("The command llm is not on this host.", code="command_not_found", command="llm")
    host.runtime.fail("create", refusal)
    deployment = host.go_on(host.start())
    assert (deployment.phase, deployment.reason) == (Phase.FAILED, "command_not_found")
    assert deployment.reason_params == {"detail": "The command llm is not on this host.", "command": "llm"}
    row = attempt(deployment)
    assert (row.cause, row.cause_params) == ("command_not_found", deployment.reason_params)
    assert row.ended_at is not None


@pytest.mark.parametrize("code", ["no_free_port", "launch_failed"])
def test_a_refusal_that_may_pass_is_tried_again(host: Host, code: str) -> None:
    host.runtime.fail("start", LaunchError("It hiccups.", code=code))
    deployment = host.go_on(host.start())
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, code)
    assert list(host.runtime.owned()) == [], "what was created is removed"


def test_an_unknown_secret_fails_before_anything_is_made(host: Host) -> None:
    config = small_config(environment={"HF_TOKEN": "${HF_TOKEN}"})
    type(config).objects.update(environment={"TOKEN": "${NO_SUCH}"})
    config.refresh_from_db()
    deployment = host.go_on(host.start(config))
    assert (deployment.phase, deployment.reason) == (Phase.FAILED, "unknown_secret")
    assert deployment.reason_params["name"] == "NO_SUCH"
    assert list(host.runtime.owned()) == []


def test_a_run_that_never_starts_is_given_up(host: Host) -> None:
    deployment = host.start()
    host.runtime.fail("create", *[RuntimeFaultError("The host hiccups.")] * 2)
    loop.reconcile(deployment.pk)
    pass_time(START_DEADLINE.total_seconds() + 1)
    host.go_on(deployment)
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "start_timeout")


def test_a_fault_of_one_step_is_logged_and_tried_again(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.runtime.fail("create", RuntimeError("a fault of ours"))
    deployment = host.start()
    assert loop.reconcile(deployment.pk) is False
    assert "a fault of ours" in caplog.text
    deployment.refresh_from_db()
    assert deployment.phase == Phase.STARTING
    assert deployment.claim_token == ""
    host.go_on(deployment)
    assert deployment.phase == Phase.READY
