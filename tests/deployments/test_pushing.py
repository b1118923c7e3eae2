"""Pushes to a real registry: progress of each layer, the digest, cancelling, and going on after a break."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import docker
import pytest

from deployments.exceptions import JobCancelledError
from deployments.progress import Progress
from deployments.registries.credentials import Credentials
from deployments.registries.refusals import TransferError
from deployments.runtimes.docker.pushing import push
from deployments.transfers.layers import LayerProgress, LayerState, Pushed
from tests.docker_engine import docker_client
from tests.docker_registry import MIB, Cut, Line, build_layers, registry

pytestmark = pytest.mark.xdist_group("docker-pull")
LAYERS_MIB = (1, 12)
IMAGE = "berth-test/push-source:1"
Told = list[tuple[Progress, Sequence[LayerProgress]]]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker_client()
    build_layers(client, IMAGE, mib=LAYERS_MIB)
    yield client
    client.images.remove(IMAGE, force=True)
    client.close()


@pytest.fixture(scope="module")
def port(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def send(engine: docker.DockerClient) -> Iterator[Callable[..., Pushed]]:
    """Pushes the image, and takes the name away again at the end."""
    named: list[str] = []

    def send_it(repository: str, told: Told | None = None, **changes: object) -> Pushed:
        named.append(f"{repository}:1")
        asked = {"tag": "1", "credentials": Credentials(), "cancelled": lambda: False, **changes}
        report = (lambda whole, each: told.append((whole, each))) if told is not None else (lambda _whole, _each: None)
        return push(IMAGE, repository=repository, report=report, **asked)  # type: ignore[arg-type]

    yield send_it
    for name in named:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(name)


def test_a_push_tells_each_layer_and_ends_with_the_digest(
    engine: docker.DockerClient, port: int, send: Callable[..., Pushed]
) -> None:
    repository = f"127.0.0.1:{port}/team/progress"
    told: Told = []
    pushed = send(repository, told)
    assert pushed.size_bytes >= sum(LAYERS_MIB) * MIB
    assert f"{repository}@{pushed.digest}" in engine.images.get(f"{repository}:1").attrs["RepoDigests"]
    whole, layers = told[-1]
    assert [layer.state for layer in layers] == [LayerState.PUSHED] * len(LAYERS_MIB)
    assert whole.layers_done == whole.layers == len(LAYERS_MIB)
    assert whole.done == whole.total
    assert (whole.total or 0) >= sum(LAYERS_MIB) * MIB

    told.clear()
    assert send(repository, told) == pushed
    assert {layer.state for layer in told[-1][1]} == {LayerState.HERE}, "what is there is not sent again"


def test_an_address_where_nobody_listens_is_a_sentence(send: Callable[..., Pushed]) -> None:
    with pytest.raises(TransferError, match="cannot be reached from the node") as raised:
        send("127.0.0.1:9/team/none")
    assert raised.value.code == "unreachable"
    assert raised.value.is_transient


def test_a_push_that_was_ended_in_the_middle_goes_on_with_what_is_missing(
    port: int, send: Callable[..., Pushed]
) -> None:
    cut = Cut(port, after=6 * MIB)
    repository = f"127.0.0.1:{cut.port}/team/again"
    told: Told = []

    def cancelled() -> bool:
        return cut.cuts > 0 and any(layer.state is LayerState.PUSHED for layer in told[-1][1])

    try:
        with pytest.raises(JobCancelledError):
            send(repository, told, cancelled=cancelled)
        before = cut.passed_bytes
        cut.mend()
        told.clear()
        send(repository, told)
    finally:
        cut.close()
    assert sorted(layer.state for layer in told[-1][1]) == [LayerState.HERE, LayerState.PUSHED]
    assert cut.passed_bytes - before < (LAYERS_MIB[1] + 0.5) * MIB, "the small layer is not sent again"


def test_a_cancelled_push_is_ended_whatever_the_registry_does(port: int, send: Callable[..., Pushed]) -> None:
    silent = Line(port, rate=0)
    ends_at = time.monotonic() + 1
    try:
        with pytest.raises(JobCancelledError):
            send(f"127.0.0.1:{silent.port}/team/silent", cancelled=lambda: time.monotonic() > ends_at)
    finally:
        silent.close()
    assert time.monotonic() - ends_at < 1
