"""The main job with real containers: a pull that is seen, a log, a stop that drains; and how each failure looks."""

from __future__ import annotations

import io
import os
import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import wait_until_whole
from tests.browser.installation import Installation, installed
from tests.docker_engine import SERVE, docker_client, test_image
from tests.docker_registry import MIB, Line, registry

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("browser-docker"),  # one installation and one registry serve them all
]
REPOSITORY = "berth-test/moored"
LAYERS_MIB = (3, 5, 7)
#: For each connection: the largest layer takes seven seconds, so that there is something to see.
RATE = MIB
#: While /tmp/slow is there, an answer takes this long.
SLOW_S = 6
SLOW_SERVE = SERVE.replace("#!/bin/sh\n", f"#!/bin/sh\n[ -e /tmp/slow ] && sleep {SLOW_S}\n")
#: Agent, broker, worker, web and browser: each may be as late as the page itself is.
PROCESSES_ON_THE_WAY = 5
CONFIG = """\
  - name: {name}
    model: Tiny
    protocol: openai-text
    engine: custom
    runtime: docker
    image: {image}
    served_name: {name}
    arguments: {arguments}
    port: 9000
    readiness_path: /health
    load_timeout_s: 60
    grace_s: 10
    max_attempts: {max_attempts}
"""
#: Of lines on two streams at once the engine keeps no order, so there is one.
#: name, what it prints and how it exits, the sentence, the next step, and the exit code as the page says it.
CRASHES = {
    "out-of-memory": (
        "exec >&2; echo loading; echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB'; exit 1",
        "The GPU ran out of memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        "Choose a smaller context or fewer concurrent requests, or free the GPU's memory.",
        "exit code 1",
    ),
    "bad-argument": (
        "exec >&2; echo usage of the server; echo 'server: error: unrecognized arguments: --bogus'; exit 2",
        "The server does not know an argument: server: error: unrecognized arguments: --bogus",
        "Correct the arguments of the config, then start again.",
        "exit code 2",
    ),
    "own-words": (
        "exec >&2; echo starting; echo 'the tide is out'; exit 3",
        "The command ended at once with exit code 3: the tide is out",
        "Look at the log, correct the arguments of the config, then start again.",
        "exit code 3",
    ),
}


@dataclass(frozen=True)
class Harbour:
    """The engine, and ``image``: one that is in the registry only, behind a slow line."""

    engine: docker.DockerClient
    image: str
    missing: str

    def containers(self) -> list[Any]:
        """Those of the image, running or not."""
        return self.engine.containers.list(all=True, filters={"ancestor": self.image})

    def container(self) -> Any:
        """The one that there is."""
        (found,) = self.containers()
        return found


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    engine = docker_client()
    with registry(tmp_path_factory.mktemp("registry")) as port:
        push_server(engine, f"127.0.0.1:{port}/{REPOSITORY}")
        line = Line(port, rate=RATE)
        near = f"127.0.0.1:{line.port}/{REPOSITORY}"
        try:
            yield Harbour(engine, f"{near}:1", f"{near}:none")
            assert list_of(engine, near) in ([], [f"{near}:1"])
        finally:
            line.close()
            for name in list_of(engine, near):
                engine.images.remove(name)
            engine.close()


@pytest.fixture(scope="module")
def berth(harbour: Harbour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("berth-docker")
    catalogue = folder / "data" / "catalogue"
    catalogue.mkdir(parents=True)
    configs = [
        CONFIG.format(name="moored", image=harbour.image, arguments='[tiny, "{port}"]', max_attempts=5),
        CONFIG.format(name="unknown", image=harbour.missing, arguments='[tiny, "{port}"]', max_attempts=5),
    ]
    for name, (script, *_expected) in CRASHES.items():
        arguments = f'[sh, -c, "{script}"]'
        configs.append(CONFIG.format(name=name, image=test_image(), arguments=arguments, max_attempts=1))
    (catalogue / "tiny.yaml").write_text("models:\n  - name: Tiny\nconfigs:\n" + "".join(configs))
    with installed(folder) as installation:
        yield installation
        installation.command("stop", "moored", "--wait")
        # Containers carry the installation's id, whatever their image.
        label = f"berth.installation={(folder / 'data' / 'installation').read_text().strip()}"
        left = harbour.engine.containers.list(all=True, filters={"label": label})
        assert [each.name for each in left] == []


def push_server(engine: docker.DockerClient, repository: str) -> None:
    """Push the test image with some layers of random bytes and slow answers, and keep nothing of it here."""
    files = {"serve": SLOW_SERVE.encode(), **{str(size): os.urandom(size * MIB) for size in LAYERS_MIB}}
    recipe = [f"FROM {test_image()}", *(f"COPY {size} /weights/{size}" for size in LAYERS_MIB), "COPY serve /bin/serve"]
    files["Dockerfile"] = "\n".join(recipe).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    name = f"{repository}:1"
    said = list(engine.api.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True))
    assert not any("error" in line for line in said), said[-1]
    said = list(engine.api.push(repository, tag="1", stream=True, decode=True))
    assert not any("error" in line for line in said), said[-1]
    engine.images.remove(name)


