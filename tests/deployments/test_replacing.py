"""Replace an edited config's run; stop at once; pins; stop one and start another; maintenance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User

from deployments.actors import Actor
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError, NotFoundError
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import AuditEntry, Config, Deployment
from deployments.services.lifecycle import Pins, replace_deployment, start_deployment, stop_now
from deployments.services.nodes import set_maintenance
from tests.deployments.gpu_hosts import add_gpus
from tests.deployments.hosts import OPS, Host, scripted_host, small_config, stop
from tests.fakes.runtime import Script

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


@pytest.fixture
def viewer() -> Actor:
    user = User.objects.create_user("viewer")
    user.groups.add(Group.objects.get(name="viewer"))
    return Actor.person(user)


def edited(deployment: Deployment) -> None:
    """Somebody saves another revision of the run's config."""
    Config.objects.filter(pk=deployment.config_id).update(arguments=["server", "--edited"], revision=2)


def settle(host: Host, *deployments: Deployment) -> None:
    for _round in range(3):
        for deployment in deployments:
            host.go_on(deployment)


# Replace


def test_the_new_one_is_ready_before_the_old_one_stops(host: Host) -> None:
    old = host.ready()
    edited(old)
    new = replace_deployment(old.pk, actor=OPS)
    assert new.spec["arguments"] == ["server", "--edited"]
    assert host.go_on(old).phase == Phase.READY, "nobody has taken its place yet"
    assert host.go_on(new).phase == Phase.READY
    old.refresh_from_db()
    assert (old.desired, old.events.filter(reason="superseded").count()) == (Desired.STOPPED, 1)
    assert host.go_on(old).phase == Phase.STOPPED
    new.refresh_from_db()
    assert (new.replica, new.supersedes) == (0, old), "it has taken over the number"


def test_a_replacement_that_fails_leaves_the_old_one_alone(host: Host) -> None:
    old = host.ready()
    host.runtime.default_script = Script(exits_with=1)
    Config.objects.filter(pk=old.config_id).update(max_attempts=1)
    new = replace_deployment(old.pk, actor=OPS)
    settle(host, new, old)
    new.refresh_from_db()
    old.refresh_from_db()
    assert (new.phase, old.phase, old.desired) == (Phase.FAILED, Phase.READY, Desired.RUNNING)


def test_in_place_the_old_one_makes_room_first(host: Host) -> None:
    add_gpus(host.node, 1)
    old = host.ready(gpus=1, memory_gib=60)
    waiting = replace_deployment(old.pk, actor=OPS)
    assert host.go_on(waiting).reason == "gpus_held", "the plain way waits for ever, and says for whom"
    stop(waiting)
    host.go_on(waiting)
    new = replace_deployment(old.pk, actor=OPS, in_place=True)
    settle(host, old, new)
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.phase, new.phase, new.gpu_uuids) == (Phase.STOPPED, Phase.READY, old.gpu_uuids)


def test_in_place_the_old_one_is_put_back_when_the_new_one_fails(host: Host) -> None:
    add_gpus(host.node, 1)
    old = host.ready(gpus=1, memory_gib=60)
    Config.objects.filter(pk=old.config_id).update(arguments=["broken"], max_attempts=1)
    new = replace_deployment(old.pk, actor=OPS, in_place=True)
    host.runtime.scripts.append(Script(exits_with=1))
    settle(host, old, new)
    again = Deployment.objects.latest("pk")
    assert again.spec == old.spec
    assert again.events.filter(reason="put_back").exists()
    assert host.go_on(again).phase == Phase.READY
    new.refresh_from_db()
    assert new.phase == Phase.FAILED


def test_a_run_is_replaced_by_one_at_a_time(host: Host) -> None:
    old = host.ready()
    replace_deployment(old.pk, actor=OPS)
    with pytest.raises(ConflictError, match="replacing"):
        replace_deployment(old.pk, actor=OPS)


def test_what_has_ended_is_not_replaced(host: Host) -> None:
    old = host.ready()
    stop(old)
    with pytest.raises(ConflictError, match="Start the config again"):
        replace_deployment(old.pk, actor=OPS)


# Stop now


