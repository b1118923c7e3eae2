"""What /metrics tells: every sample parses, nothing is invented, and what is away is left out."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.samples import Sample
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard.metrics import collector, gpus, nodes
from dashboard.metrics.gpus import gpu_families
from dashboard.telemetry.replay import Recording
from deployments.gpu_readings import LIMITERS, STATES, GpuReading, HostReading, NodeReading, RunReading, publish_reading
from deployments.lifecycle.phases import Phase
from deployments.models import Gpu, GpuLease, Node
from deployments.redis import client as redis_client
from deployments.redis import quick_client
from deployments.redis_keys import SWEEP_HEARTBEAT, USAGE, agent_heartbeat, gateway_state, gpu_reading
from playground.gateway.metering import RequestRecord
from playground.models import UsageDay
from playground.selectors_gateway import gateway_sums
from playground.services.usage_rollup import add_up
from tests.deployments.editing import make_config, make_run

pytestmark = pytest.mark.django_db

RECORDING = Path(collector.__file__).parents[1] / "telemetry/recordings/h200x4.jsonl"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
UNITS = ("bytes", "seconds", "ratio", "watts", "celsius", "hertz", "joules", "bytes_per_second")
#: Counts, states and flags: they have no unit.
WITHOUT_UNIT = re.compile(
    r"berth_(gpu_(remapped_rows|last_xid|state|limiter_active|ecc_errors|quarantined)|gpu|build"
    r"|node_(cpus|load1|maintenance)|deployments(_waiting)?|deployment_(phase|ready|restarts|failures|gpus|gpu_flag)"
    r"|gateway_(requests|tokens|processes|requests_in_flight)|queue_length|usage_batches_waiting"
    r"|scrape_(error|source_up))"
)
NODE = "gpu-01"


def scrape(accept: str = "") -> str:
    answer = Client().get("/metrics", headers={"Accept": accept} if accept else {})
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def samples(text: str = "") -> dict[str, list[Sample]]:
    """The samples of a scrape by name."""
    found: dict[str, list[Sample]] = {}
    for family in parser.text_string_to_metric_families(text or scrape()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(name: str, **labels: str) -> float:
    """The value of the one sample with these labels."""
    found = [one for one in samples().get(name, ()) if labels.items() <= one.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0].value


def recorded(at_s: float = 60.0) -> tuple[GpuReading, ...]:
    return Recording.read(RECORDING).at(at_s).states


def publish(*measured: GpuReading, node: str = NODE, age_s: float = 0.0, **told: Any) -> NodeReading:
    reading = NodeReading(node=node, at=time.time() - age_s, source="nvml", driver="580.1", gpus=measured, **told)
    Node.objects.get_or_create(name=node)
    publish_reading(reading)
    return reading


def usage(**changes: Any) -> RequestRecord:
    values: dict[str, Any] = {
        "at": time.time(),
        "request_id": "abc",
        "key_id": 1,
        "caller": "app",
        "model": "tiny",
        "config": "tiny_1",
        "deployment_id": 7,
        "endpoint": "chat",
        "status": 200,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "queue_s": 0.25,
        "first_token_s": 0.5,
        "duration_s": 2.0,
        "streamed": True,
    }
    return RequestRecord(**{**values, **changes})


@pytest.fixture
def everything(redis_server: object) -> None:
    """Every part tells something: a node with the recording's GPUs, a run on one, the gateway, usage and queues."""
    unmeasured: dict[str, Any] = {
        name: 1 for name, _metric, _unit, _times, _help in gpus.FIELDS if getattr(recorded()[0], name) is None
    }
    unmeasured |= {"energy_joules": 12.5, "ecc_corrected": 1, "limited_s": {"power_cap": 18}}
    gpu = replace(recorded()[0], **unmeasured)
    node = Node.objects.create(name=NODE, heartbeat_at=timezone.now())
    row = Gpu.objects.create(node=node, uuid=gpu.uuid, index=0, name=gpu.name, memory_bytes=100, seen_at=timezone.now())
    run = make_run(make_config("tiny_1"), node=node, gpu_uuids=[gpu.uuid], attempt=3, failures=1)
    GpuLease.objects.create(gpu=row, deployment=run)
    told = RunReading(
        run_name=run.run_name,
        deployment_id=run.pk,
        config="tiny_1",
        memory_bytes=70,
        expected_bytes=90,
        utilization_percent=50.0,
        flags=("elsewhere",),
    )
    host = HostReading(**{one.name: 2 for one in fields(HostReading)})
    publish(gpu, *recorded()[1:], runs=(told,), host=host)
    for key in (SWEEP_HEARTBEAT, agent_heartbeat(NODE)):
        redis_client().set(key, json.dumps({"at": time.time() - 4}))
    for process, count in (("1-a", 2), ("2-b", 3)):
        redis_client().set(gateway_state(process), json.dumps({"version": 1, "in_flight": {str(run.pk): count}}))
    redis_client().rpush("control", "one", "two")
    redis_client().rpush(f"work.{NODE}", "one")
    redis_client().xadd(USAGE, {"batch": "x"})
    add_up([usage(), usage(status=404), usage(status=502, first_token_s=None), usage(endpoint="images")])


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_sample_parses_and_has_help_and_a_unit(accept: str) -> None:
    text = scrape(accept)
    parse = openmetrics.text_string_to_metric_families if accept else parser.text_string_to_metric_families
    families: list[Metric] = list(parse(text))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert sum(len(family.samples) for family in families) == len(lines) > 100
    assert len({(one.name, *sorted(one.labels.items())) for family in families for one in family.samples}) == len(lines)
    for family in families:
        assert family.name.startswith("berth_")
        assert family.documentation.endswith((".", "why.")), family.name
        name = family.name.removesuffix("_info")
        assert name.endswith(tuple(f"_{unit}" for unit in UNITS)) or WITHOUT_UNIT.fullmatch(name), family.name
        assert family.type in {"gauge", "counter", "summary", "info"}
    assert {"berth_scrape_error", "berth_gpu_power_watts", "berth_queue_length"} <= {one.name for one in families}