def list_of(engine: docker.DockerClient, repository: str) -> list[str]:
    return [tag for image in engine.images.list(repository) for tag in image.tags]


def row(page: Page, name: str) -> Locator:
    return page.locator("tr[data-row]", has=page.get_by_role("link", name=name, exact=True))


def phase(scope: Page | Locator, name: str) -> Locator:
    return scope.locator(f".chip[data-phase='{name}']")


def open_catalogue(page: Page, berth: Installation) -> None:
    page.goto(f"{berth.url}/catalogue/?q=tiny")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    page.evaluate("window.stillTheSamePage = true")


def start(page: Page, berth: Installation, name: str) -> Locator:
    """Press Start on the catalogue page; returns the config's row."""
    open_catalogue(page, berth)
    row(page, name).locator("[data-action=start]").click()
    return row(page, name)


def note_changes(page: Page, name: str) -> Callable[[], list[tuple[float, str, str]]]:
    """Notes each state of a row as a reader sees it: seconds since the epoch, phase, and what is said."""
    page.evaluate(
        """(name) => {
          window.seen = [];
          const note = () => {
            const row = [...document.querySelectorAll("tr[data-row]")].find(
              (each) => each.querySelector(".name")?.textContent === name);
            const phase = row?.querySelector(".chip")?.dataset.phase ?? "";
            const text = row?.querySelector(".cell-now")?.innerText.replace(/\\s+/g, " ").trim() ?? "";
            const last = window.seen.at(-1);
            if (last?.[1] !== phase || last[2] !== text) window.seen.push([Date.now() / 1000, phase, text]);
          };
          note();
          const all = {childList: true, subtree: true, attributes: true, characterData: true};
          new MutationObserver(note).observe(document.body, all);
        }""",
        name,
    )
    return lambda: page.evaluate("window.seen")


def same_page(page: Page) -> bool:
    return bool(page.evaluate("window.stillTheSamePage === true"))


