"""A container from Start to running, from its first answer to ready, and killed by others, as Chromium shows it."""

from __future__ import annotations

import contextlib
import queue
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import docker
from playwright.sync_api import Locator, Page, expect

from tests.docker_engine import IMAGE, ensure_image
from tests.requirements import PROBES

from .browser import signed_in_page
from .installation import Installation

REPOSITORY = "berth-bench/moored"
NAME = f"{REPOSITORY}:1"
#: Loads for so many seconds, says so, and answers everything from then on.
LOADS = "sleep $2; echo listening; exec nc -ll -p $1 -e /bin/serve"
QUICK_S, SLOW_S = 2, 30
CONFIG = """\
  - name: moored-{seconds}
    model: Moored
    protocol: openai-text
    engine: custom
    runtime: docker
    image: {image}
    served_name: moored-{seconds}
    arguments: [sh, -c, "{script}", sh, "{{port}}", "{seconds}"]
    port: 9000
    readiness_path: /health
    load_timeout_s: 120
    grace_s: 5
"""
#: Moments in seconds since the epoch, by the browser's clock, which is the engine's: they share the machine.
WATCH = """() => {
  window.shown = {};
  addEventListener("click", () => { window.pressedAt = Date.now() / 1000; }, true);
  const look = () => {
    for (const chip of document.querySelectorAll("tr[data-row] .chip")) {
      window.shown[chip.dataset.phase] ??= Date.now() / 1000;
    }
  };
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, attributes: true});
}"""


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Seconds, one for each round. ``bare`` and ``started`` were taken in turn."""

    bare: list[float]
    started: list[float]
    ready: list[float]
    ready_after_slow_load: list[float]
    kill_shown: list[float]

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Lines of the table: medians, unless they say otherwise."""
        bare_s = statistics.median(self.bare)
        return [
            ("bare docker run: to running", f"{bare_s:.2f} s", ""),
            ("Start pressed to container running", f"{statistics.median(self.started):.2f} s", f"{bare_s + 0.3:.2f} s"),
            (f"first 200 to ready shown, {QUICK_S} s of load", f"{statistics.median(self.ready):.2f} s", "0.5 s"),
            ("  worst", f"{max(self.ready):.2f} s", "0.5 s"),
            (f"  after {SLOW_S} s of load, worst", f"{max(self.ready_after_slow_load):.2f} s", "0.5 s"),
            ("docker kill to the page showing it", f"{statistics.median(self.kill_shown):.2f} s", "1 s"),
            ("  worst", f"{max(self.kill_shown):.2f} s", "1 s"),
        ]


def container_rows(installation: Installation, *, rounds: int) -> list[tuple[str, str, str]]:
    """The figures as lines of the table; one line that says so where there is no engine or no Chromium."""
    missing = [name for name in ("docker", "chromium") if PROBES[name][0]() is None]
    if missing:
        return [(f"containers: left out, this machine lacks {', '.join(missing)}", "", "")]
    return container_figures(installation, rounds=rounds).rows


def container_figures(installation: Installation, *, rounds: int, slow_rounds: int = 3) -> Containers:
    """Start from the catalogue page, wait for ready, kill from outside, cancel; a bare run before each."""
    with _engine() as engine, _catalogue_page(installation) as page:
        told = Containers(bare=[], started=[], ready=[], ready_after_slow_load=[], kill_shown=[])
        events = _Events(engine)
        for _ in range(rounds):
            told.bare.append(_bare(engine, events))
            begun = _Start(engine, events, page, QUICK_S)
            told.started.append(begun.running_s)
            told.ready.append(begun.ready_s)
            told.kill_shown.append(begun.kill())
            begun.cancel()
        for _ in range(slow_rounds):
            begun = _Start(engine, events, page, SLOW_S)
            told.ready_after_slow_load.append(begun.ready_s)
            begun.kill()
            begun.cancel()
    return told


