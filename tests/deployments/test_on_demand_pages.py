"""The pages and the catalogue's files say what starts on request and when a run stops by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from deployments.config_checks import check_values
from deployments.config_values import ConfigValues
from deployments.lifecycle.phases import Phase
from deployments.redis_keys import IDLE
from tests.deployments.editing import VALID, make_config, make_run, signed_in, values

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


def page(path: str) -> str:
    return signed_in("looker", "viewer").get(path).content.decode()


def test_the_catalogue_says_what_starts_on_request() -> None:
    make_config("tiny")
    assert "starts on request" not in page("/catalogue/")
    make_config("small", start_on_request=True)
    assert page("/catalogue/").count("starts on request") == 1


def test_a_configs_page_says_how_it_starts_and_stops() -> None:
    make_config("tiny", start_on_request=True, stop_after_idle_minutes=1440)
    shown = page("/catalogue/tiny/")
    assert "on the first request" in shown
    assert "after 1440 min without requests" in shown


def test_a_runs_page_says_when_it_stops_and_who_started_it(redis_server: redis.Redis) -> None:
    run = make_run(make_config("tiny", stop_after_idle_minutes=12), Phase.READY)
    type(run).objects.update(started_by="on demand")
    path = f"/deployments/{run.pk}/"
    shown = page(path)
    assert "after 12 min without requests" in shown
    assert "<dd>a request ·" in shown
    redis_server.set(IDLE, json.dumps({"idle_s": {str(run.pk): 300.0}}))
    assert "in 7 min when nobody asks" in page(path)
    type(run).objects.update(phase=Phase.STOPPING, stopped_by="idle")
    shown = page(path)
    assert "Berth, being idle" in shown
    assert "when nobody asks" not in shown


def test_values_go_into_a_file_and_back() -> None:
    chosen = values(start_on_request=True, stop_after_idle_minutes=30)
    assert ConfigValues.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    assert not values().start_on_request
    assert values().stop_after_idle_minutes is None


@pytest.mark.parametrize(
    "changes",
    [{"start_on_request": "yes"}, *({"stop_after_idle_minutes": wrong} for wrong in (0, -1, 10081, 1.5, "soon", True))],
)
def test_wrong_values_are_refused(changes: dict[str, Any]) -> None:
    (field,) = changes
    problems = check_values({**VALID, **changes}, models={VALID["model"]}).problems
    assert [problem.field for problem in problems] == [field]
