"""The GPU page, the tab of a run, and the overview's tiles: as the server draws them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from deployments import selectors_gpus
from deployments.gpu_memory import quarantine
from deployments.gpu_readings import GpuProcess, GpuReading, HostReading, NodeReading, RunReading, publish_reading
from deployments.lifecycle.phases import Phase
from deployments.models import Deployment, Node
from deployments.placement.views import GIB
from deployments.redis import RedisError
from tests.deployments.editing import make_config, make_run, signed_in
from tests.deployments.gpu_hosts import add_gpus

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
FRAGMENT = {"HX-Request": "true"}
RECORDING = Path(__file__).parent.parent / "recordings" / "h200x4.jsonl"


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


@pytest.fixture
def node() -> Node:
    made = Node.objects.create(name="gpu-01", runtimes=["docker"], heartbeat_at=Now())
    add_gpus(made, 2)
    return made


def text(client: Client, address: str, *, fragment: bool = False) -> str:
    headers = FRAGMENT if fragment else {}
    return unescape(client.get(address, headers=headers).content.decode())


def publish(node: Node, *, source: str = "nvml", **changes: Any) -> Deployment:
    """Both GPUs of the node measured, with a run of ours on the first."""
    run = make_run(make_config(), Phase.READY, node=node, gpu_uuids=["GPU-gpu-01-0"])
    gpus = [
        GpuReading(
            uuid=f"GPU-gpu-01-{index}",
            index=index,
            name="NVIDIA H200",
            memory_total_bytes=140 * GIB,
            memory_used_bytes=61 * GIB,
            memory_free_bytes=79 * GIB,
            utilization_gpu_percent=76,
            power_watts=597,
            power_limit_watts=700,
            temperature_gpu_celsius=44,
            limited_s={"power_cap": 18},
            processes=(GpuProcess(pid=825, memory_bytes=60 * GIB, command="vllm", user="root", run_name=run.run_name),),
            **(changes if index else {}),
        )
        for index in range(2)
    ]
    told = RunReading(
        run_name=run.run_name,
        deployment_id=run.pk,
        config=run.config.name,
        assigned=("GPU-gpu-01-0",),
        observed=("GPU-gpu-01-0", "GPU-gpu-01-1"),
        memory_bytes=120 * GIB,
        utilization_percent=70,
        flags=("elsewhere",),
    )
    host = HostReading(cpu_percent=12, cpu_count=16, memory_used_bytes=40 * GIB, memory_total_bytes=128 * GIB)
    publish_reading(
        NodeReading(
            node=node.name,
            at=time.time(),
            source=source,
            driver="580.159.04",
            gpus=tuple(gpus),
            runs=(told,),
            host=host,
        )
    )
    return run


def test_a_tile_has_every_number_and_the_limiter_in_words(viewer: Client, node: Node) -> None:
    run = publish(node)
    page = text(viewer, reverse("deployments:gpus"))
    for expected in ("61.0", "140.0", "76", "597", "700", "44", "power-capped 18 s of the last minute"):
        assert expected in page
    assert f'href="/deployments/{run.pk}/"' in page
    assert "driver 580.159.04" in page
    assert "of 16 cores" in page
    assert f'data-series="/gpus/gpu-01/{node.gpus.first().uuid}/series/"' in page  # type: ignore[union-attr]
    assert "style=" not in page


def test_the_fleet_is_one_line(viewer: Client, node: Node) -> None:
    publish(node)
    page = " ".join(text(viewer, reverse("deployments:gpus")).replace("<b>", "").replace("</b>", "").split())
    assert "1 node</li>" in page
    assert "2 GPUs</li>" in page
    assert "of 280 GiB" in page
    assert '<b data-fleet="power">1.2 kW' in page
    assert "1 ready</li>" in page


def test_the_fragment_is_the_region_alone_and_keeps_the_wall_screen(viewer: Client, node: Node) -> None:
    publish(node)
    address = reverse("deployments:gpus")
    fragment = text(viewer, address, fragment=True)
    assert fragment.lstrip().startswith('<div id="gpus"')
    assert "gpu-strings" not in fragment
    wall = text(viewer, f"{address}?kiosk", fragment=True)
    assert f'hx-get="{address}?kiosk=1"' in wall
    assert "data-gpu-charts" not in wall


def test_the_range_is_of_the_address_and_nothing_else(viewer: Client, node: Node) -> None:
    publish(node)
    page = text(viewer, f"{reverse('deployments:gpus')}?range=6h")
    assert 'data-range="6h" aria-pressed="true"' in page
    page = text(viewer, f"{reverse('deployments:gpus')}?range=<script>")
    assert 'data-range="15m" aria-pressed="true"' in page


def test_the_number_of_queries_is_constant(
    viewer: Client, node: Node, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    viewer.get(reverse("deployments:gpus"))
    with django_assert_num_queries(8):
        viewer.get(reverse("deployments:gpus"))
    for number in range(3):
        add_gpus(Node.objects.create(name=f"more-{number}", runtimes=["docker"], heartbeat_at=Now()), 8)
    publish(node)
    with django_assert_num_queries(8):
        viewer.get(reverse("deployments:gpus"))


def test_a_recording_is_called_one(viewer: Client, node: Node) -> None:
    publish(node, source="replay:h200x4")
    page = text(viewer, reverse("deployments:gpus"))
    assert "replay: a recording, nothing of it is now" in page
    assert "recording h200x4" in page
    assert "replay" in text(viewer, "/")
    publish_reading(NodeReading(node=node.name, at=time.time(), source="nvml"))
    assert "replay" not in text(viewer, reverse("deployments:gpus"))


def test_without_a_driver_it_says_why_and_where_to_look(viewer: Client) -> None:
    Node.objects.create(name="quay", runtimes=["process"], heartbeat_at=Now())
    publish_reading(NodeReading(node="quay", at=time.time(), reason="The NVIDIA driver is not installed."))
    page = text(viewer, reverse("deployments:gpus"))
    assert "The NVIDIA driver is not installed." in page
    assert 'href="/doctor/"' in page
    overview = text(viewer, "/")
    assert "No GPU: The NVIDIA driver is not installed." in " ".join(overview.split())
    assert "data-fleet" not in overview


def test_without_a_node_it_says_what_to_do(viewer: Client) -> None:
    page = text(viewer, reverse("deployments:gpus"))
    assert "No node has reported yet." in page
    assert 'href="/doctor/"' in page


def test_a_silent_node_keeps_its_gpus_and_shows_no_numbers(viewer: Client, node: Node) -> None:
    publish_reading(NodeReading(node=node.name, at=time.time() - 60))  # the rows stay
    page = text(viewer, reverse("deployments:gpus"))
    assert page.count('data-verdict="silent"') == 2
    assert "0.0 / " not in page


def test_what_the_driver_did_not_say_is_a_dash_with_its_reason(viewer: Client, node: Node) -> None:
    publish_reading(
        NodeReading(
            node=node.name,
            at=time.time(),
            source="nvml",
            gpus=(GpuReading(uuid="GPU-gpu-01-0", index=0, missing={"power_watts": "not_supported"}),),
        )
    )
    page = text(viewer, reverse("deployments:gpus"))
    assert '<b data-value="power">–</b>' in page
    assert "This GPU does not tell." in page


def test_processes_are_listed_with_their_owner(viewer: Client, node: Node) -> None:
    publish(node, processes_error="denied")
    page = text(viewer, reverse("deployments:gpus"))
    assert "825" in page
    assert "vllm" in page
    assert "could not all be listed: denied" in page
    publish_reading(NodeReading(node=node.name, at=time.time(), gpus=(GpuReading(uuid="GPU-gpu-01-0", index=0),)))
    assert "No process uses a GPU now." in text(viewer, reverse("deployments:gpus"))


def test_a_quarantined_gpu_says_so(viewer: Client, node: Node) -> None:
    publish(node)
    quarantine(["GPU-gpu-01-0"], node, {"note": "odd"})
    assert 'data-verdict="quarantined"' in text(viewer, reverse("deployments:gpus"))


def test_lost_history_costs_the_small_lines_only(viewer: Client, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_options: Any) -> Any:
        raise RedisError("gone")

    monkeypatch.setattr(selectors_gpus, "sparklines", broken)
    publish(node)
    assert "597" in text(viewer, reverse("deployments:gpus"))


def test_only_those_with_a_role_see_it_and_only_get_is_answered(client: Client, viewer: Client) -> None:
    assert client.get(reverse("deployments:gpus")).status_code == 302
    client.force_login(User.objects.create_user("nora"))
    assert client.get(reverse("deployments:gpus")).status_code == 403
    assert viewer.post(reverse("deployments:gpus")).status_code == 405


def test_names_from_outside_stay_text(viewer: Client, node: Node) -> None:
    hostile = GpuProcess(pid=1, memory_bytes=GIB, command="<script>x</script>", user="<b>")
    publish_reading(
        NodeReading(
            node=node.name, at=time.time(), gpus=(GpuReading(uuid="GPU-gpu-01-0", index=0, processes=(hostile,)),)
        )
    )
    assert "<script>x" not in viewer.get(reverse("deployments:gpus")).content.decode()


# The tab of a run


def test_a_run_shows_what_it_was_given_and_what_it_uses(viewer: Client, node: Node) -> None:
    run = publish(node)
    page = text(viewer, f"/deployments/{run.pk}/?tab=gpus")
    assert page.count("data-gpu-charts") == 2
    assert 'data-flag="elsewhere"' in page
    assert "It uses a GPU that it was not given." in page
    assert "60.0" in page
    fragment = text(viewer, f"/deployments/{run.pk}/?part=gpus", fragment=True)
    assert fragment.lstrip().startswith('<div id="run-gpus"')


def test_what_an_earlier_attempt_still_holds_is_told_and_not_taken_for_the_runs(viewer: Client, node: Node) -> None:
    run = make_run(make_config(), Phase.READY, node=node, gpu_uuids=["GPU-gpu-01-0"], attempt=2)
    earlier = run.run_name.removesuffix("2") + "1"
    gpus = tuple(
        GpuReading(
            uuid=f"GPU-gpu-01-{index}",
            index=index,
            memory_total_bytes=140 * GIB,
            processes=(GpuProcess(pid=80 + index, memory_bytes=size * GIB, run_name=name),),
        )
        for index, (name, size) in enumerate([(run.run_name, 60), (earlier, 9)])
    )
    told = RunReading(run_name=run.run_name, deployment_id=run.pk, config="c", memory_bytes=60 * GIB)
    left = replace(told, run_name=earlier, memory_bytes=9 * GIB, observed=("GPU-gpu-01-1",), flags=("orphaned",))
    publish_reading(NodeReading(node=node.name, at=time.time(), source="nvml", gpus=gpus, runs=(left, told)))
    own = selectors_gpus.run_gpus(run)
    assert own.run == told
    assert [(row.tile.index, row.memory_bytes) for row in own.rows] == [(0, 60 * GIB), (1, 0)]
    assert "An earlier attempt of it has ended" in text(viewer, f"/deployments/{run.pk}/?tab=gpus")


def test_gpus_that_never_told_their_uuid_are_drawn(viewer: Client, node: Node) -> None:
    lost = tuple(GpuReading(uuid=f"unknown-{index}", index=index, state="lost", error="lost") for index in range(2))
    publish_reading(NodeReading(node=node.name, at=time.time(), source="nvml", gpus=lost))
    assert text(viewer, "/gpus/").count('data-verdict="lost"') == 2


def test_a_run_without_a_gpu_says_so(viewer: Client, node: Node) -> None:
    none = make_run(make_config("cpu-only", gpus=0, memory_gib=1), Phase.READY, node=node)
    assert "asks for no GPU" in text(viewer, f"/deployments/{none.pk}/?tab=gpus")
    queued = make_run(make_config("waiting"), Phase.QUEUED)
    assert "No GPU has been given to this run yet." in text(viewer, f"/deployments/{queued.pk}/?tab=gpus")


def test_an_ended_run_still_has_its_charts(viewer: Client, node: Node) -> None:
    run = publish(node)
    Deployment.objects.filter(pk=run.pk).update(phase=Phase.STOPPED, ended_at=Now())
    page = text(viewer, f"/deployments/{run.pk}/?tab=gpus")
    assert "This run has ended." in page
    assert "data-gpu-charts" in page


# The overview


def test_the_overview_has_the_same_tiles_without_charts(viewer: Client, node: Node) -> None:
    publish(node)
    page = text(viewer, "/")
    assert page.count("data-gpu ") == 2
    assert "data-gpu-charts" not in page
    assert "of 280 GiB" in page
    strings = page.split('<script id="gpu-strings" type="application/json">')[1].split("</script>")[0]
    assert json.loads(strings)["limited"]["power_cap"] == "power-capped {n} s of the last minute"
