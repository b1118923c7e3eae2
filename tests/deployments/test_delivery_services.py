"""Each decision about a delivery is kept with who and when, and only editors decide."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployments.actors import Actor
from deployments.exceptions import BerthError, ConflictError, InvalidInputError, NotAllowedError, NotFoundError
from deployments.models import AuditEntry, Config, Delivery, ImageTransfer, Job, Node
from deployments.services import deliveries
from tests.deployments.deliveries import OPS, make_delivery, make_requirement
from tests.deployments.editing import make_config, make_run, person

pytestmark = pytest.mark.django_db

#: Every change of a delivery that exists.
CHANGES: dict[str, Callable[[int, Actor], object]] = {
    "requirement": lambda pk, actor: deliveries.change_requirement(pk, make_requirement(), actor=actor),
    "tool": lambda pk, actor: deliveries.choose_tool(pk, "vllm", actor=actor),
    "close": lambda pk, actor: deliveries.close_delivery(pk, actor=actor),
    "reopen": lambda pk, actor: deliveries.reopen_delivery(pk, actor=actor),
    "delete": lambda pk, actor: deliveries.delete_delivery(pk, actor=actor),
}


def _audited() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", "target", "actor"))


def test_a_delivery_is_begun_with_an_audit_row() -> None:
    made = make_delivery(asked_by="Radiology", note="for the ward")
    assert (made.created_by, made.asked_by, made.note) == ("ops1", "Radiology", "for the ward")
    assert _audited() == [("delivery.create", "smollm-service", "ops1")]


def test_a_name_is_given_once() -> None:
    make_delivery()
    with pytest.raises(InvalidInputError) as refused:
        make_delivery()
    assert "There is a delivery of this name already." in refused.value.fields["name"][0]


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 101])
def test_a_name_that_no_image_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        make_delivery(name)
    assert refused.value.fields.keys() == {"name"}
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_editors_decide(role: str) -> None:
    actor = Actor.person(person("somebody", role))
    delivery = make_delivery()
    with pytest.raises(NotAllowedError, match="editor role"):
        deliveries.create_delivery("another", actor=actor)
    for change in CHANGES.values():
        with pytest.raises(NotAllowedError, match="editor role"):
            change(delivery.pk, actor)
    assert _audited() == [("delivery.create", "smollm-service", "ops1")]


def test_an_editor_may() -> None:
    actor = Actor.person(person("editor", "editor"))
    delivery = deliveries.create_delivery("mine", actor=actor)
    for change in CHANGES.values():
        change(delivery.pk, actor)
    assert [action for action, _target, _actor in _audited()] == [
        "delivery.create",
        *(f"delivery.{name}" for name in CHANGES),
    ]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_gone_is_said(change: Callable[[int, Actor], object]) -> None:
    with pytest.raises(NotFoundError, match="no such delivery"):
        change(4711, OPS)


@pytest.mark.parametrize("name", ["requirement", "tool"])
def test_a_closed_one_does_not_change_until_it_is_opened_again(name: str) -> None:
    delivery = make_delivery()
    deliveries.close_delivery(delivery.pk, actor=OPS)
    deliveries.close_delivery(delivery.pk, actor=OPS)
    with pytest.raises(ConflictError, match="is closed"):
        CHANGES[name](delivery.pk, OPS)
    deliveries.reopen_delivery(delivery.pk, actor=OPS)
    CHANGES[name](delivery.pk, OPS)
    assert [action for action, _target, _actor in _audited()][1:] == [
        "delivery.close",
        "delivery.reopen",
        f"delivery.{name}",
    ]


def test_a_requirement_that_does_not_differ_changes_nothing() -> None:
    delivery = make_delivery()
    assert deliveries.change_requirement(delivery.pk, make_requirement(), actor=OPS)
    assert not deliveries.change_requirement(delivery.pk, make_requirement(), actor=OPS)
    assert [row[0] for row in _audited()] == ["delivery.create", "delivery.requirement"]


def test_the_tool_is_kept_with_reason_who_and_when() -> None:
    delivery = make_delivery()
    deliveries.choose_tool(delivery.pk, "lmdeploy", reason="We know it.", actor=OPS)
    delivery.refresh_from_db()
    assert (delivery.tool, delivery.tool_reason, delivery.tool_by) == ("lmdeploy", "We know it.", "ops1")
    assert delivery.tool_at is not None


@pytest.mark.parametrize(("tool", "reason", "field"), [("vlmm", "", "tool"), ("vllm", "x" * 301, "reason")])
def test_a_tool_that_does_not_exist_and_an_endless_reason_are_refused(tool: str, reason: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        deliveries.choose_tool(make_delivery().pk, tool, reason=reason, actor=OPS)
    assert refused.value.fields.keys() == {field}


def test_errors_are_sentences() -> None:
    with pytest.raises(BerthError, match=r"^There is no such delivery\. Somebody may have deleted it\.$"):
        deliveries.find_delivery(4711)


@pytest.mark.parametrize("name", ["close", "delete"])
def test_nothing_ends_while_a_job_of_it_goes_on(name: str) -> None:
    delivery = make_delivery()
    node = Node.objects.create(name="quay")
    push = ImageTransfer.objects.create(delivery=delivery, node=node, kind="push", requested_by="ops1")
    with pytest.raises(ConflictError, match=r"Work for “smollm-service” goes on \(image transfer\)"):
        CHANGES[name](delivery.pk, OPS)
    push.state = Job.State.CANCELLED
    push.save()
    CHANGES[name](delivery.pk, OPS)


def _with_draft() -> Delivery:
    delivery = make_delivery()
    delivery.config = make_config(delivery.name)
    delivery.config.is_draft = True
    delivery.config.save()
    delivery.save()
    return delivery


def test_a_draft_goes_with_its_delivery_and_can_be_brought_back_as_a_config() -> None:
    deliveries.delete_delivery(_with_draft().pk, actor=OPS)
    config = Config.objects.get()
    assert config.archived_at is not None
    assert not config.is_draft


def test_a_delivery_whose_trial_runs_is_not_deleted() -> None:
    delivery = _with_draft()
    assert delivery.config is not None
    make_run(delivery.config)
    with pytest.raises(ConflictError, match="Stop it first"):
        deliveries.delete_delivery(delivery.pk, actor=OPS)
    assert Delivery.objects.exists()
    assert Config.objects.get().archived_at is None


def test_a_config_that_is_in_the_catalogue_stays_when_its_delivery_goes() -> None:
    delivery = _with_draft()
    Config.objects.update(is_draft=False)
    deliveries.delete_delivery(delivery.pk, actor=OPS)
    assert Config.objects.get().archived_at is None
