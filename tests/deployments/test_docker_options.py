"""What Docker is asked for: held on the request that reaches the engine, since no GPU is here to give."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from deployments.exceptions import LaunchError
from deployments.runtimes.base import RunSpec
from deployments.runtimes.docker import DockerRuntime
from deployments.runtimes.docker.labels import INSTALLATION
from deployments.runtimes.docker.options import Reach

UUIDS = ("GPU-00000000-0000-4000-8000-000000000000", "GPU-00000000-0000-4000-8000-000000000001")


class ListeningEngine(ThreadingMixIn, UnixStreamServer):
    """Answers as an engine without any container does, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.created: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: ListeningEngine
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "docker"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self._answer(200, {"ApiVersion": "1.44", "Version": "27.0"})
        else:
            self._answer(404, {"message": "No such container"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.created.append({"path": self.path, **body})
        self._answer(201, {"Id": "f" * 64, "Warnings": []})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListeningEngine]:
    path = tmp_path_factory.mktemp("e") / "s"
    server = ListeningEngine(path)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    yield server
    server.shutdown()
    server.server_close()


RUN = RunSpec(
    name="berth-abc-1-1",
    image="vllm/vllm-openai:v0.32.0",
    argv=("org/model", "--port", "{port}"),
    environment=(("HF_TOKEN", "hf_x"), ("URL", "http://0.0.0.0:{port}")),
    volumes=("hf-cache:/root/.cache/huggingface", "licences:/licences:ro"),
    port=8000,
    shared_memory="16g",
    locked_memory=True,
    gpu_uuids=UUIDS,
    labels=((INSTALLATION, "abc"), ("berth.deployment", "1")),
)


def created(engine: ListeningEngine, run: RunSpec = RUN, reach: Reach | None = None) -> dict[str, Any]:
    DockerRuntime(reach or Reach(), logs=Path("/nonexistent")).create(run)
    return engine.created[-1]


def test_gpus_are_requested_by_uuid_and_counted_by_bus(engine: ListeningEngine) -> None:
    sent = created(engine)
    (request,) = sent["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == list(UUIDS)
    assert request["Capabilities"] == [["gpu"]]
    assert not request["Count"], "a count beside the list is refused by the engine"
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in sent["Env"]
    assert not any(entry.startswith("NVIDIA_VISIBLE_DEVICES") for entry in sent["Env"])


def test_without_gpus_none_is_requested_and_none_is_visible(engine: ListeningEngine) -> None:
    sent = created(engine, replace(RUN, gpu_uuids=(), locked_memory=False))
    assert not sent["HostConfig"].get("DeviceRequests")
    assert "NVIDIA_VISIBLE_DEVICES=void" in sent["Env"]
    assert not sent["HostConfig"].get("Ulimits")


def test_a_config_cannot_choose_its_gpus(engine: ListeningEngine) -> None:
    run = replace(RUN, gpu_uuids=(), environment=(("NVIDIA_VISIBLE_DEVICES", "all"),))
    assert "NVIDIA_VISIBLE_DEVICES=void" in created(engine, run)["Env"]
    assert "NVIDIA_VISIBLE_DEVICES=all" not in engine.created[-1]["Env"]


def test_a_container_has_no_more_rights_than_it_needs(engine: ListeningEngine) -> None:
    host = created(engine)["HostConfig"]
    assert host["Init"] is True
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host.get("Privileged")
    assert host.get("NetworkMode") != "host"
    assert "NET_RAW" in host["CapDrop"]
    assert host["RestartPolicy"] == {"Name": "no"}
    assert host["LogConfig"]["Config"]["max-file"] == "2"


def test_memory_of_a_server_on_several_gpus(engine: ListeningEngine) -> None:
    host = created(engine)["HostConfig"]
    assert host["ShmSize"] == 16 * 1024**3
    assert {"Name": "memlock", "Soft": -1, "Hard": -1} in host["Ulimits"]


def test_the_port_is_filled_in_and_published_on_this_host_alone(engine: ListeningEngine) -> None:
    sent = created(engine)
    assert sent["Cmd"] == ["org/model", "--port", "8000"]
    assert "URL=http://0.0.0.0:8000" in sent["Env"]
    assert sent["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


def test_another_node_publishes_on_its_private_address(engine: ListeningEngine) -> None:
    sent = created(engine, reach=Reach(address="10.0.0.5"))
    assert sent["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "10.0.0.5", "HostPort": ""}]}


def test_in_the_composed_stack_nothing_is_published(engine: ListeningEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerRuntime, "_ensure_network", lambda self, client: None)
    sent = created(engine, reach=Reach(network="berth-models"))
    assert sent["HostConfig"]["NetworkMode"] == "berth-models"
    assert not sent["HostConfig"].get("PortBindings")


def test_the_composed_stack_publishes_on_the_host_as_well_where_an_address_is_set(
    engine: ListeningEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DockerRuntime, "_ensure_network", lambda self, client: None)
    sent = created(engine, reach=Reach(network="berth-models", published="10.0.0.5"))
    assert sent["HostConfig"]["NetworkMode"] == "berth-models"
    assert sent["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "10.0.0.5", "HostPort": ""}]}


def test_volumes_are_named_and_may_be_read_only(engine: ListeningEngine) -> None:
    mounts = created(engine)["HostConfig"]["Mounts"]
    assert [(each["Type"], each["Source"], each["Target"], each["ReadOnly"]) for each in mounts] == [
        ("volume", "hf-cache", "/root/.cache/huggingface", False),
        ("volume", "licences", "/licences", True),
    ]


def test_an_entry_point_replaces_the_images_own_and_else_is_left_alone(engine: ListeningEngine) -> None:
    assert "Entrypoint" not in {key for key, value in created(engine).items() if value}
    assert created(engine, replace(RUN, entrypoint=("python3", "-m", "x")))["Entrypoint"] == ["python3", "-m", "x"]


def test_a_host_path_needs_to_be_allowed(engine: ListeningEngine, settings: Settings, tmp_path: Path) -> None:
    run = replace(RUN, volumes=(f"{tmp_path}/weights:/weights:ro",))
    with pytest.raises(LaunchError) as caught:
        created(engine, run)
    assert caught.value.code == "host_path_refused"
    assert not engine.created
    settings.BERTH_HOST_PATHS = (tmp_path,)
    (mount,) = created(engine, run)["HostConfig"]["Mounts"]
    assert (mount["Type"], mount["Source"], mount["ReadOnly"]) == ("bind", f"{tmp_path}/weights", True)


def test_a_link_out_of_an_allowed_folder_leads_nowhere(
    engine: ListeningEngine, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "out").symlink_to("/etc")
    settings.BERTH_HOST_PATHS = (tmp_path / "allowed",)
    for path in ("out", "../other", "../allowed2"):
        with pytest.raises(LaunchError, match=r"allowed|holds"):
            created(engine, replace(RUN, volumes=(f"{tmp_path}/allowed/{path}:/x",)))
    assert not engine.created


def test_a_link_that_is_exchanged_after_the_check_changes_nothing(
    engine: ListeningEngine, settings: Settings, tmp_path: Path
) -> None:
    weights = tmp_path / "weights-2026"
    weights.mkdir()
    link = tmp_path / "weights"
    link.symlink_to(weights)
    settings.BERTH_HOST_PATHS = (tmp_path,)
    (mount,) = created(engine, replace(RUN, volumes=(f"{link}:/weights:ro",)))["HostConfig"]["Mounts"]
    link.unlink()
    link.symlink_to("/etc")
    assert mount["Source"] == str(weights), "the folder that was checked, whatever the link says by now"


def test_the_labels_say_whose_it_is(engine: ListeningEngine) -> None:
    labels = created(engine)["Labels"]
    assert labels == {INSTALLATION: "abc", "berth.deployment": "1", "berth.port": "8000"}
    assert "name=berth-abc-1-1" in engine.created[-1]["path"]
    assert django_settings.BERTH_HOST_PATHS == ()