@pytest.mark.usefixtures("everything")
def test_every_field_of_the_readings_that_is_exposed_has_a_sample() -> None:
    found = samples()
    for prefix, table in (("berth_gpu", gpus.FIELDS), ("berth_node", nodes.FIELDS)):
        for field in table:
            assert f"{prefix}_{field.metric}" + (f"_{field.unit}" if field.unit else "") in found


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, OPENMETRICS),
    ],
)
@pytest.mark.usefixtures("redis_server")
def test_the_content_type_is_what_prometheus_asks_for(client: Client, accept: str, content_type: str) -> None:
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == content_type
    assert answer.content.endswith(b"# EOF\n") is (accept == OPENMETRICS)
    assert "Set-Cookie" not in answer.headers


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize("at_s", [0, 30, 60, 90])
def test_gpus_are_told_as_recorded_in_base_units(at_s: float) -> None:
    publish(*recorded(at_s))
    found = samples()
    for gpu in recorded(at_s):
        labels = {"node": NODE, "uuid": gpu.uuid, "index": str(gpu.index), "name": "NVIDIA H200"}

        def one(name: str, labels: Mapping[str, str] = labels, **more: str) -> float:
            return next(each.value for each in found[name] if each.labels == {**labels, **more})

        assert one("berth_gpu_memory_used_bytes") == gpu.memory_used_bytes
        assert one("berth_gpu_memory_total_bytes") == gpu.memory_total_bytes
        assert one("berth_gpu_utilization_ratio") == pytest.approx((gpu.utilization_gpu_percent or 0) / 100)
        assert one("berth_gpu_power_watts") == gpu.power_watts
        assert one("berth_gpu_clock_sm_hertz") == (gpu.clock_sm_mhz or 0) * 1e6
        assert one("berth_gpu_ecc_errors_total", kind="uncorrected") == gpu.ecc_uncorrected
        assert {name: one("berth_gpu_limiter_active", limiter=name) for name in LIMITERS} == {
            name: float(name in gpu.limiters) for name in LIMITERS
        }
        assert [name for name in STATES if one("berth_gpu_state", state=name)] == [gpu.state]
        assert 0 <= one("berth_gpu_reading_age_seconds") < 5


@pytest.mark.usefixtures("redis_server")
def test_a_field_that_nobody_measured_has_no_sample() -> None:
    publish(GpuReading(uuid="GPU-1", index=0, name="T4", state="stale", error="the driver does not answer"))
    found = {name for name in samples() if name.startswith("berth_gpu_")}
    assert found == {"berth_gpu_state", "berth_gpu_reading_age_seconds", "berth_gpu_info"}
    measured = replace(recorded()[0], power_watts=None, limiters=(), missing={"limiters": "not_supported"})
    publish(measured)
    found = set(samples())
    assert "berth_gpu_power_watts" not in found
    assert "berth_gpu_energy_joules_total" not in found
    assert "berth_gpu_limiter_active" not in found
    assert "berth_gpu_power_limit_watts" in found


