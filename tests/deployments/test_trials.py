"""The step Trial: a draft that nobody else meets, runs that are kept and compared, and the way into the catalogue."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dashboard.palette import _configs
from deployments.actors import Actor
from deployments.config_values import ConfigValues
from deployments.deliveries.drafts import draft_values
from deployments.deliveries.requirement import Hardware, Requirement, Targets
from deployments.deliveries.steps import State
from deployments.deliveries.trials import compared, step_state, trials
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError
from deployments.lifecycle.phases import Phase
from deployments.models import Attempt, AuditEntry, Config, Delivery, Deployment
from deployments.selectors import catalogue_rows, configs_serving, find_config, ready_endpoints, startable_configs
from deployments.selectors_pages import fleet
from deployments.services.deliveries import close_delivery
from deployments.services.lifecycle import Pins
from deployments.services.trials import make_draft, publish, try_out
from tests.deployments.deliveries import only_step
from tests.deployments.editing import make_config, person, signed_in

pytestmark = pytest.mark.django_db
ED = Actor(name="ed", via="cli")
#: However many trials there are; one is the stepper's, which reads the delivery as it is now.
PAGE_QUERIES = 14
WANTED = Requirement(
    model="Qwen2.5-7B",
    repository="Qwen/Qwen2.5-7B-Instruct",
    parameters_b=7.6,
    hardware=Hardware(gpu="H100", count=2, memory_gib=40.0),
    targets=Targets(concurrent_users=8, context_tokens=8192),
)


@pytest.fixture
def delivery() -> Delivery:
    return Delivery.objects.create(name="qwen-service", tool="vllm", requirement=WANTED.to_json(), created_by="ed")


@pytest.fixture
def draft(delivery: Delivery) -> Config:
    return make_draft(delivery, actor=ED)


def run_trial(delivery: Delivery, *arguments: str, **environment: str) -> Deployment:
    delivery.refresh_from_db()
    image = "vllm/vllm-openai:v0.32.0"
    started = try_out(
        delivery, actor=ED, image=image, arguments=arguments or ("m",), environment=environment, pins=Pins()
    )
    return started.deployment


def end(run: Deployment, phase: Phase, *, ready: bool = False, load_s: float = 30.0, peak: int | None = None) -> None:
    now = timezone.now()
    ready_at = now if ready else None
    # As the lifecycle ends them: when it answered is the attempt's to keep.
    Deployment.objects.filter(pk=run.pk).update(phase=phase, ended_at=now, ready_at=None)
    Attempt.objects.create(
        deployment=run,
        number=1,
        started_at=now - timedelta(seconds=load_s),
        ready_at=ready_at,
        ended_at=now,
        exit_code=1,
        peak_memory_bytes=peak,
    )


def page_of(client: Client, delivery: Delivery, query: str = "") -> str:
    response = client.get(reverse("deployments:delivery_trial", args=[delivery.pk]) + query)
    assert response.status_code == 200
    return unescape(response.content.decode())


# ---- the draft


@pytest.mark.parametrize("tool", ["vllm", "lmdeploy", "sglang", "tgi", "localai", "llama.cpp"])
def test_a_draft_says_what_was_asked_for_in_the_words_of_the_tool(tool: str) -> None:
    values = draft_values(WANTED, tool)
    assert any("Qwen/Qwen2.5-7B-Instruct" in argument for argument in (*values.arguments, values.served_name))
    assert (values.gpus, values.memory_gib, values.shared_memory) == (2, 80.0, "16g")
    assert values.image


def test_weights_of_the_host_are_named_as_a_file() -> None:
    requirement = replace(WANTED, source="path", path="/models/tiny.gguf")
    assert draft_values(requirement, "llama.cpp").arguments[:2] == ("-m", "/models/tiny.gguf")


def test_a_tool_that_does_not_speak_the_protocol_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"ComfyUI does not speak openai-text"):
        draft_values(WANTED, "comfyui")


def test_nobody_meets_a_draft_but_by_its_own_name(delivery: Delivery, draft: Config) -> None:
    make_config()
    Deployment.objects.filter(pk=run_trial(delivery).pk).update(phase=Phase.READY, endpoint="http://x")
    assert [row.config.name for row in catalogue_rows()] == ["llama3-8b"]
    assert [config.config for config in startable_configs()] == ["llama3-8b"]
    assert fleet().configs == 1
    assert not [each for each in _configs() if "qwen-service" in str(each)]
    with pytest.raises(Exception, match="no model or config"):
        configs_serving("Qwen2.5-7B")
    # A request for the model is never sent to it; one for its own name is.
    assert [(each.config, each.model) for each in ready_endpoints()] == [("qwen-service", "qwen-service")]
    assert find_config("qwen-service").is_draft


def test_a_draft_needs_what_comes_before_it(delivery: Delivery) -> None:
    Delivery.objects.update(tool="")
    with pytest.raises(ConflictError, match="choose a tool first"):
        make_draft(delivery, actor=ED)
    Delivery.objects.update(tool="vllm")
    make_draft(delivery, actor=ED)
    with pytest.raises(ConflictError, match="has its draft already"):
        make_draft(delivery, actor=ED)


# ---- runs


def test_each_run_keeps_its_values_and_one_runs_at_a_time(delivery: Delivery, draft: Config) -> None:
    first = run_trial(delivery, "m", "--max-model-len", "4096")
    with pytest.raises(ConflictError, match=rf"Deployment {first.pk} .* Stop it first"):
        run_trial(delivery, "m")
    end(first, Phase.FAILED)
    second = run_trial(delivery, "m", "--max-model-len", "2048", VLLM_LOGGING_LEVEL="DEBUG")
    end(second, Phase.STOPPED, ready=True, load_s=12, peak=30 * 1024**3)
    found = trials(delivery)
    assert [(trial.deployment.pk, trial.is_good) for trial in found] == [(second.pk, True), (first.pk, False)]
    assert found[1].values.arguments == ("m", "--max-model-len", "4096")
    comparison = compared(found, second.pk, first.pk)
    assert comparison is not None
    assert [trial.deployment.pk for trial in comparison.both] == [first.pk, second.pk]
    assert [change.field for change in comparison.changes] == ["arguments", "environment"]
    assert compared(found, first.pk, first.pk) is None


def test_the_step_follows_the_real_runs(delivery: Delivery, draft: Config) -> None:
    def state() -> State:
        return step_state(Delivery.objects.get(pk=delivery.pk)).state

    assert state() is State.OPEN
    run = run_trial(delivery)
    assert state() is State.RUNNING
    end(run, Phase.FAILED)
    assert state() is State.FAILED
    second = run_trial(delivery)
    end(second, Phase.STOPPED, ready=True)
    assert state() is State.DONE
    Config.objects.filter(pk=draft.pk).update(archived_at=timezone.now())
    assert state() is State.FAILED


# ---- into the catalogue


def test_a_good_run_becomes_the_config_of_the_catalogue(delivery: Delivery, draft: Config) -> None:
    good = run_trial(delivery, "m", "--good")
    end(good, Phase.STOPPED, ready=True)
    bad = run_trial(delivery, "m", "--bad")
    end(bad, Phase.FAILED)
    with pytest.raises(ConflictError, match="never answered"):
        publish(delivery, bad.pk, actor=ED)
    with pytest.raises(InvalidInputError, match="no trial of this delivery"):
        publish(delivery, 10_000, actor=ED)
    config = publish(delivery, good.pk, actor=ED)
    assert not config.is_draft
    assert ConfigValues.of(config).arguments == ("m", "--good")
    assert "qwen-service" in {row.config.name for row in catalogue_rows()}
    assert config.serving_spec().model == "Qwen2.5-7B"
    assert AuditEntry.objects.filter(action="delivery.publish", target="qwen-service").exists()
    # Twice is the same.
    assert publish(delivery, good.pk, actor=ED).revision == config.revision


def test_who_may_not_changes_nothing(delivery: Delivery) -> None:
    operator = Actor.person(person("op", "operator"))
    for press in (
        lambda: make_draft(delivery, actor=operator),
        lambda: try_out(delivery, actor=operator, image="i", arguments=(), environment={}, pins=Pins()),
        lambda: publish(delivery, 1, actor=operator),
    ):
        with pytest.raises(NotAllowedError):
            press()
    client = signed_in("op", "operator")
    assert client.post(reverse("deployments:trial_draft", args=[delivery.pk])).status_code == 403
    assert not Config.objects.exists()


# ---- the page


def test_a_closed_delivery_is_neither_drafted_nor_tried_nor_published(delivery: Delivery, draft: Config) -> None:
    run = run_trial(delivery)
    close_delivery(delivery.pk, actor=ED)
    for change in (
        lambda: make_draft(Delivery.objects.get(), actor=ED),
        lambda: run_trial(delivery),
        lambda: publish(delivery, run.pk, actor=ED),
    ):
        with pytest.raises(ConflictError, match="is closed"):
            change()
    assert Deployment.objects.get() == run
    assert Config.objects.get().is_draft


def test_the_page_leads_from_no_draft_to_the_catalogue(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = signed_in("ed", "editor")
    address = reverse("deployments:delivery_trial", args=[delivery.pk])
    assert "No draft yet" in page_of(client, delivery)
    assert client.post(reverse("deployments:trial_draft", args=[delivery.pk])).status_code == 303
    sent: dict[str, Any] = {"image": "vllm/vllm-openai:v0.32.0", "arguments": "m\r\n--a", "environment": "A=1"}
    refused = client.post(address, {**sent, "environment": "A", "gpus": "x"})
    assert refused.status_code == 422
    assert "write NAME=value" in unescape(refused.content.decode())
    assert "“x” is no number of a GPU" in unescape(refused.content.decode())
    assert client.post(address, sent).status_code == 303
    run = Deployment.objects.get()
    end(run, Phase.STOPPED, ready=True)
    again = client.post(address, {**sent, "arguments": "m\r\n--b"})
    assert again.status_code == 303
    end(Deployment.objects.exclude(pk=run.pk).get(), Phase.FAILED)
    page = page_of(client, delivery, f"?compare={run.pk}&compare={Deployment.objects.latest('pk').pk}")
    assert "--b" in page
    assert page.count("Put into the catalogue") == 1
    with monkeypatch.context() as alone, django_assert_num_queries(PAGE_QUERIES):
        only_step(alone, "trial")
        client.get(address)
    assert client.post(reverse("deployments:trial_publish", args=[delivery.pk, run.pk])).status_code == 303
    assert "in the catalogue" in page_of(client, delivery)
    assert not Config.objects.get().is_draft


def test_the_live_part_stops_asking_at_the_end_and_brings_the_stepper_along(delivery: Delivery, draft: Config) -> None:
    run = run_trial(delivery)
    client = signed_in("ed2", "editor")
    address = reverse("deployments:delivery_trial", args=[delivery.pk])
    assert client.get(address, headers={"HX-Request": "true"}).status_code == 200
    end(run, Phase.FAILED)
    ended = client.get(address, headers={"HX-Request": "true"})
    assert ended.status_code == 286
    assert 'hx-swap-oob="morph"' in ended.content.decode()
    assert f"Deployment {run.pk} ended before it answered." in ended.content.decode()
