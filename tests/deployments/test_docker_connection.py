"""How the engine is reached, and what its refusals mean: by TLS elsewhere; its own failures are not the config's."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest

from deployments.exceptions import LaunchError, RuntimeUnavailableError
from deployments.lifecycle.reasons import PERMANENT
from deployments.runtimes.base import RunSpec, RunState
from deployments.runtimes.docker import DockerRuntime, engine
from deployments.runtimes.docker.options import Reach
from tests.requirements import require

RUN = RunSpec(name="berth-abc-1-1", image="some/image:1", argv=("serve",))
SUBJECT = "/CN=127.0.0.1"


@dataclass
class Answers:
    """What a create is answered with."""

    status: int = 201
    message: str = ""


class Handler(BaseHTTPRequestHandler):
    """An engine without a container, which answers creating one as the test says."""

    protocol_version = "HTTP/1.1"
    answers: Answers

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self._answer(200, {"ApiVersion": "1.44", "Version": "27.0"})
        elif self.path.endswith("/_ping"):
            self._answer(200, {})
        else:
            self._answer(404, {"message": "No such container"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.answers
        told: dict[str, Any] = {"message": answers.message} if answers.message else {"Id": "f" * 64, "Warnings": []}
        self._answer(answers.status, told)

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    """Says nothing of connections that a refused handshake ends."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def server(answers: Answers) -> Iterator[QuietServer]:
    listening = QuietServer(("127.0.0.1", 0), type("Engine", (Handler,), {"answers": answers}))
    yield listening
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def plain(server: QuietServer, monkeypatch: pytest.MonkeyPatch) -> DockerRuntime:
    return serving(server, monkeypatch)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, cert.pem and key.pem, for engine and client alike."""
    program = require("openssl")
    folder = tmp_path_factory.mktemp("certificates")
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", SUBJECT, "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([program, "req", "-x509", *made, *files], check=True, capture_output=True, timeout=60)
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    return folder


def serving(server: QuietServer, monkeypatch: pytest.MonkeyPatch) -> DockerRuntime:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    return DockerRuntime(Reach(), logs=Path("/nonexistent"))


def secured(server: QuietServer, certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    # The handshake is the answering thread's, at its first read: here it would keep others waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


# TLS


def test_an_engine_elsewhere_is_reached_by_tls(
    server: QuietServer, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured(server, certificates)
    runtime = serving(server, monkeypatch)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())  # for the rest of this host, and not for its engine
    runtime.create(RUN)
    assert runtime.is_offered()
    client = engine.new_connection()
    assert client.base_url == f"https://127.0.0.1:{server.server_port}"
    client.close()


def test_without_the_setting_it_is_asked_in_the_clear_and_refuses(
    server: QuietServer, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured(server, certificates)
    assert not serving(server, monkeypatch).is_offered()


def test_an_engine_that_cannot_prove_itself_is_not_asked(
    server: QuietServer, certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secured(server, certificates)
    runtime = serving(server, monkeypatch)
    for name in ("cert.pem", "key.pem"):
        shutil.copy(certificates / name, tmp_path)
    other = ["-subj", "/CN=other", "-keyout", str(tmp_path / "other.pem"), "-out", str(tmp_path / "ca.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *other],
        check=True,
        capture_output=True,
        timeout=60,
    )
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    assert not runtime.is_offered()


def test_certificates_that_have_gone_are_a_sentence(
    server: QuietServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serving(server, monkeypatch)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    for connect in (engine.connect, engine.new_connection):
        with pytest.raises(RuntimeUnavailableError, match=r"lacks ca\.pem, cert\.pem, key\.pem"):
            connect()


# Refusals


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (500, "containerd: context deadline exceeded", "launch_failed"),
        (503, "the engine is shutting down", "launch_failed"),
        (500, "write /var/lib/docker: no space left on device", "no_image_space"),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', "no_nvidia_runtime"),
        (400, "invalid mount config", "launch_refused"),
    ],
)
def test_what_the_engine_fails_at_may_be_tried_again_and_what_it_refuses_may_not(
    plain: DockerRuntime, answers: Answers, status: int, message: str, code: str
) -> None:
    answers.status, answers.message = status, message
    with pytest.raises(LaunchError) as caught:
        plain.create(RUN)
    assert caught.value.code == code
    assert (code in PERMANENT) == (code in {"no_nvidia_runtime", "launch_refused"})
    assert message in str(caught.value)


def test_a_silent_engine_is_told_in_the_systems_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))  # nobody listens there
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        seen = DockerRuntime(Reach(), logs=tmp_path).observe("any")
    assert (seen.state, seen.detail) == (RunState.UNKNOWN, "Connection refused")