def test_a_measured_zero_has_a_sample() -> None:
    reading = NodeReading(node=NODE, at=5.0, gpus=(GpuReading(uuid="GPU-1", index=0, power_watts=0.0),))
    power = next(family for family in gpu_families([reading], now=5.0) if family.name == "berth_gpu_power_watts")
    assert [one.value for one in power.samples] == [0.0]


@pytest.mark.usefixtures("redis_server")
def test_of_an_old_reading_only_the_age_is_told() -> None:
    publish(*recorded(), age_s=30, host=HostReading(cpu_count=4))
    assert {name for name in samples() if name.startswith(("berth_gpu", "berth_node_cpu"))} == {
        "berth_gpu_reading_age_seconds"
    }
    assert value("berth_gpu_reading_age_seconds", index="2") == pytest.approx(30, abs=5)


@pytest.mark.usefixtures("everything")
def test_deployments_tell_phase_restarts_and_memory() -> None:
    assert value("berth_deployment_ready", config="tiny_1", node=NODE) == 1
    assert value("berth_deployment_phase", phase="ready") == 1
    assert value("berth_deployment_phase", phase="failed") == 0
    assert value("berth_deployment_restarts_total") == 2
    assert value("berth_deployment_failures") == 1
    assert value("berth_deployment_gpu_memory_assigned_bytes") == 100
    assert value("berth_deployment_gpu_memory_observed_bytes", config="tiny_1", model="Llama3-8B") == 70
    assert value("berth_deployment_gpu_utilization_ratio") == 0.5
    assert value("berth_deployment_gpu_flag", flag="elsewhere") == 1
    assert value("berth_deployment_gpu_flag", flag="orphaned") == 0
    assert 0 <= value("berth_deployment_age_seconds") < 30


@pytest.mark.usefixtures("redis_server")
def test_waiting_deployments_are_counted_and_failed_ones_told_of_for_a_while() -> None:
    make_run(make_config("one"), Phase.QUEUED)
    make_run(make_config("two"), Phase.BACKOFF)
    make_run(make_config("three"), Phase.FAILED, ended_at=timezone.now())
    make_run(make_config("four"), Phase.FAILED, ended_at=timezone.now() - timedelta(hours=1))
    assert value("berth_deployments_waiting") == 2
    assert value("berth_deployments", phase="queued") == 1
    assert value("berth_deployment_phase", config="three", phase="failed") == 1
    assert {one.labels["config"] for one in samples()["berth_deployment_ready"]} == {"one", "two", "three"}


@pytest.mark.usefixtures("everything")
def test_the_gateway_tells_what_it_served_and_what_is_under_way() -> None:
    requests = samples()["berth_gateway_requests_total"]
    counted = {one.labels["status"]: one.value for one in requests if one.labels["endpoint"] == "chat"}
    assert counted == {"2xx": 1, "4xx": 1, "5xx": 1}
    chat = {"config": "tiny_1", "endpoint": "chat"}
    assert value("berth_gateway_tokens_total", **chat, kind="prompt") == 30
    assert value("berth_gateway_request_duration_seconds_sum", **chat) == 6
    assert value("berth_gateway_request_duration_seconds_count", **chat) == 3
    assert value("berth_gateway_first_token_seconds_sum", **chat) == 1
    assert value("berth_gateway_first_token_seconds_count", **chat) == 2
    assert value("berth_gateway_processes") == 2
    assert value("berth_gateway_requests_in_flight", config="tiny_1") == 5


@pytest.mark.usefixtures("redis_server")
def test_names_that_clients_made_up_are_no_labels() -> None:
    add_up([usage(config=f"made-up-{number}", deployment_id=None, status=404) for number in range(20)])
    assert value("berth_gateway_requests_total", status="4xx", config="") == 20
    assert "made-up" not in scrape()


def test_counters_begin_at_nothing_with_the_month_and_never_shrink_within_it(settings: Settings) -> None:
    settings.TIME_ZONE = "UTC"
    add_up([usage(at=datetime(2026, 3, day, 12, tzinfo=timezone.get_default_timezone()).timestamp()) for day in (1, 9)])
    assert [one.requests for one in gateway_sums(date(2026, 3, 31))] == [2]
    assert gateway_sums(date(2026, 4, 1)) == []
    assert UsageDay.objects.exists()


