"""A real container engine for tests: an image made of busybox alone, and an engine of one's own."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import docker
import psutil
import pytest

from tests.requirements import left_out, require

IMAGE = "berth-test/busybox:2"
BUSYBOX = Path("/bin/busybox")
#: Programs that the tests call by name; busybox is all of them.
APPLETS = ("sh", "tr", "sleep", "echo", "cat", "nc", "yes", "head", "seq", "printf", "kill", "true", "dd", "date")
DOCKERD_WITHIN_S = 60
#: A server that answers every request with 200 and a chat completion, whatever was asked.
SERVE = """\
#!/bin/sh
message='{"role":"assistant","content":"tiny"}'
body='{"status":"ok","object":"chat.completion","choices":[{"index":0,"message":'$message'}]}'
while read -r line; do line=${line%?}; [ -z "$line" ] && break; done
printf 'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nConnection: close\\r\\n'
printf 'Content-Length: %s\\r\\n\\r\\n%s' "${#body}" "$body"
"""
#: `tiny PORT [SECONDS]`: prints lines 1 to 100, loads for some seconds, then serves.
TINY = """\
#!/bin/sh
i=1
while [ $i -le 100 ]; do echo "line $i"; i=$((i+1)); done
[ -n "$2" ] && sleep "$2"
exec nc -ll -p "$1" -e /bin/serve
"""


def docker_client() -> docker.DockerClient:
    """A client of this machine's engine; where there is none the test is left out or fails."""
    require("docker")
    return docker.from_env(timeout=60)


def image_archive(mark: str = "") -> bytes:
    """A root file system with busybox and the two scripts, as ``docker import`` takes it.

    With a ``mark``, which it holds as a file, its layer is like no other's.
    """
    if not BUSYBOX.exists():
        left_out("docker", "There is no /bin/busybox (on Debian: apt-get install busybox-static).")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("bin", "tmp", "dev", "proc", "sys", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(BUSYBOX, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (("bin/serve", SERVE), ("bin/tiny", TINY), *([("etc/mark", mark)] if mark else [])):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return archive.getvalue()


def ensure_image(client: docker.DockerClient, name: str = IMAGE, *, mark: str = "") -> str:
    """Import the test image, with its ``mark``, under ``name`` unless it is there."""
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.get(name)
        return name
    repository, _colon, tag = name.rpartition(":")
    client.api.import_image_from_data(image_archive(mark), repository=repository, tag=tag, changes=["ENV PATH=/bin"])
    return name


@cache
def _image_here() -> str:
    client = docker_client()
    try:
        return ensure_image(client)
    finally:
        client.close()


def test_image() -> str:
    """The name of the test image, imported into this machine's engine at the first call."""
    return _image_here()


test_image.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


class OwnEngine:
    """A dockerd of a test's own: it may be killed, stopped and started at will."""

    def __init__(self, folder: Path, *, programs: Path | None = None) -> None:
        require("docker")
        self.folder = folder
        self.programs = programs
        # A socket's path may have 107 bytes, and containerd makes its own below this folder.
        self.short = Path(tempfile.mkdtemp(prefix="bd-", dir="/tmp"))
        self.host = f"unix://{self.short}/docker.sock"
        self.bridge = f"bd-{secrets.token_hex(3)}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("dockerd") or "/usr/sbin/dockerd"
        # A killed dockerd takes its containerd along, whose pid may stay as a zombie's and look alive.
        for pid_file in (self.short / "docker.pid", self.short / "exec" / "containerd" / "containerd.pid"):
            pid_file.unlink(missing_ok=True)
        argv = [program, "--host", self.host, "--data-root", str(self.folder / "docker"), "--live-restore"]
        argv += ["--exec-root", str(self.short / "exec"), "--pidfile", str(self.short / "docker.pid")]
        # A second engine must neither flush the first one's rules nor delete its bridge, as "none" would: it gets a
        # bridge of its own, and its ports go through its proxy.
        self._make_bridge()
        argv += ["--iptables=false", "--ip6tables=false", "--bridge", self.bridge]
        with (self.folder / "dockerd.log").open("ab") as log:
            path = os.pathsep.join([*([str(self.programs)] if self.programs else []), os.environ["PATH"]])
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": path}
            )
        ends_at = time.monotonic() + DOCKERD_WITHIN_S
        while not self.answers():
            told = (self.folder / "dockerd.log").read_text()[-2000:]
            assert self.process.poll() is None, f"dockerd ended:\n{told}"
            assert time.monotonic() < ends_at, f"dockerd does not answer:\n{told}"
            time.sleep(0.1)

    def _make_bridge(self) -> None:
        if Path("/sys/class/net", self.bridge).exists():
            return
        address = f"172.29.{secrets.randbelow(250) + 1}.1/24"
        for arguments in (
            ["link", "add", "name", self.bridge, "type", "bridge"],
            ["address", "add", address, "dev", self.bridge],
            ["link", "set", self.bridge, "up"],
        ):
            subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def answers(self) -> bool:
        """Whether it does now."""
        if not (self.short / "docker.sock").is_socket():
            return False
        try:
            client = docker.DockerClient(base_url=self.host, timeout=5)
        except docker.errors.DockerException:
            return False
        try:
            return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False
        finally:
            client.close()

    def client(self) -> docker.DockerClient:
        """A new client, for the caller to close."""
        return docker.DockerClient(base_url=self.host, timeout=60)

    def shims(self) -> list[psutil.Process]:
        """The parents of this engine's containers, which live through its death."""
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            argv = process.info["cmdline"] or []
            if "containerd-shim" in " ".join(argv[:1]) and any(str(self.short) in part for part in argv):
                found.append(process)
        return found

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it; containers go on (live restore)."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def close(self) -> None:
        """Remove all its containers, end it and what it started, and delete its files."""
        if not self.answers():
            self.stop(how=signal.SIGKILL)
            self.start()
        client = self.client()
        try:
            for container in client.containers.list(all=True):
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)
        finally:
            client.close()
        self.stop()
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        for shim in self.shims():
            with contextlib.suppress(psutil.NoSuchProcess):
                shim.kill()  # of a start in whose middle the engine was killed
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
        _unmount(self.short)
        _unmount(self.folder)  # it mounts its data folder upon itself
        shutil.rmtree(self.short, ignore_errors=True)
        shutil.rmtree(self.folder / "docker", ignore_errors=True)


@contextlib.contextmanager
def own_engine(folder: Path, *, programs: Path | None = None) -> Iterator[OwnEngine]:
    """A running engine below ``folder``, gone at the end; ``programs`` is put first on its PATH."""
    if os.geteuid() != 0:
        pytest.skip("left out: docker: an engine of one's own needs root.")
    folder.mkdir(parents=True, exist_ok=True)
    engine = OwnEngine(folder, programs=programs)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


def _unmount(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    for path in reversed(mounted):
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)
