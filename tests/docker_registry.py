"""A real registry on 127.0.0.1, and one whose connection is as slow or as silent as a test wants."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker

from tests.ports import free_port
from tests.requirements import require

LABEL = "berth-test-registry"
MIB = 1024 * 1024
USER, PASSWORD = "pusher", "correct horse battery"
#: bcrypt with the least cost.
PASSWORD_HASH = "$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS"


class _Passing:
    """Listens, and lets a subclass serve each connection; `close` ends and closes everything."""

    def __init__(self, port: int) -> None:
        self.passed_bytes = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        _shut(self._listener)
        self._accepting.join(10)  # else one that is accepted now would stay open
        self._listener.close()
        for each in self._open:
            _shut(each)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                self._open.append(near)
                self._serve(near)

    def _serve(self, near: socket.socket) -> None:
        raise NotImplementedError

    def _far(self) -> socket.socket:
        far = socket.create_connection(("127.0.0.1", self._target))
        self._open.append(far)
        return far


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)


class Line(_Passing):
    """Passes connections on to `port` at `rate` bytes a second each; with a rate of 0 it accepts and is silent."""

    def __init__(self, port: int, *, rate: int) -> None:
        self.rate = rate
        super().__init__(port)

    def _serve(self, near: socket.socket) -> None:
        if self.rate:
            far = self._far()
            threading.Thread(target=self._pass, args=(near, far, 0), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, self.rate), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, rate: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                if rate:
                    self.passed_bytes += len(data)
                    time.sleep(len(data) / rate)
        _shut(source)
        _shut(target)


class Cut(_Passing):
    """Passes connections on to `port` and cuts each after `after` bytes to there; `mend` lets all pass.

    So small things come through and large ones do not. With `once` it mends itself after the first cut.
    """

    def __init__(self, port: int, *, after: int, once: bool = False) -> None:
        self.after: float = after
        self.once = once
        self.cuts = 0
        super().__init__(port)

    def mend(self) -> None:
        self.after = float("inf")

    def _serve(self, near: socket.socket) -> None:
        far = self._far()
        threading.Thread(target=self._pass, args=(near, far, True), daemon=True).start()
        threading.Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counts:
                    passed += len(data)
                    self.passed_bytes += len(data)
                    if passed > self.after:
                        self.cuts += 1
                        if self.once:
                            self.mend()
                        break
                target.sendall(data)
        _shut(source)
        _shut(target)


@contextlib.contextmanager
def registry(folder: Path, *, closed: bool = False) -> Iterator[int]:
    """A running registry that keeps its images below `folder`; yields its port. `closed`: only for USER."""
    program = require("docker-registry")
    port = free_port()
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/images}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
        + (f"auth: {{htpasswd: {{realm: berth, path: {folder}/htpasswd}}}}\n" if closed else "")
    )
    (folder / "htpasswd").write_text(f"{USER}:{PASSWORD_HASH}\n")
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", settings], stdout=log, stderr=log)
    try:
        ends_at = time.monotonic() + 15
        while not _listens(port):
            told = (folder / "registry.log").read_text()
            assert process.poll() is None, f"the registry ended:\n{told}"
            assert time.monotonic() < ends_at, f"the registry does not answer:\n{told}"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def push_layers(client: docker.DockerClient, repository: str, *, mib: tuple[int, ...]) -> None:
    """Push `repository`:1 with a layer of random bytes for each of `mib`, and leave nothing of it on the engine."""
    build_layers(client, f"{repository}:1", mib=mib)
    said = list(client.api.push(repository, tag="1", stream=True, decode=True))
    assert not any("error" in line for line in said), said[-1]
    client.images.remove(f"{repository}:1")


def build_layers(client: docker.DockerClient, name: str, *, mib: tuple[int, ...]) -> None:
    """Build the image `name` with a layer of random bytes for each of `mib`."""
    recipe = ["FROM scratch", *(f"COPY {number} /{number}" for number in range(len(mib))), f"LABEL {LABEL}=1"]
    files = {"Dockerfile": "\n".join(recipe).encode(), **{str(n): os.urandom(size * MIB) for n, size in enumerate(mib)}}
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for file, data in files.items():
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    said = list(client.api.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True))
    assert not any("error" in line for line in said), said[-1]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
