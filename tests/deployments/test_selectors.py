"""What pages, commands and the gateway read, and how many queries that takes."""

from __future__ import annotations

import pytest
from pytest_django import DjangoAssertNumQueries

from deployments.exceptions import NotFoundError
from deployments.lifecycle.phases import LIVE, Phase
from deployments.models import Config, Node
from deployments.selectors import (
    catalogue_rows,
    configs_serving,
    find_config,
    live_deployments,
    near_names,
    ready_endpoints,
)
from deployments.status import status_of
from tests.deployments.editing import make_config, make_run

pytestmark = pytest.mark.django_db


def test_a_row_shows_the_live_deployment_else_the_last_one_else_none() -> None:
    running, ended, fresh = (make_config(name) for name in ("running", "ended", "fresh"))
    live = make_run(running, Phase.LOADING, replica=0)
    make_run(running, Phase.FAILED)
    make_run(ended, Phase.STOPPED)
    last = make_run(ended, Phase.FAILED)
    rows = {row.config.name: row for row in catalogue_rows()}
    assert list(rows) == ["ended", "fresh", "running"]
    assert rows["running"].deployment == live, "though a later one has ended"
    assert rows["ended"].deployment == last
    assert rows[fresh.name].deployment is None
    assert [name for name, row in rows.items() if row.is_live] == ["running"]


def test_archived_configs_have_no_row() -> None:
    config = make_config()
    Config.objects.update(archived_at=config.updated_at)
    assert catalogue_rows() == []


def test_live_deployments_are_those_that_have_not_ended_newest_first() -> None:
    config = make_config()
    made = [make_run(config, phase, replica=number) for number, phase in enumerate(Phase)]
    assert list(live_deployments()) == [run for run in reversed(made) if run.phase in LIVE]


def test_only_what_is_ready_is_an_endpoint() -> None:
    config = make_config(served_name="llama")
    node = Node.objects.create(name="gpu-01")
    for number, phase in enumerate(Phase):
        make_run(config, phase, replica=number, node=node, endpoint=f"http://127.0.0.1:{9000 + number}")
    (endpoint,) = ready_endpoints()
    assert (endpoint.config, endpoint.model, endpoint.served_name, endpoint.node) == (
        "llama3-8b",
        "Llama3-8B",
        "llama",
        "gpu-01",
    )
    assert endpoint.endpoint == f"http://127.0.0.1:{9000 + list(Phase).index(Phase.READY)}"


def test_an_endpoint_is_what_was_started_whatever_the_config_says_now() -> None:
    make_run(make_config(served_name="before"), Phase.READY)
    Config.objects.update(served_name="after")
    assert ready_endpoints()[0].served_name == "before"


@pytest.mark.parametrize("count", [1, 12])
def test_query_counts_do_not_grow(django_assert_num_queries: DjangoAssertNumQueries, count: int) -> None:
    node = Node.objects.create(name="gpu-01")
    for number in range(count):
        config = make_config(f"config-{number}")
        for _ in range(3):
            make_run(config, Phase.FAILED)
        make_run(config, Phase.READY, node=node)
    with django_assert_num_queries(3):
        assert len([status_of(row.config, row.deployment) for row in catalogue_rows()]) == count
    with django_assert_num_queries(1):
        assert len([status_of(run.config, run) for run in live_deployments()]) == count
    with django_assert_num_queries(1):
        assert len(ready_endpoints()) == count


def test_a_config_is_found_by_its_name_with_its_model(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    make_config()
    with django_assert_num_queries(1):
        assert find_config("llama3-8b").model.name == "Llama3-8B"


def test_a_name_means_a_config_or_every_config_of_a_model() -> None:
    make_config("llama3-8b")
    make_config("llama3-8b-long")
    assert [config.name for config in configs_serving("llama3-8b-long")] == ["llama3-8b-long"]
    assert [config.name for config in configs_serving("LLAMA3-8B")] == ["llama3-8b", "llama3-8b-long"]
    with pytest.raises(NotFoundError, match=r"There is no model or config “llama4”\. Did you mean"):
        configs_serving("llama4")


def test_near_names_ignore_case_and_say_where_to_look_when_nothing_is_near() -> None:
    assert near_names("LLAMA3-8B", ["llama3-8b"]) == " Did you mean llama3-8b?"
    assert near_names("zzz", ["llama3-8b"]) == " List them with: berth configs"