class _Events:
    """When the engine says that a container of the image started or ended."""

    def __init__(self, engine: docker.DockerClient) -> None:
        self._told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stream = engine.events(filters={"type": "container", "event": ["start", "die"]}, decode=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for event in self._stream:
            if event["Actor"]["Attributes"]["image"] == NAME:
                self._told.put(event)

    def next(self, action: str) -> tuple[str, float]:
        """Id of the container and moment of the next such event."""
        while True:
            event = self._told.get(timeout=60)
            if event["Action"] == action:
                return event["Actor"]["ID"], event["timeNano"] / 1e9


class _Start:
    """A start by a press in the browser, up to ready on the page."""

    def __init__(self, engine: docker.DockerClient, events: _Events, page: Page, loads_s: int) -> None:
        self._events, self._page = events, page
        self._row: Locator = page.locator("tr[data-row]", has=page.get_by_role("link", name=f"moored-{loads_s}"))
        page.evaluate("window.shown = {}")
        self._row.locator("[data-action=start]").click()
        container_id, running_at = events.next("start")
        self.running_s = running_at - float(page.evaluate("window.pressedAt"))
        expect(self._chip("ready")).to_be_visible()
        self._container = engine.containers.get(container_id)
        self.ready_s = float(page.evaluate("window.shown.ready")) - self._listening_at()

    def _chip(self, phase: str) -> Locator:
        return self._row.locator(f".chip[data-phase={phase}]")

    def _listening_at(self) -> float:
        line = self._container.logs(timestamps=True).decode()
        # The engine tells nanoseconds, which Python reads up to microseconds.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z .*", r"\1+00:00", line.strip())).timestamp()

    def kill(self) -> float:
        """Kill it from outside; returns the seconds until the page says that it is not ready."""
        self._page.evaluate("window.shown = {}")
        self._container.kill()
        _id, died_at = self._events.next("die")
        expect(self._chip("backoff")).to_be_visible()
        return float(self._page.evaluate("window.shown.backoff")) - died_at

    def cancel(self) -> None:
        """Stop what waits to be started again."""
        self._row.locator("[data-action=stop]").click()
        expect(self._chip("stopped")).to_be_visible()


def _bare(engine: docker.DockerClient, events: _Events) -> float:
    began = time.time()
    argv = ["docker", "run", "--detach", "--init", "--publish", "127.0.0.1::9000", NAME]
    done = subprocess.run(
        [*argv, "sh", "-c", LOADS, "sh", "9000", "60"], check=True, capture_output=True, text=True, timeout=60
    )
    _id, running_at = events.next("start")
    engine.containers.get(done.stdout.strip()).remove(force=True)
    events.next("die")
    return running_at - began


@contextlib.contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    """A client; the image has a name of its own, by which its events are told from others'."""
    client = docker.from_env(timeout=60)
    try:
        ensure_image(client)
        client.images.get(IMAGE).tag(REPOSITORY, "1")
        yield client
    finally:
        for container in client.containers.list(all=True, filters={"ancestor": NAME}):
            if container.attrs["Config"]["Image"] == NAME:
                container.remove(force=True)
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.remove(NAME)
        client.close()


@contextlib.contextmanager
def _catalogue_page(installation: Installation) -> Iterator[Page]:
    """Chromium, signed in, on the catalogue page with two configs of containers."""
    folder = installation.home / "data" / "catalogue"
    folder.mkdir(parents=True, exist_ok=True)
    configs = "".join(CONFIG.format(seconds=s, image=NAME, script=LOADS) for s in (QUICK_S, SLOW_S))
    (folder / "moored.yaml").write_text(f"models:\n  - name: Moored\nconfigs:\n{configs}")
    installation.manage("load_catalogue")
    with signed_in_page(installation) as page:
        page.goto(f"{installation.url}/catalogue/?q=moored")
        expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
        page.evaluate(WATCH)
        yield page
