"""Downloads one wheel with pip, which honours the machine's own configuration: index, proxy, certificates."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from django.utils.translation import gettext as _

from deployments.exceptions import FetchCancelledError, FetchError
from deployments.progress import Progress

from .base import Cancelled, Report
from .bundle_manifest import Wheel
from .host import no_disk_space

POLL_S = 0.2
RATE_WINDOW_S = 5.0
#: pip prints this with ``--progress-bar=raw``: https://pip.pypa.io/en/stable/cli/pip_download/
PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")
KEPT_OUTPUT_LINES = 200
#: Berth's own configuration is none of pip's business.
PRIVATE = ("BERTH_", "DJANGO_", "DATABASE_URL", "REDIS_URL", "HF_TOKEN")


class Meter:
    """Turns counts of bytes into progress with rate and time left, over the last few seconds."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._seen: deque[tuple[float, float]] = deque()

    def at(self, done: float, total: float, *, now_s: float) -> Progress:
        """The progress at ``now_s`` (a monotonic clock); rate and time left once two counts are known."""
        self._seen.append((now_s, done))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
        elapsed = now_s - self._seen[0][0]
        rate = (done - self._seen[0][1]) / elapsed if elapsed > 0 else None
        eta = (total - done) / rate if rate else None
        return Progress(step=self._step, done=done, total=total, rate=rate, eta_s=eta)


def download(wheel: Wheel, sha256: str, folder: Path, *, report: Report, cancelled: Cancelled) -> Path:
    """Download ``wheel`` into ``folder`` and return its file, whose hash pip has verified.

    Raises FetchError and FetchCancelledError; safe to repeat. pip dies within a second of a cancellation.
    """
    requirements = folder / f"{wheel.name}.txt"
    requirements.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{sha256}\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-") as scratch:
        lines = _run_pip(requirements, Path(scratch), Meter(str(wheel)), report=report, cancelled=cancelled)
        found = next(Path(scratch).glob("*.whl"), None)
        if found is None:
            raise _failure(wheel, lines, folder)
        return found.replace(folder / found.name)


def _run_pip(requirements: Path, scratch: Path, meter: Meter, *, report: Report, cancelled: Cancelled) -> list[str]:
    """Run pip to its end and return its last lines."""
    argv = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps"]
    argv += [
        "--only-binary=:all:",
        "--require-hashes",
        "--progress-bar=raw",
        "-d",
        str(scratch),
        "-r",
        str(requirements),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    # What a killed pip leaves behind lies in the folder that the next fetch clears.
    environment |= {"PYTHONUNBUFFERED": "1", "TMPDIR": str(scratch)}
    output = _Lines()
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    ) as pip:
        assert pip.stdout is not None  # noqa: S101 - the type, for the checker
        try:
            while True:
                stop_if(cancelled)
                if not select.select([pip.stdout], [], [], POLL_S)[0]:
                    continue
                data = os.read(pip.stdout.fileno(), 65536)
                if not data:
                    break
                for done, total in output.feed(data):
                    report(meter.at(done, total, now_s=time.monotonic()))
        except BaseException:
            pip.kill()
            raise
    return list(output.kept)


class _Lines:
    """Splits pip's output into lines; progress is told apart from words."""

    def __init__(self) -> None:
        self.kept: deque[str] = deque(maxlen=KEPT_OUTPUT_LINES)
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """The (done, total) pairs in ``data``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        progress = []
        for line in lines:
            text = line.decode(errors="replace").strip()
            if match := PROGRESS.match(text):
                progress.append((int(match[1]), int(match[2])))
            elif text:
                self.kept.append(text)
        return progress


def _failure(wheel: Wheel, lines: list[str], folder: Path) -> FetchError:
    text = "\n".join(lines)
    params = {"wheel": str(wheel)}
    if "DO NOT MATCH THE HASHES" in text:
        message = _(
            "%(wheel)s does not have the expected hash. It was changed on its way or at its index; do not use it."
        )
        return FetchError(message % params, code="hash_mismatch", permanent=True, wheel=str(wheel))
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return FetchError(no_disk_space(folder), code="no_disk_space", path=str(folder))
    if re.search(r"\(from versions: (?!none\))", text):
        return no_wheel(wheel, "")
    reason = meaningful_line(lines)
    message = _("%(wheel)s could not be downloaded: %(detail)s. Check this host's network and pip configuration.")
    return FetchError(
        message % {**params, "detail": reason.rstrip(".")}, code="fetch_failed", detail=reason, wheel=str(wheel)
    )


def no_wheel(wheel: Wheel, platform_name: str) -> FetchError:
    """The error for a machine that the wheel was not made for."""
    message = _("There is no %(wheel)s for this machine (%(platform)s). Serve the model in a container instead.")
    shown = platform_name or f"Python {sys.version_info.major}.{sys.version_info.minor}"
    params = {"wheel": str(wheel), "platform": shown}
    return FetchError(message % params, code="no_wheel_for_platform", permanent=True, wheel=str(wheel), platform=shown)


def stop_if(cancelled: Cancelled) -> None:
    """Raise FetchCancelledError when nobody wants the fetch any more."""
    if cancelled():
        raise FetchCancelledError(_("The download was cancelled."))


def meaningful_line(lines: list[str]) -> str:
    """Why pip failed: what broke the connection if it says so, else its last error, else its last line."""
    for line in reversed(lines):
        if match := re.search(r"after connection broken by '(.*)': /", line):
            return match[1][:300]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip said nothing"])[-1][:300]
