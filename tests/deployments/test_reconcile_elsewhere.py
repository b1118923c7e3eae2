"""Each node acts on its own runs only, and what a host refuses is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.models.functions import Now

from deployments.exceptions import RuntimeUnavailableError
from deployments.lifecycle import reconcile as loop
from deployments.lifecycle.phases import Phase
from deployments.models import Node
from tests.deployments.hosts import Host, pass_time, scripted_host

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with scripted_host(monkeypatch) as made:
        yield made


def test_a_run_of_another_node_is_passed_on_untouched(host: Host) -> None:
    deployment = host.start()
    deployment.node = Node.objects.create(name="gpu-02", runtimes=["process"], heartbeat_at=Now())
    deployment.phase = Phase.STARTING
    deployment.save()
    assert loop.reconcile(deployment.pk) is True
    deployment.refresh_from_db()
    assert (deployment.phase, deployment.claim_token) == (Phase.STARTING, "")
    assert host.runtime.calls == []


def test_a_worker_that_places_a_run_elsewhere_stops_there(host: Host) -> None:
    host.node.heartbeat_at = None
    host.node.save()
    Node.objects.create(name="gpu-02", runtimes=["process"], heartbeat_at=Now())
    deployment = host.start()
    assert loop.reconcile(deployment.pk) is True
    deployment.refresh_from_db()
    assert deployment.node is not None
    assert (deployment.node.name, deployment.phase) == ("gpu-02", Phase.PREPARING)
    assert host.runtime.calls == []


def test_what_the_host_refuses_is_told_while_it_waits_and_as_the_cause_in_the_end(host: Host) -> None:
    full = RuntimeUnavailableError("No space left.", code="no_disk_space")
    host.runtime.fail("create", *[full] * 4)
    deployment = host.start()
    loop.reconcile(deployment.pk)
    deployment.refresh_from_db()
    assert (deployment.phase, deployment.reason) == (Phase.STARTING, "no_disk_space")
    pass_time(180)
    loop.reconcile(deployment.pk)
    deployment.refresh_from_db()
    assert (deployment.phase, deployment.reason) == (Phase.BACKOFF, "no_disk_space")
    assert deployment.reason_params["detail"] == "No space left."