def ask_slowly(berth: Installation, harbour: Harbour) -> Callable[[], int]:
    """A request through the gateway that takes SLOW_S, in the background; the result waits for its status."""
    harbour.container().exec_run(["sh", "-c", "echo > /tmp/slow"])
    key = berth.command("key", "create", "browser-test").stdout.strip()
    answers: list[int] = []

    def ask() -> None:
        said = httpx.post(
            f"http://127.0.0.1:{berth.port + 1}/v1/chat/completions",
            json={"model": "moored", "messages": [{"role": "user", "content": "Say hello."}]},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        answers.append(said.status_code)

    asking = threading.Thread(target=ask)
    asking.start()

    def status() -> int:
        asking.join(30)
        return answers[0]

    return status


def test_a_container_is_pulled_watched_and_stopped(
    page: Page, berth: Installation, harbour: Harbour, complaints: list[str]
) -> None:
    open_catalogue(page, berth)
    seen = note_changes(page, "moored")
    mine = row(page, "moored")
    mine.locator("[data-action=start]").click()
    expect(mine.locator(".progress-line")).to_be_visible()
    expect(phase(mine, "ready")).to_be_visible()
    told = [text for _at, _phase, text in seen()]
    assert any(re.search(r"[\d.]+ of [\d.]+ MB.*\d of \d layers", text) for text in told), told
    percents = [int(found[1]) for text in told if (found := re.search(r"(\d+) %.* MB", text))]
    assert percents == sorted(percents)
    assert len(set(percents)) >= 2, f"the pull stood still: {told}"
    assert same_page(page)

    mine.locator("a.situation").click()
    expect(page.locator("[data-log-state]")).to_have_attribute("data-state", "live")
    expect(page.locator(".log-line").last).to_contain_text("line 100")
    harbour.container().exec_run(["sh", "-c", "echo a ship came in > /proc/1/fd/1"])
    expect(page.locator(".log-line").last).to_contain_text("a ship came in")
    page.locator("[data-log-search]").fill("LINE 4")
    expect(page.locator("[data-log-count]")).to_have_text(re.compile(r"^\d+ / 11$"))
    expect(page.locator(".log-line.is-current mark")).to_have_text(re.compile("line 4"))

    assert harbour.container().attrs["Mounts"] == [], "a volume would be left"
    wait_until_whole(page)
    page.evaluate("window.stillTheSamePage = true")
    status = ask_slowly(berth, harbour)
    expect(page.locator("[data-action=stop]").first).to_be_visible()
    wait_until_asked(harbour)
    page.locator("[data-action=stop]").first.click()
    page.locator("dialog[open] button[value=yes]").click()
    expect(page.locator("#head")).to_contain_text(re.compile(r"1 requests? in flight"))
    assert status() == httpx.codes.OK, "a request under way was cut off"
    expect(phase(page, "stopped").first).to_be_visible()
    expect(page.locator("#head")).to_contain_text("Stopped as asked.")
    expect(page.locator("[data-log-state]")).to_have_attribute("data-state", "ended")
    assert harbour.containers() == []
    assert same_page(page)
    assert complaints == []


def wait_until_asked(harbour: Harbour) -> None:
    """Until the server is at work on a request: it sleeps."""
    ends_at = time.monotonic() + 10
    while not any("sleep" in " ".join(process) for process in harbour.container().top()["Processes"]):
        assert time.monotonic() < ends_at, "the request never came"
        time.sleep(0.02)


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_tells_its_cause_the_next_step_and_the_last_lines(
    page: Page, berth: Installation, harbour: Harbour, name: str, complaints: list[str]
) -> None:
    script, sentence, next_step, exit_words = CRASHES[name]
    mine = start(page, berth, name)
    expect(phase(mine, "failed")).to_be_visible()
    expect(mine.locator(".situation")).to_have_text(sentence)
    assert same_page(page)
    mine.locator("a.situation").click()
    trouble = page.locator(".trouble")
    expect(trouble).to_contain_text(sentence)
    expect(trouble).to_contain_text(next_step)
    expect(trouble).to_contain_text(exit_words)
    printed = re.findall(r"echo '?([^;']+?)'?;", script)
    expect(page.locator(".log-line .log-text")).to_have_text(printed)
    assert complaints == []


def test_an_image_that_does_not_exist_is_named(
    page: Page, berth: Installation, harbour: Harbour, complaints: list[str]
) -> None:
    mine = start(page, berth, "unknown")
    expect(phase(mine, "failed")).to_be_visible()
    expect(mine.locator(".situation")).to_contain_text("The registry has no such image: ")
    assert same_page(page)
    mine.locator("a.situation").click()
    expect(page.locator(".trouble")).to_contain_text(harbour.missing)
    expect(page.locator(".trouble")).to_contain_text("Correct the image and its tag in the config, then start again.")
    assert complaints == []


def test_a_kill_from_outside_is_shown_within_a_second(
    page: Page, berth: Installation, harbour: Harbour, complaints: list[str]
) -> None:
    """Beyond the machine's own share, which is measured just before; after a busy moment both are measured again."""
    mine = start(page, berth, "moored")
    told = []
    for _try in range(3):
        expect(phase(mine, "ready")).to_be_visible()
        margin_s = PROCESSES_ON_THE_WAY * slowest_redraw_s(page)
        late_s = kill(page, harbour, mine)
        told.append(f"shown {late_s:.2f} s after the end, the machine's own share is {margin_s:.2f} s")
        if late_s <= 1 + margin_s:
            break
    else:
        raise AssertionError(told)
    assert same_page(page)
    mine.locator("[data-action=stop]").click()
    expect(phase(mine, "stopped")).to_be_visible()
    assert harbour.containers() == []
    assert complaints == []


def kill(page: Page, harbour: Harbour, mine: Locator) -> float:
    """Kill the container; returns how many seconds after its end the page showed it."""
    seen = note_changes(page, "moored")
    container = harbour.container()
    began = time.time()
    container.kill()
    expect(phase(mine, "backoff")).to_be_visible()
    expect(mine.locator(".situation")).to_contain_text("The process was killed from outside (signal 9)")
    shown_at = next(at for at, name, _text in seen() if name != "ready")
    return shown_at - died_at(harbour, container.id, since=began)


def slowest_redraw_s(page: Page) -> float:
    """How long this machine takes now to draw one row, the worst of five."""
    worst: float = page.evaluate(
        """async () => {
          let worst = 0;
          for (let round = 0; round < 5; round += 1) {
            const began = performance.now();
            await (await fetch("/catalogue/moored/row/")).text();
            worst = Math.max(worst, performance.now() - began);
          }
          return worst / 1000;
        }"""
    )
    return worst


def died_at(harbour: Harbour, container_id: str, *, since: float) -> float:
    """When it ended, by the engine's own event."""
    filters = {"container": container_id, "event": "die"}
    told = harbour.engine.events(since=int(since), until=int(time.time()) + 1, filters=filters, decode=True)
    (event,) = list(told)
    return float(event["timeNano"]) / 1e9
