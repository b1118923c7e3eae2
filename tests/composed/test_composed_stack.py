"""The composed stack on a real engine: built, started, used, torn down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.composed.stack import PASSWORD, SOCKET, Stack, composed_stack
from tests.docker_engine import docker_client

pytestmark = [pytest.mark.slow, pytest.mark.composed, pytest.mark.timeout(900), pytest.mark.xdist_group("composed")]
CONFIG = "smollm2-135m-container"
#: 46 s where nothing else runs.
READY_WITHIN_S = 180
SERVICES = {"web", "gateway", "worker", "agent", "redis", "postgres"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with composed_stack(tmp_path_factory.mktemp("composed")) as running:
        try:
            within(READY_WITHIN_S, lambda: ready(running))
        except AssertionError:
            pytest.fail(running.compose("logs", "--tail", "20"), pytrace=False)
        yield running
    left = of_the_stack(running)
    assert not any(left.values()), left


def of_the_stack(stack: Stack) -> dict[str, list[str]]:
    """Containers, volumes and networks of the project, by name."""
    client = docker_client()
    try:
        mine: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={stack.project}"}
        return {
            "containers": [each.name or "" for each in client.containers.list(all=True, filters=mine)],
            "volumes": [each.name for each in client.volumes.list(filters=mine)],
            "networks": [each.name or "" for each in client.networks.list(names=[stack.project])],
        }
    finally:
        client.close()


def containers(stack: Stack) -> dict[str, dict[str, Any]]:
    """What the engine knows of each service."""
    client = docker_client()
    try:
        mine: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={stack.project}"}
        found = client.containers.list(filters=mine)
        return {each.labels["com.docker.compose.service"]: each.attrs for each in found}
    finally:
        client.close()


def within(seconds: float, holds: Callable[[], Any]) -> Any:
    """What ``holds`` returned once it was true."""
    ends_at = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends_at, f"{holds} did not hold within {seconds} s"
        time.sleep(0.5)
    return found


def ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{stack.web}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_everything_gets_ready_and_every_service_healthy(stack: Stack) -> None:
    assert set(containers(stack)) == SERVICES
    within(120, lambda: {each["State"]["Health"]["Status"] for each in containers(stack).values()} == {"healthy"})


def test_only_worker_and_agent_hold_dockers_socket_and_nobody_is_root_or_privileged(stack: Stack) -> None:
    found = containers(stack)
    holders = {name for name, each in found.items() if any(it["Source"] == str(SOCKET) for it in each["Mounts"])}
    assert holders == {"worker", "agent"}
    for name in SERVICES - {"redis", "postgres"}:
        assert found[name]["Config"]["User"] == "berth"
        assert found[name]["HostConfig"]["CapDrop"] == ["ALL"]
        assert found[name]["HostConfig"]["ReadonlyRootfs"]
    assert not any(each["HostConfig"]["Privileged"] for each in found.values())
    assert found["agent"]["HostConfig"]["PidMode"] == "host"


def test_the_image_has_no_build_tools(stack: Stack) -> None:
    which = "import shutil; print([tool for tool in ('gcc', 'make', 'npm', 'node', 'uv', 'git') if shutil.which(tool)])"
    assert stack.compose("exec", "-T", "web", "python", "-c", which).strip() == "[]"


def test_a_model_container_is_started_through_it_asked_and_stopped(stack: Stack) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.web}", follow_redirects=True, timeout=20) as browser:
        sign_in(browser)
        page = browser.get("/")
        static = re.findall(r'"(/static/[^"]+\.(?:css|js))"', page.text)
        assert static
        assert CONFIG in page.text + browser.get("/catalogue/").text
        assert {browser.get(path).status_code for path in static} == {200}
        assert "vendor/marked" in page.text, "the import map lacks the browser libraries"

    assert "ready" in stack.berth("start", CONFIG, "--wait", "--timeout", "90")
    key = stack.berth("key", "create", "composed", service="web").strip().splitlines()[-1]
    asked = httpx.post(
        f"http://127.0.0.1:{stack.gateway}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": CONFIG, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]},
        timeout=60,
    )
    assert asked.status_code == 200, asked.text
    assert asked.json()["choices"][0]["message"]["content"].strip()
    assert "llama_server: serving on" in stack.berth("logs", CONFIG)
    stack.berth("stop", CONFIG, "--wait")
    client = docker_client()
    try:
        assert not [each.name for each in client.containers.list(all=True) if "berth.installation" in each.labels
                    and stack.models_network in each.attrs["NetworkSettings"]["Networks"]]  # fmt: skip
    finally:
        client.close()


def test_the_doctor_finds_nothing_that_failed(stack: Stack) -> None:
    report = json.loads(stack.berth("doctor", "--json"))
    assert [each for each in report["findings"] if each["state"] == "failed" and each["check"] != "hub"] == []


def test_another_up_keeps_the_data(stack: Stack) -> None:
    stack.compose("up", "-d", "--no-build", "--force-recreate", timeout_s=180)
    within(READY_WITHIN_S, lambda: ready(stack))
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.web}", follow_redirects=True, timeout=20) as browser:
        sign_in(browser)


def sign_in(browser: httpx.Client) -> None:
    """As the admin of the first start."""
    form = browser.get("/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token, form[:500]
    fields = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token[1], "next": "/"}
    origin = str(browser.base_url).rstrip("/")
    answer = browser.post("/accounts/login/", data=fields, headers={"Origin": origin})
    assert answer.status_code == 200
    assert 'name="password"' not in answer.text
