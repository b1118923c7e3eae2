"""Which deployments a name means, and in which order they are asked."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from playground.exceptions import ModelNotFoundError, NothingReadyError
from playground.gateway.routing import InFlight, RoutingTable


def entry(deployment_id: int, config: str, model: str = "M", protocol: str = "openai-text") -> dict[str, Any]:
    """A route as the lifecycle writes it."""
    return {
        "deployment_id": deployment_id,
        "config": config,
        "model": model,
        "protocol": protocol,
        "engine": "vllm",
        "served_name": config,
        "endpoint": f"http://127.0.0.1:{9000 + deployment_id}",
        "node": "here",
        "added_by_a_newer_version": True,
    }


def a_table(*routes: dict[str, Any]) -> RoutingTable:
    """A table that was read once."""
    table = RoutingTable()
    table.replace(json.dumps({"version": 3, "routes": list(routes)}))
    return table


def ids(table: RoutingTable, name: str) -> list[int]:
    return [route.deployment_id for route in table.candidates(name)]


def test_a_model_means_the_config_with_most_replicas_then_the_first_by_name() -> None:
    table = a_table(entry(1, "m_4"), entry(2, "m_1"), entry(3, "m_2"), entry(4, "m_2"))
    assert set(ids(table, "M")[:2]) == {3, 4}
    assert ids(table, "M")[2:] == [2, 1]


def test_a_configs_name_comes_before_a_models() -> None:
    table = a_table(entry(1, "M", model="other"), entry(2, "x", model="M"))
    assert ids(table, "M") == [1]


def test_case_matters_only_where_names_differ_by_it() -> None:
    table = a_table(entry(1, "tiny", "Tiny"), entry(2, "other", "Model-8B"))
    assert ids(table, "tiny") == ids(table, "Tiny") == [1]
    assert ids(table, "model-8b") == [2]
    assert table.find("MODEL-8B").name == "Model-8B"


def test_a_name_means_its_model_in_any_spelling_and_else_itself() -> None:
    table = a_table(entry(1, "tiny_1", "Tiny-1B"))
    assert [table.model_of(name) for name in ("tiny_1", "TINY_1", "tiny-1b", "none")] == [*["Tiny-1B"] * 3, "none"]


def test_the_replica_with_fewest_in_flight_is_first_and_ties_are_at_random() -> None:
    table = a_table(entry(1, "m"), entry(2, "m"), entry(3, "m"))
    with table.in_flight.held(1), table.in_flight.held(2), table.in_flight.held(2):
        assert ids(table, "m") == [3, 1, 2]
    first = Counter(ids(table, "m")[0] for _each in range(600))
    assert set(first) == {1, 2, 3}
    assert min(first.values()) > 100


def test_counts_never_go_below_zero_and_outlive_the_table() -> None:
    counts = InFlight()
    with pytest.raises(ValueError, match="broken"), counts.held(1):
        raise ValueError("broken")
    assert counts.snapshot() == {}
    table = a_table(entry(1, "m"))
    with table.in_flight.held(1):
        table.replace(json.dumps({"version": 4, "routes": []}))
        assert table.in_flight.snapshot() == {1: 1}
    assert table.in_flight.snapshot() == {}
    assert table.in_flight[1] == 0


def test_an_empty_table_and_an_unknown_name_differ() -> None:
    with pytest.raises(NothingReadyError):
        a_table().candidates("m")
    with pytest.raises(ModelNotFoundError, match="Ready now: M, m"):
        a_table(entry(1, "m")).candidates("n")


def test_a_ready_config_of_another_protocol_alone_is_named_as_such() -> None:
    with pytest.raises(ModelNotFoundError, match="flux speaks openai-image"):
        a_table(entry(1, "flux", "FLUX", "openai-image")).candidates("flux")


def test_a_listed_name_keeps_the_time_when_it_was_first_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    table = a_table(entry(1, "m"))
    since = table.find("m").since
    monkeypatch.setattr("time.time", lambda: since + 100)
    table.replace(json.dumps({"version": 4, "routes": [entry(1, "m"), entry(2, "n")]}))
    assert table.find("m").since == since
    assert table.find("n").since == since + 100
