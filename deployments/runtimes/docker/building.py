"""Builds an image by the docker command: build secrets need BuildKit, which the SDK does not speak."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.runtimes import run_files

from .build_client import client_environment, find_client
from .build_failures import failure
from .build_output import BuildOutput

#: How often ``tick`` is called while the client prints nothing.
TICK_S = 0.2
#: Between SIGTERM and SIGKILL.
GRACE_S = 5.0
#: A killed process is gone at once, unless the disk holds it.
GONE_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What to build. ``folder`` is the build's own: the Dockerfile and the image's id are written there.

    ``secrets`` are name -> value; a step reads the one called HF_TOKEN as ``--mount=type=secret,id=hf_token``.
    ``mark`` is by which a later worker knows this build's processes.
    """

    mark: str
    folder: Path
    context: Path
    dockerfile: str
    tag: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False


def build(request: BuildRequest, *, tick: Callable[[BuildOutput], None]) -> tuple[str, BuildOutput]:
    """Build, and return the image's id with what was printed.

    ``tick`` is called about five times a second; what it raises ends the client and comes through. Raises BuildError.
    """
    client = find_client()
    output = BuildOutput(secrets=request.secrets.values())
    (request.folder / "Dockerfile").write_text(request.dockerfile, encoding="utf-8")
    environment = client_environment() | dict(request.secrets) | {run_files.MARK: request.mark}
    process = subprocess.Popen(
        build_argv(client, request),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment,
    )
    try:
        for line in _lines(process, lambda: tick(output)):
            output.take(line)
        code = process.wait()
        tick(output)
    finally:
        _end(process)
    if code:
        raise failure(output, code)
    return (request.folder / "image-id").read_text(encoding="ascii").strip(), output


def build_argv(client: str, request: BuildRequest) -> list[str]:
    """The client's command line; no secret's value is in it."""
    argv = [client, "build", "--progress=plain", "--file", str(request.folder / "Dockerfile")]
    argv += ["--iidfile", str(request.folder / "image-id"), "--tag", request.tag]
    for name, value in sorted(request.arguments.items()):
        argv += ["--build-arg", f"{name}={value}"]
    for name in sorted(request.secrets):
        argv += ["--secret", f"id={name.lower()},env={name}"]
    for name, value in sorted(request.labels.items()):
        argv += ["--label", f"{name}={value}"]
    if request.no_cache:
        argv.append("--no-cache")
    return [*argv, "--", str(request.context)]


def end_leftovers(mark: str) -> int:
    """End what an earlier worker of this build left behind; returns how many processes there were."""
    left = run_files.members(mark)
    if left:
        _end_all(lambda: run_files.members(mark))
    return len(left)


def _lines(process: subprocess.Popen[bytes], tick: Callable[[], None]) -> Iterator[str]:
    """Whole lines as they come. Ends with the client's output, or with the client where a child keeps the pipe."""
    assert process.stdout is not None  # noqa: S101 - by the arguments of Popen
    handle, rest = process.stdout.fileno(), b""
    while True:
        ended = process.poll() is not None
        ready, _writable, _failed = select.select([handle], [], [], 0 if ended else TICK_S)
        data = os.read(handle, 65536) if ready else b""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if len(rest) > 1 << 16:  # a line without end is none to keep whole
            yield rest.decode(errors="replace")
            rest = b""
        if (ready and not data) or (ended and not ready):
            break
        tick()
    if rest:
        yield rest.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the client and its group, if it still lives."""
    if process.poll() is None:
        _end_all(lambda: [process.pid] if process.poll() is None else [])
    if process.stdout is not None:
        process.stdout.close()


def _end_all(living: Callable[[], list[int]]) -> None:
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GONE_WITHIN_S)):
        for pid in living():
            # Each leads its group, or is a member of one whose leader is in the list.
            run_files.kill_group(pid, number)
            run_files.kill([pid], number)
        ends_at = time.monotonic() + patience_s
        while living():
            if time.monotonic() > ends_at:
                break
            time.sleep(0.05)
        else:
            return