def test_stop_now_ends_a_server_that_ignores_sigterm_within_seconds(host: Host) -> None:
    host.runtime.default_script = Script(ignores_sigterm=True)
    run = host.ready(grace_s=600)
    stop_now(run.pk, actor=OPS)
    began = host.clock.now
    assert host.go_on(run).phase == Phase.STOPPED
    assert host.clock.now - began < 5
    assert not stop_now(run.pk, actor=OPS).changed
    assert AuditEntry.objects.filter(action="deployment.stop_now").count() == 1


def test_stop_now_cuts_a_stop_short(host: Host) -> None:
    host.runtime.default_script = Script(ignores_sigterm=True)
    run = host.ready(grace_s=600)
    stop(run)
    assert stop_now(run.pk, actor=OPS).changed
    assert host.go_on(run).phase == Phase.STOPPED


# Pins


def test_a_pinned_start_goes_there(host: Host) -> None:
    add_gpus(host.node, 3)
    small_config("pinned", gpus=1, memory_gib=10)
    run = start_deployment("pinned", actor=OPS, pins=Pins(node="gpu-01", gpus=(2,))).deployment
    assert host.go_on(run).gpu_uuids == ["GPU-gpu-01-2"]


@pytest.mark.parametrize(
    ("pins", "told"),
    [
        (Pins(node="nowhere"), "Known nodes: gpu-01"),
        (Pins(gpus=(0,)), "Name the node"),
        (Pins(node="gpu-01", gpus=(7,)), "which has: 0, 1"),
        (Pins(node="gpu-01", gpus=(0, 1)), "needs 1 GPUs"),
    ],
)
def test_pins_that_cannot_be_kept_are_refused_with_what_there_is(host: Host, pins: Pins, told: str) -> None:
    add_gpus(host.node, 2)
    small_config("pinned", gpus=1, memory_gib=10)
    with pytest.raises(InvalidInputError, match=told):
        start_deployment("pinned", actor=OPS, pins=pins)
    assert not Deployment.objects.exists()


def test_stop_that_one_and_start_this_one(host: Host) -> None:
    add_gpus(host.node, 1)
    holder = host.ready(name="holder", gpus=1, memory_gib=60)
    small_config("wanted", gpus=1, memory_gib=60)
    wanted = start_deployment("wanted", actor=OPS, stop_first=[holder.pk]).deployment
    settle(host, holder, wanted)
    holder.refresh_from_db()
    wanted.refresh_from_db()
    assert (holder.phase, wanted.phase) == (Phase.STOPPED, Phase.READY)
    with pytest.raises(NotFoundError):
        start_deployment("holder", actor=OPS, stop_first=[10**6])


# Maintenance


def test_a_node_in_maintenance_takes_nothing_new_and_keeps_what_it_has(host: Host) -> None:
    run = host.ready()
    set_maintenance("gpu-01", actor=OPS, on=True, note="new fans")
    set_maintenance("gpu-01", actor=OPS, on=True)
    assert host.go_on(run).phase == Phase.READY
    other = host.go_on(host.start(name="other"))
    assert (other.phase, other.reason) == (Phase.QUEUED, "node_in_maintenance")
    set_maintenance("gpu-01", actor=OPS, on=False)
    assert host.go_on(other).phase == Phase.READY
    assert [entry.action for entry in AuditEntry.objects.filter(target="gpu-01").order_by("pk")] == [
        "node.maintenance_on",
        "node.maintenance_off",
    ]


def test_an_unknown_node_cannot_be_maintained() -> None:
    with pytest.raises(NotFoundError):
        set_maintenance("nowhere", actor=OPS, on=True)


# Who may not


def test_a_viewer_may_do_none_of_this(host: Host, viewer: Actor) -> None:
    run = host.ready()
    before = AuditEntry.objects.count()
    for attempt in (
        lambda: stop_now(run.pk, actor=viewer),
        lambda: replace_deployment(run.pk, actor=viewer),
        lambda: start_deployment("smollm2-135m", actor=viewer, stop_first=[run.pk]),
        lambda: set_maintenance("gpu-01", actor=viewer, on=True),
    ):
        with pytest.raises(NotAllowedError):
            attempt()
    assert AuditEntry.objects.count() == before
    run.refresh_from_db()
    assert run.desired == Desired.RUNNING
