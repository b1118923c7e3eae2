"""The docker runtime on a real engine: what others do to its containers, and whose it never touches."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from django.test import override_settings

from deployments.exceptions import LaunchError, RuntimeUnavailableError
from deployments.runtimes.base import RunState
from deployments.runtimes.docker import DockerRuntime, engine
from deployments.runtimes.docker.labels import INSTALLATION
from deployments.runtimes.docker.options import Reach
from tests.deployments.benches import Behaviour, DockerBench, launch, wait_for, wait_for_state
from tests.docker_engine import docker_client, ensure_image, own_engine


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[DockerBench]:
    made = DockerBench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def outside() -> Iterator[docker.DockerClient]:
    """Somebody else at the same engine."""
    client = docker_client()
    yield client
    client.close()


def test_a_model_server_is_reached_at_the_port_that_docker_chose(bench: DockerBench) -> None:
    import httpx

    run = bench.program("exec tiny {port}", port=9000)
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    wait_for(lambda: bool(bench.runtime.observe(run.name).endpoint), "a port")
    endpoint = bench.runtime.observe(run.name).endpoint
    assert endpoint.startswith("http://127.0.0.1:")

    def answers() -> bool:
        try:
            return httpx.get(f"{endpoint}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(answers, "an answer")


def test_a_container_of_somebody_else_with_our_name_is_refused_and_left_alone(
    bench: DockerBench, outside: docker.DockerClient
) -> None:
    run = bench.spec(Behaviour.SERVES)
    theirs = outside.containers.create(bench.image, ["sleep", "60"], name=run.name)
    try:
        with pytest.raises(LaunchError) as caught:
            bench.runtime.create(run)
        assert caught.value.code == "name_in_use"
        assert bench.runtime.observe(run.name).state is RunState.GONE
        assert run.name not in bench.runtime.owned()
        theirs.start()
        bench.runtime.stop(run.name, force=True)
        bench.runtime.remove(run.name)
        theirs.reload()
        assert theirs.status == "running"
    finally:
        theirs.remove(force=True)


def test_a_container_of_another_installation_is_not_seen(bench: DockerBench, tmp_path: Path) -> None:
    name = launch(bench, Behaviour.SERVES)
    with override_settings(BERTH_INSTALLATION="another"):
        assert bench.runtime.owned() == {}
        assert bench.runtime.observe(name).state is RunState.GONE
        theirs = DockerRuntime(Reach(), logs=tmp_path / "theirs")
        assert not theirs.logs(name).lines
        theirs.stop(name, force=True)
        theirs.remove(name)
    assert bench.runtime.observe(name).state is RunState.RUNNING


def test_killed_from_outside_it_has_ended_by_signal_9(bench: DockerBench, outside: docker.DockerClient) -> None:
    name = launch(bench, Behaviour.SERVES)
    outside.containers.get(name).kill()
    ended = wait_for_state(bench.runtime, name, RunState.EXITED)
    assert (ended.exit_code, ended.out_of_memory) == (-9, False)


def test_removed_from_outside_it_is_gone(bench: DockerBench, outside: docker.DockerClient) -> None:
    name = launch(bench, Behaviour.SERVES)
    outside.containers.get(name).remove(force=True)
    wait_for_state(bench.runtime, name, RunState.GONE)
    assert name not in bench.runtime.owned()


def test_paused_from_outside_it_runs_and_says_so_and_can_still_be_stopped(
    bench: DockerBench, outside: docker.DockerClient
) -> None:
    name = launch(bench, Behaviour.SERVES)
    outside.containers.get(name).pause()
    seen = bench.runtime.observe(name)
    assert (seen.state, seen.paused, seen.detail) == (RunState.RUNNING, True, "It is paused.")
    assert bench.runtime.owned()[name] is RunState.RUNNING
    bench.runtime.stop(name, force=False)
    assert wait_for_state(bench.runtime, name, RunState.EXITED).exit_code == -15


def test_restarted_from_outside_it_has_another_port(bench: DockerBench, outside: docker.DockerClient) -> None:
    name = launch(bench, Behaviour.SERVES)
    outside.containers.get(name).restart(timeout=0)
    wait_for_state(bench.runtime, name, RunState.RUNNING)
    assert bench.runtime.observe(name).endpoint.startswith("http://127.0.0.1:")


def test_its_processes_are_told_by_the_hosts_pids(bench: DockerBench) -> None:
    name = launch(bench, Behaviour.SERVES)
    members = bench.runtime.members(name)
    assert bench.runtime.observe(name).pid in members
    assert all(Path(f"/proc/{pid}").exists() for pid in members)
    assert bench.runtime.members("never-created") == frozenset()


def test_the_host_killing_it_for_memory_is_told(bench: DockerBench, outside: docker.DockerClient) -> None:
    run = bench.program("echo one; echo two; echo three; sleep 1; dd if=/dev/zero of=/dev/null bs=200M")
    bench.runtime.create(run)
    outside.containers.get(run.name).update(mem_limit="8m", memswap_limit="8m")
    bench.runtime.start(run.name)
    ended = wait_for_state(bench.runtime, run.name, RunState.EXITED)
    assert ended.out_of_memory


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"image": "berth-test/nowhere:1"}, "image_missing"),
        ({"gpu_uuids": ("GPU-1",)}, "no_nvidia_runtime"),
    ],
)
def test_what_docker_refuses_is_named(bench: DockerBench, options: dict[str, object], code: str) -> None:
    run = bench.program("true", **options)

    def launch_it() -> None:
        bench.runtime.create(run)
        bench.runtime.start(run.name)

    with pytest.raises(LaunchError) as caught:
        launch_it()
    assert caught.value.code == code


def test_a_command_that_is_not_in_the_image_ends_with_127(bench: DockerBench) -> None:
    run = bench.program("", argv=("no-such-program",))
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    assert wait_for_state(bench.runtime, run.name, RunState.EXITED).exit_code == 127


def test_both_streams_are_told_apart(bench: DockerBench) -> None:
    run = bench.program("echo one; echo two; echo three; sleep 0.2; echo bad >&2")
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    wait_for_state(bench.runtime, run.name, RunState.EXITED)
    lines = bench.runtime.logs(run.name).lines
    assert [(line.stream, line.text) for line in lines][-1] == ("err", "bad")
    assert time.time() - 60 < lines[0].at <= lines[-1].at <= time.time() + 1


def test_named_volumes_outlive_the_run_and_anonymous_ones_do_not(
    bench: DockerBench, outside: docker.DockerClient
) -> None:
    volume = f"{bench.image.split('/')[0]}-{time.time_ns()}"
    run = bench.program("echo one; echo two; echo three; echo kept > /data/file", volumes=(f"{volume}:/data",))
    try:
        bench.runtime.create(run)
        bench.runtime.start(run.name)
        wait_for_state(bench.runtime, run.name, RunState.EXITED)
        bench.runtime.remove(run.name)
        assert outside.volumes.get(volume).name == volume
    finally:
        outside.volumes.get(volume).remove()


def test_changes_are_told_within_a_second_and_end_when_asked(bench: DockerBench, outside: docker.DockerClient) -> None:
    name = launch(bench, Behaviour.SERVES)
    told: list[tuple[float, str]] = []
    ending = threading.Event()

    def listen() -> None:
        told.extend((time.monotonic(), changed) for changed in bench.runtime.changes(ended=ending.is_set))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        time.sleep(0.3)  # the listener's connection; an event before it is what the list after a gap is for
        killed_at = time.monotonic()
        outside.containers.get(name).kill()
        wait_for(lambda: bool(told), "the end to be told", within_s=5)
        assert told[0][1] == name
        assert told[0][0] - killed_at < 1
    finally:
        ending.set()
        listener.join(timeout=5)
    assert not listener.is_alive()


def test_the_engine_away_is_unknown_and_its_return_finds_everything(tmp_path: Path) -> None:
    with own_engine(tmp_path / "engine") as own, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", own.host)
        client = own.client()
        image = ensure_image(client)
        client.close()
        bench = DockerBench(tmp_path)
        bench.runtime = DockerRuntime(Reach(), logs=tmp_path)
        run = bench.program("echo one; echo two; echo three; sleep 600", image=image)
        bench.runtime.create(run)
        bench.runtime.start(run.name)
        wait_for_state(bench.runtime, run.name, RunState.RUNNING)
        own.stop(how=signal.SIGKILL)
        assert bench.runtime.observe(run.name).state is RunState.UNKNOWN
        assert not bench.runtime.is_offered()
        with pytest.raises(RuntimeUnavailableError) as caught:
            bench.runtime.stop(run.name, force=True)
        assert caught.value.code == "engine_silent"
        own.start()
        assert wait_for_state(bench.runtime, run.name, RunState.RUNNING).pid
        bench.close()


def test_the_version_is_the_engines(tmp_path: Path, outside: docker.DockerClient) -> None:
    assert DockerRuntime(Reach(), logs=tmp_path).version() == outside.version()["Version"]


def test_a_missing_engine_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeUnavailableError, match="There is no container engine at"):
        engine.connect()
    assert DockerRuntime(Reach(), logs=tmp_path).observe("any").state is RunState.UNKNOWN
    assert INSTALLATION == "berth.installation"