@pytest.mark.usefixtures("everything")
def test_queues_and_heartbeats() -> None:
    lengths = {one.labels["queue"]: one.value for one in samples()["berth_queue_length"]}
    assert lengths == {"control": 2, f"node.{NODE}": 0, f"work.{NODE}": 1}
    assert value("berth_usage_batches_waiting") == 1
    assert value("berth_sweep_heartbeat_age_seconds") == pytest.approx(4, abs=3)
    assert value("berth_agent_heartbeat_age_seconds", node=NODE) == pytest.approx(4, abs=3)
    assert value("berth_node_heartbeat_age_seconds", node=NODE) == pytest.approx(0, abs=10)
    assert re.fullmatch(r"\d+\.\d+\.\d+", samples()["berth_build_info"][0].labels["version"])
    assert value("berth_scrape_error") == 0


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "显卡", 'x"} 1\nberth_scrape_error 7', "lone \ud800"])
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_labels_are_escaped(name: str, accept: str) -> None:
    publish(replace(recorded()[0], name=name))
    text = scrape(accept)
    parse = openmetrics.text_string_to_metric_families if accept else parser.text_string_to_metric_families
    told = {one.name: one for family in parse(text) for one in family.samples}
    assert told["berth_gpu_power_watts"].labels["name"] == name.replace("\ud800", "?")
    assert told["berth_scrape_error"].value == 0


@pytest.mark.usefixtures("everything")
def test_a_scrape_is_four_queries_however_much_there_is(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(4):
        client.get("/metrics")
    for number in range(3):
        make_run(make_config(f"more-{number}"))
        publish(*recorded(), node=f"node-{number}")
    with django_assert_num_queries(4):
        client.get("/metrics")


@contextlib.contextmanager
def _silent_server(folder: Path) -> Iterator[str]:
    """A socket that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "silent"))
        server.listen()
        yield f"unix://{folder / 'silent'}"


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("how", ["refuses", pytest.param("hangs", marks=pytest.mark.slow)])
def test_with_redis_away_the_rest_is_told_in_bounded_time(how: str, settings: Settings) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, _silent_server(Path(folder)) as silent:
        settings.REDIS_URL = silent if how == "hangs" else "unix:///tmp/berth-nobody-is-here"
        quick_client.cache_clear()
        began = time.monotonic()
        try:
            text = scrape()
        finally:
            quick_client.cache_clear()
        assert time.monotonic() - began < 8
    found = samples(text)
    assert "\nberth_scrape_error 1.0\n" in text
    assert {one.labels["source"]: one.value for one in found["berth_scrape_source_up"]} == {"database": 1, "redis": 0}
    assert found["berth_deployment_ready"][0].value == 1
    assert "berth_gateway_requests_total" in found
    assert not found.keys() & {"berth_gpu_power_watts", "berth_gateway_processes", "berth_queue_length"}


@pytest.mark.usefixtures("everything")
def test_with_the_database_away_this_host_is_told_still(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("no route")

    publish(*recorded(), node=settings.BERTH_NODE_NAME)
    monkeypatch.setattr(collector, "read_stored", away)
    assert value("berth_scrape_error") == 1
    assert value("berth_scrape_source_up", source="database") == 0
    assert value("berth_gpu_power_watts", index="0", node=settings.BERTH_NODE_NAME) > 0


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("text", ["{", "[]", '{"node": "x"}', '{"node":"x","at":1,"gpus":[{"uuid":1}]}'])
def test_a_malformed_reading_hides_nothing_else(text: str) -> None:
    Node.objects.create(name="broken")
    redis_client().set(gpu_reading("broken"), text)
    redis_client().set("node.broken", "not a list")
    found = samples()
    assert found["berth_scrape_error"][0].value == 1
    assert {one.labels["node"] for one in found["berth_gpu_power_watts"]} == {NODE}
    assert {one.labels["queue"] for one in found["berth_queue_length"]} >= {"control", f"work.{NODE}"}


@pytest.mark.usefixtures("everything")
def test_a_family_that_fails_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_rows: object, **_now: object) -> list[Metric]:
        raise ZeroDivisionError

    monkeypatch.setattr(collector, "gpu_families", broken)
    found = samples()
    assert found["berth_scrape_error"][0].value == 1
    assert "berth_gpu_power_watts" not in found
    assert "berth_deployment_ready" in found
