"""Steps are found by name, read from real objects, and shown as open while they do not exist."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from django.db.models import Prefetch

from deployments.deliveries import steps
from deployments.deliveries.steps import ShownStep, State, Step, StepState, next_step, step_states
from deployments.models import Delivery
from tests.deployments.deliveries import OPS, make_delivery, make_requirement

pytestmark = pytest.mark.django_db


def _only(monkeypatch: pytest.MonkeyPatch, module: str, url_name: str = "deployments:nowhere") -> None:
    monkeypatch.setattr(
        steps, "STEPS", [Step(name="one", title=steps.STEPS[0].title, url_name=url_name, module=module)]
    )


def _module(monkeypatch: pytest.MonkeyPatch, name: str, **contents: object) -> None:
    module = ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def test_the_steps_stand_in_the_order_of_the_work() -> None:
    names = [step.name for step in step_states(make_delivery())]
    assert names == ["requirement", "tool", "trial", "dockerfile", "build", "test", "push", "report"]


@pytest.mark.parametrize("module", ["deployments.deliveries.not_there", "playground.not_there.at_all"])
def test_a_step_whose_module_and_page_are_missing_is_open_and_has_no_link(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    _only(monkeypatch, module)
    (step,) = step_states(make_delivery())
    assert (step.state, step.url) == (StepState(), "")


def test_a_module_that_fails_to_import_is_an_error_and_not_an_open_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'something_else'", name="something_else")

    monkeypatch.setattr(steps, "import_module", broken)
    _only(monkeypatch, "deployments.deliveries.requirement")
    with pytest.raises(ModuleNotFoundError):
        step_states(make_delivery())


def test_a_step_is_asked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def step_state(delivery: Delivery) -> StepState:
        return StepState(state=State.FAILED, sentence=f"{delivery.name} is broken.", who="ops1")

    _module(monkeypatch, "a_step_of_tests", step_state=step_state, PREFETCH=(Prefetch("transfers"),))
    _only(monkeypatch, "a_step_of_tests", "deployments:delivery")
    delivery = make_delivery()
    (step,) = step_states(delivery)
    assert (step.state.word, step.state.tone, step.state.who) == ("failed", "bad", "ops1")
    assert (step.url, steps.prefetched_relations()) == (f"/deliveries/{delivery.pk}/", [Prefetch("transfers")])


def test_the_requirement_is_done_once_it_was_written() -> None:
    from deployments.services.deliveries import change_requirement

    delivery = make_delivery()
    assert step_states(delivery)[0].state.state == State.OPEN
    change_requirement(delivery.pk, make_requirement(), actor=OPS)
    delivery.refresh_from_db()
    state = step_states(delivery)[0].state
    assert (state.state, state.who, state.when) == (State.DONE, "ops1", delivery.requirement_at)
    assert state.sentence == "Llama3-8B on 1 × NVIDIA H100 80GB HBM3."


def _shown(*states: tuple[str, State]) -> list[ShownStep]:
    return [ShownStep(name=url, title=url, url=url, state=StepState(state=state)) for url, state in states]


def test_one_goes_on_at_the_first_step_that_is_not_done_and_has_a_page() -> None:
    assert next_step(_shown(("a", State.DONE), ("", State.OPEN), ("c", State.STALE), ("d", State.OPEN))).name == "c"
    assert next_step(_shown(("a", State.DONE), ("b", State.DONE))).name == "b"
