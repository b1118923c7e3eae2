"""The address that the charts ask: a range of one GPU, for people with a role."""

from __future__ import annotations

import time

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from deployments.gpu_history.writer import HistoryWriter
from deployments.models import Node
from deployments.redis import RedisError
from deployments.views import gpu_series
from tests.deployments.editing import signed_in
from tests.deployments.gpu_hosts import add_gpus
from tests.deployments.gpu_past import one_gpu

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
PATH = "/gpus/gpu-01/GPU-gpu-01-0/series/"


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


@pytest.fixture
def node() -> Node:
    made = Node.objects.create(name="gpu-01")
    add_gpus(made, 1)
    return made


def record(uuid: str) -> None:
    HistoryWriter().record(one_gpu(time.time(), uuid=uuid, utilization_gpu_percent=44))


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("query", "step_s"),
    [({}, 1), ({"range": "15m"}, 1), ({"range": "6h"}, 10), ({"range": "24h"}, 60), ({"range": "7d"}, 600)],
)
def test_the_chart_gets_its_range(viewer: Client, query: dict[str, str], step_s: int) -> None:
    record("GPU-gpu-01-0")
    response = viewer.get(PATH, query)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    assert (answer["step_s"], answer["fields"]["utilization_gpu_percent"]["mean"]) == (step_s, [44])


@pytest.mark.usefixtures("node")
def test_a_gpu_that_was_not_measured_has_an_empty_chart(viewer: Client) -> None:
    answer = viewer.get(PATH).json()
    assert (answer["at"], answer["fields"]["power_watts"]["mean"], answer["runs"], answer["markers"]) == (
        [],
        [],
        {},
        [],
    )


@pytest.mark.usefixtures("node")
def test_a_range_that_is_none_is_refused_with_a_sentence(viewer: Client) -> None:
    response = viewer.get(PATH, {"range": "1y"})
    assert (response.status_code, response.json()["error"]) == (
        400,
        "The range is one of 15m, 6h, 24h, 7d, 7d-minutes.",
    )


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("path", ["/gpus/gpu-01/GPU-none/series/", "/gpus/gpu-02/GPU-gpu-01-0/series/"])
def test_a_gpu_that_is_not_there_is_said_to_be_none(viewer: Client, path: str) -> None:
    response = viewer.get(path)
    assert response.status_code == 404
    assert "has no GPU" in response.json()["error"]


@pytest.mark.usefixtures("node")
def test_an_instance_of_a_divided_gpu_has_a_chart_without_a_row(viewer: Client) -> None:
    record("MIG-1")
    assert viewer.get("/gpus/gpu-01/MIG-1/series/").json()["samples"] == [1]


@pytest.mark.usefixtures("node")
def test_a_chart_costs_the_same_few_queries_always(
    viewer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    record("GPU-gpu-01-0")
    for name in ("15m", "24h"):
        with django_assert_num_queries(5):
            viewer.get(PATH, {"range": name})


@pytest.mark.usefixtures("node")
def test_only_reading_is_possible_and_only_with_a_role(viewer: Client) -> None:
    assert viewer.post(PATH).status_code == 405
    assert Client().get(PATH).status_code == 302


@pytest.mark.usefixtures("node")
def test_without_redis_the_chart_says_so(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: object, **_kwargs: object) -> None:
        raise RedisError("gone")

    monkeypatch.setattr(gpu_series, "series_json", gone)
    response = viewer.get(PATH)
    assert (response.status_code, "gone" in response.json()["error"]) == (503, True)
