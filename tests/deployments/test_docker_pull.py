"""Pulls from a real registry: progress, cancelling, and what each refusal means."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import docker
import pytest

from deployments.exceptions import FetchCancelledError, FetchError, RuntimeUnavailableError
from deployments.progress import Progress
from deployments.runtimes.base import RunState
from deployments.runtimes.docker import DockerRuntime
from deployments.runtimes.docker.options import Reach
from tests.docker_engine import OwnEngine, docker_client, own_engine
from tests.docker_registry import MIB, Line, push_layers, registry

pytestmark = pytest.mark.xdist_group("docker-pull")
REPOSITORY = "berth-test/layers"
LAYERS_MIB = (1, 8, 12)


@pytest.fixture(scope="module")
def outside() -> Iterator[docker.DockerClient]:
    client = docker_client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def port(outside: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        push_layers(outside, f"127.0.0.1:{found}/{REPOSITORY}", mib=LAYERS_MIB)
        yield found


@pytest.fixture
def line(port: int, outside: docker.DockerClient) -> Iterator[Callable[[int], Line]]:
    made: list[Line] = []

    def make(rate: int) -> Line:
        made.append(Line(port, rate=rate))
        return made[-1]

    yield make
    for each in made:
        each.close()
        with contextlib.suppress(docker.errors.ImageNotFound):
            outside.images.remove(name(each.port))


@pytest.fixture
def runtime(tmp_path: Path) -> DockerRuntime:
    return DockerRuntime(Reach(), logs=tmp_path)


def name(port: int) -> str:
    return f"127.0.0.1:{port}/{REPOSITORY}:1"


def test_a_pull_tells_bytes_rate_and_what_is_left(runtime: DockerRuntime, line: Callable[[int], Line]) -> None:
    image = name(line(10 * MIB).port)
    told: list[Progress] = []
    assert not runtime.has_image(image)
    runtime.ensure_image(image, report=told.append, cancelled=lambda: False)
    assert runtime.has_image(image)
    fetched = [each for each in told if each.unit == "B"]
    assert all(before.done <= after.done for before, after in pairwise(fetched))  # type: ignore[operator]
    assert {each.total for each in fetched if each.total} == {max(each.total or 0 for each in fetched)}
    assert sum(LAYERS_MIB) * MIB <= max(each.total or 0 for each in fetched) < 1.1 * sum(LAYERS_MIB) * MIB
    assert any(each.eta_s and each.rate for each in fetched)
    assert {each.layers for each in fetched if each.total} == {len(LAYERS_MIB)}
    assert told[-1].done == told[-1].total == len(LAYERS_MIB)

    told.clear()
    runtime.ensure_image(image, report=told.append, cancelled=lambda: False)
    assert not told, "what is here is not pulled again"


def test_a_cancelled_pull_is_ended_by_the_engine_too(runtime: DockerRuntime, line: Callable[[int], Line]) -> None:
    slow = line(MIB)
    cancel_at = time.monotonic() + 1.5
    with pytest.raises(FetchCancelledError):
        runtime.ensure_image(name(slow.port), report=lambda _: None, cancelled=lambda: time.monotonic() > cancel_at)
    assert time.monotonic() - cancel_at < 1
    time.sleep(0.5)  # what is in the sockets still comes
    passed = slow.passed_bytes
    assert passed
    time.sleep(1)
    assert slow.passed_bytes == passed
    assert not runtime.has_image(name(slow.port))


def test_a_registry_that_never_answers_does_not_delay_stop(runtime: DockerRuntime, line: Callable[[int], Line]) -> None:
    asked_at = [time.monotonic()]

    def cancelled() -> bool:
        asked_at.append(time.monotonic())
        return asked_at[-1] - asked_at[0] > 2

    with pytest.raises(FetchCancelledError):
        runtime.ensure_image(name(line(0).port), report=lambda _: None, cancelled=cancelled)
    assert max(after - before for before, after in pairwise(asked_at)) < 1
    assert time.monotonic() - asked_at[0] < 4


def test_what_the_registry_does_not_have_is_permanent(runtime: DockerRuntime, port: int) -> None:
    for image in (f"127.0.0.1:{port}/{REPOSITORY}:none", f"127.0.0.1:{port}/berth-test/none:1"):
        assert refusal(runtime, image) == ("image_not_found", True)


def test_no_way_to_the_registry_is_tried_again(runtime: DockerRuntime) -> None:
    for image in ("127.0.0.1:9/x/y:1", "no-such-host.invalid/x/y:1"):
        assert refusal(runtime, image) == ("registry_unreachable", False)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, '{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}', ("registry_denied", True)),
        (403, '{"errors":[{"code":"DENIED","message":"not yours"}]}', ("registry_denied", True)),
        (429, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', ("registry_rate_limited", False)),
        (429, "Too Many Requests", ("registry_rate_limited", False)),
        (503, "no healthy upstream", ("registry_unreachable", False)),
    ],
)
def test_each_refusal_of_a_registry_has_its_reason(
    runtime: DockerRuntime, status: int, body: str, expected: tuple[str, bool]
) -> None:
    with refusing(status, body) as port:
        assert refusal(runtime, f"127.0.0.1:{port}/x/y:1") == expected


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_ends_in_a_pull_is_silent_and_has_no_image(
    how: signal.Signals, line: Callable[[int], Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_engine(tmp_path / "engine") as own:
        monkeypatch.setenv("DOCKER_HOST", own.host)
        runtime = DockerRuntime(Reach(), logs=tmp_path)
        image = name(line(MIB).port)
        ending = threading.Timer(1.5, own.stop, kwargs={"how": how})
        ending.start()
        with pytest.raises(RuntimeUnavailableError) as caught:
            runtime.ensure_image(image, report=lambda _: None, cancelled=lambda: False)
        assert caught.value.code == "engine_silent"
        ending.join()
        own.start()
        assert not runtime.has_image(image)


def test_an_engine_that_hangs_is_soon_known_to_be_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_engine(tmp_path / "engine") as own:
        monkeypatch.setenv("DOCKER_HOST", own.host)
        runtime = DockerRuntime(Reach(), logs=tmp_path)
        assert runtime.is_offered()
        with hung(own):
            began = time.monotonic()
            assert not runtime.is_offered()
            assert runtime.observe("any").state is RunState.UNKNOWN
            with pytest.raises(RuntimeUnavailableError):
                runtime.owned()
            assert time.monotonic() - began < 10, "a heartbeat and a list fit into the 15 s that a node may be silent"
        assert runtime.is_offered()
        assert runtime.observe("any").state is RunState.GONE


@contextlib.contextmanager
def hung(own: OwnEngine) -> Iterator[None]:
    """The engine's process stopped: its socket takes connections and nothing answers."""
    assert own.process is not None
    own.process.send_signal(signal.SIGSTOP)
    ends_at = time.monotonic() + 10
    while not threads_stand_still(own.process.pid):
        assert time.monotonic() < ends_at, "the engine does not stand still"
        time.sleep(0.01)
    try:
        yield
    finally:
        own.process.send_signal(signal.SIGCONT)


def threads_stand_still(pid: int) -> bool:
    """Whether the stop has reached every thread; until then one of them may still answer."""
    stats = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def refusal(runtime: DockerRuntime, image: str) -> tuple[str, bool]:
    with pytest.raises(FetchError) as caught:
        runtime.ensure_image(image, report=lambda _: None, cancelled=lambda: False)
    return caught.value.code, caught.value.permanent


@contextlib.contextmanager
def refusing(status: int, body: str) -> Iterator[int]:
    """A registry that answers everything with `status`; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v2/" and status != 401 else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body.encode())

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
