"""The live GPU readings in a real browser: one socket, what changed drawn, nothing old or twice, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from playwright.sync_api import Page

from deployments.gpu_readings import NodeReading
from deployments.redis_keys import gpu_live
from tests.browser.installation import Installation, installed
from tests.deployments.gpu_pages import measured

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-gpus"),  # one installation serves them all
]
NODE = "gpu-01"
#: Notes every socket and frame of the page, and lets a test hold back what the page says.
LISTEN = """
  window.sockets = [];
  window.frames = [];
  window.heldBack = null;
  const Native = WebSocket;
  window.WebSocket = class extends Native {
    constructor(address) {
      super(address);
      if (!String(address).includes("/ws/gpus/")) return;
      window.sockets.push(this);
      this.addEventListener("message", ({ data }) => window.frames.push(JSON.parse(data)));
    }
    send(text) {
      if (this.url.includes("/ws/gpus/") && window.heldBack) window.heldBack.push(() => super.send(text));
      else super.send(text);
    }
  };
"""
FOLLOW = """async (node) => {
  const known = JSON.parse(document.querySelector("script[type=importmap]").textContent).imports;
  const { subscribe } = await import(known["berth/gpus/feed"]);
  const shown = document.createElement("output");
  document.body.append(shown);
  window.drawn = [];
  window.stop = subscribe((state, changed) => {
    window.state = state;
    const reading = state.nodes.get(node);
    if (!reading || !changed.has(node)) return;
    const used = reading.gpus[0].memory_used_bytes;
    shown.textContent = used;
    if (window.drawn.at(-1)?.at !== reading.at) window.drawn.push({ at: reading.at, used });
  });
}"""


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("berth-gpus")) as installation:
        yield installation


@pytest.fixture
def streams(berth: Installation) -> Iterator[redis.Redis]:
    """The installation's Redis."""
    client = redis.Redis.from_url(berth.member("web").environ()["REDIS_URL"])
    client.delete(gpu_live(NODE))
    yield client
    client.close()


@pytest.fixture
def following(page: Page, berth: Installation, streams: redis.Redis) -> Page:
    """A page that shows the memory in use of one GPU."""
    page.add_init_script(LISTEN)
    page.goto(f"{berth.url}/catalogue/")
    page.evaluate(FOLLOW, NODE)
    return page


def publish(streams: redis.Redis, used: int) -> NodeReading:
    reading = measured(NODE, used)
    streams.xadd(gpu_live(NODE), {"reading": reading.to_json()})
    return reading


def shows(page: Page, used: int) -> None:
    page.wait_for_function("(used) => document.querySelector('output')?.textContent === String(used)", arg=used)


def frames(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("window.frames")
    return found


def set_hidden(page: Page, *, hidden: bool) -> None:
    """As when another tab is chosen, and chosen again."""
    script = "(hidden) => { Object.defineProperty(document, 'hidden', { get: () => hidden, configurable: true });"
    script += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(script, hidden)


def test_what_is_measured_is_shown_by_one_socket(following: Page, streams: redis.Redis) -> None:
    following.evaluate(FOLLOW.replace("window.drawn = [];", ""), NODE)
    for used in range(1, 6):
        publish(streams, used)
        shows(following, used)
    assert following.evaluate("window.sockets.length") == 1
    kinds = [frame["type"] for frame in frames(following)]
    assert kinds[0] == "snapshot"
    assert "delta" in kinds
    assert all("dropped" not in frame for frame in frames(following))


def test_after_the_web_process_was_killed_nothing_comes_twice_and_nothing_old(
    following: Page, berth: Installation, streams: redis.Redis
) -> None:
    publish(streams, 1)
    shows(following, 1)
    following.evaluate("window.drawn.length = 0")  # the first snapshot may still be of the test before
    for used in range(2, 4):
        publish(streams, used)
        shows(following, used)
    berth.member("web").kill()
    following.wait_for_function("() => window.state.lost_since !== null")
    publish(streams, 4)
    shows(following, 4)
    assert following.evaluate("window.state.lost_since") is None
    for used in range(5, 8):
        publish(streams, used)
        shows(following, used)
    drawn = following.evaluate("window.drawn")
    assert [one["used"] for one in drawn] == [2, 3, 4, 5, 6, 7]
    assert [one["at"] for one in drawn] == sorted({one["at"] for one in drawn})
    assert following.evaluate("window.sockets.filter((one) => one.readyState === WebSocket.OPEN).length") == 1


def test_a_hidden_tab_hears_nothing_and_catches_up_at_once(following: Page, streams: redis.Redis) -> None:
    publish(streams, 1)
    shows(following, 1)
    following.evaluate("window.drawn.length = 0")  # the first snapshot may still be of the test before
    set_hidden(following, hidden=True)
    following.wait_for_timeout(300)
    heard = len(frames(following))
    for used in range(2, 8):
        publish(streams, used)
        time.sleep(0.3)
    assert len(frames(following)) == heard
    set_hidden(following, hidden=False)
    shows(following, 7)
    caught_up = frames(following)[heard:]
    assert caught_up[0]["type"] == "snapshot"
    assert "dropped" not in caught_up[0]
    assert [one["used"] for one in following.evaluate("window.drawn")] == [7]


def test_a_slow_browser_is_told_what_it_missed(following: Page, streams: redis.Redis) -> None:
    publish(streams, 1)
    shows(following, 1)
    following.evaluate("window.heldBack = []")
    before = len(frames(following))
    for used in range(2, 12):
        publish(streams, used)
        time.sleep(0.3)
    late = frames(following)[before:]
    assert len(late) <= 3
    following.evaluate("for (const send of window.heldBack.splice(0)) send(); window.heldBack = null")
    shows(following, 11)
    caught_up = frames(following)[before + len(late) :]
    assert caught_up[0]["type"] == "snapshot"
    assert caught_up[0]["dropped"] >= 7
    publish(streams, 12)
    shows(following, 12)


def test_a_silent_node_is_known_to_the_page(following: Page, streams: redis.Redis) -> None:
    published = publish(streams, 1)
    shows(following, 1)
    following.wait_for_function("(node) => window.state.nodes.get(node).stale_since !== null", arg=NODE)
    since = following.evaluate("(node) => window.state.nodes.get(node).stale_since", NODE)
    assert abs(since - published.at) < 1
    publish(streams, 2)
    shows(following, 2)
    assert following.evaluate("(node) => window.state.nodes.get(node).stale_since", NODE) is None


def test_who_leaves_last_closes_the_socket(following: Page, streams: redis.Redis) -> None:
    publish(streams, 1)
    shows(following, 1)
    following.evaluate("window.stop()")
    following.wait_for_function("() => window.sockets[0].readyState === WebSocket.CLOSED")
    assert following.evaluate("window.sockets.length") == 1
