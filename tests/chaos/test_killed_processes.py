"""SIGKILL at every named step of start and stop: everything settles, nothing is lost, nothing doubled."""

from __future__ import annotations

import http.cookiejar
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.tree import Tree, running, violations
from tests.installed import PASSWORD

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(400)]

START_STEPS = [
    "claim:after",
    "preparing:before",
    "preparing:after",
    "starting:after",
    "create:before",
    "create:after",
    "start:before",
    "start:after",
    "loading:before",
    "loading:after",
    "ready:before",
    "ready:after",
]
STOP_STEPS = [
    "stopping:before",
    "stopping:after",
    "stop:before",
    "stop:after",
    "keep_log:before",
    "keep_log:after",
    "remove:before",
    "remove:after",
    "stopped:before",
    "stopped:after",
]
SETTLES_WITHIN_S = 150


def named(steps: list[str]) -> list[tuple[str, str]]:
    return [(f"tiny-{step.replace(':', '-').replace('_', '-')}", step) for step in steps]


def share(steps: list[tuple[str, str]], database_url: str) -> list[tuple[str, str]]:
    """Every second step for each database, so that each is taken; all of them where BERTH_CHAOS_ROUNDS is set."""
    return steps if os.environ.get("BERTH_CHAOS_ROUNDS") else steps[bool(database_url) :: 2]


def settled(tree: Tree, phase: str) -> Callable[[], bool]:
    return lambda: set(tree.phases().values()) == {phase}


def test_a_worker_killed_at_any_step_of_start_and_stop_leaves_nothing_behind(tmp_path: Path, database_url: str) -> None:
    starts, stops = share(named(START_STEPS), database_url), share(named(STOP_STEPS), database_url)
    kills = starts + stops
    tree = Tree(folder=tmp_path, configs=[config for config, _ in kills], kill_at=kills, database_url=database_url)
    with running(tree):
        kill_one_after_another(tree, "start", starts)
        for config, _step in stops:
            tree.manage("start", config)
        tree.wait(settled(tree, "ready"), "everything is ready", SETTLES_WITHIN_S)
        assert violations(tree, wanted="ready") == []
        kill_one_after_another(tree, "stop", stops)
        for config, _step in starts:
            tree.manage("stop", config)
        tree.wait(settled(tree, "stopped"), "everything has stopped", SETTLES_WITHIN_S)
        assert violations(tree, wanted="stopped") == []


def kill_one_after_another(tree: Tree, verb: str, kills: list[tuple[str, str]]) -> None:
    """Each config is taken to its step only when the kill before has happened, so that none hides another."""
    for config, step in kills:
        tree.manage(verb, config)
        tree.wait(lambda name=f"{config}@{step}": name in tree.kills_done(), f"{config} is killed at {step}", 60)  # type: ignore[misc]


def test_the_agent_and_the_web_may_die_too(tmp_path: Path, database_url: str) -> None:
    kills = [("tiny-a", "wish:after"), ("tiny-b", "hint:before")]
    tree = Tree(folder=tmp_path, configs=["tiny-a", "tiny-b"], kill_at=kills, database_url=database_url, with_web=True)
    with running(tree):
        browser = Browser(f"http://127.0.0.1:{tree.port}")
        tree.wait(browser.answers, "the web answers", 30)
        browser.sign_in("admin", PASSWORD)
        browser.press("/catalogue/tiny-a/start/")  # killed inside the transaction: the wish is rolled back
        assert tree.phases()["tiny-a"] == "stopped"
        tree.wait(browser.answers, "the web is back", 30)
        browser.press("/catalogue/tiny-b/start/")  # killed after it: the sweep finds the wish
        tree.wait(browser.answers, "the web is back", 30)
        browser.press("/catalogue/tiny-a/start/")
        tree.members["agent"].kill()
        tree.wait(settled(tree, "ready"), "both are ready", SETTLES_WITHIN_S)
        tree.members["agent"].kill()
        tree.members["web"].kill()
        tree.wait(browser.answers, "the web is back again", 30)
        assert violations(tree, wanted="ready") == []
        assert len(tree.kills_done()) == len(kills)


def test_a_planted_bug_is_caught(tmp_path: Path) -> None:
    """A worker that forgets the run of its killed predecessor starts a second one: that must be seen."""
    kills = [("tiny-x", "create:after")]
    tree = Tree(folder=tmp_path, configs=["tiny-x"], kill_at=kills, planted_bug="forgets_its_runs")
    with running(tree):
        tree.manage("start", "tiny-x")
        tree.wait(settled(tree, "ready"), "it is ready", SETTLES_WITHIN_S)
        assert any("processes instead of 1" in line for line in violations(tree, wanted="ready"))


def test_two_workers_that_race_start_everything_once(tmp_path: Path, database_url: str) -> None:
    configs = [f"tiny-{number}" for number in range(8)]
    tree = Tree(folder=tmp_path, configs=configs, workers=2, database_url=database_url)
    with running(tree):
        for config in configs:
            tree.manage("start", config)
            tree.manage("start", config)
        tree.wait(settled(tree, "ready"), "everything is ready", SETTLES_WITHIN_S)
        assert violations(tree, wanted="ready") == []
        for config in configs:
            tree.manage("stop", config)
        tree.wait(settled(tree, "stopped"), "everything has stopped", SETTLES_WITHIN_S)
        assert violations(tree, wanted="stopped") == []


class Browser:
    """Just enough of one: cookies and CSRF."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def answers(self) -> bool:
        try:
            return bool(self.opener.open(f"{self.url}/healthz", timeout=2).status == 200)
        except OSError:
            return False

    def sign_in(self, name: str, password: str) -> None:
        page = self.opener.open(f"{self.url}/accounts/login/", timeout=10).read().decode()
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert found
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": found[1]}
        self.opener.open(f"{self.url}/accounts/login/", urllib.parse.urlencode(fields).encode(), timeout=10)
        assert any(cookie.name == "sessionid" for cookie in self.cookies)

    def press(self, path: str) -> None:
        """POST; a server that dies meanwhile is part of the test."""
        token = next(cookie.value for cookie in self.cookies if cookie.name == "csrftoken") or ""
        request = urllib.request.Request(self.url + path, b"", {"X-CSRFToken": token, "Origin": self.url})  # noqa: S310
        try:
            self.opener.open(request, timeout=10)
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, ConnectionError):
            return
