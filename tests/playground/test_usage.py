"""Metering: records reach the roll-ups once, whatever dies; old usage goes; the page and its file."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from deployments.actors import Actor
from deployments.redis import client as redis_client
from playground.gateway.metering import BATCH, Meter, RequestRecord
from playground.models import UsageBatch, UsageDay, UsageHour, UsageRequest, UsageSeries
from playground.models.usage import SUM_COLUMNS
from playground.selectors_usage import UsageQuery, usage
from playground.services import usage as service
from playground.services.keys import create_key
from playground.services.usage import delete_old_usage, roll_up
from playground.services.usage_rollup import add_up
from playground.usage_buckets import FIRST_TOKEN_BOUNDS_S, bucket_of, percentile
from playground.usage_charts import count_words, round_up
from tests.bench.usage import Load, fill, measure
from tests.playground.conftest import make_person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db]
PAGE = "/usage/"


def record(**changes: Any) -> RequestRecord:
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
        "queue_s": 0.01,
        "first_token_s": 0.2,
        "duration_s": 1.5,
        "streamed": True,
    }
    return RequestRecord(**{**values, **changes})


async def write(*records: RequestRecord) -> None:
    meter = Meter()
    await meter.start()
    for each in records:
        meter.record(each)
    await meter.stop()


def written(*records: RequestRecord) -> None:
    asyncio.run(write(*records))


def total() -> UsageHour:
    return UsageHour.objects.get(series__cube="total")


@pytest.fixture
def signed_in(viewer: User) -> Client:
    client = Client()
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.usefixtures("redis_server")
def test_what_was_recorded_is_in_every_sum() -> None:
    written(record(), record(status=404, model="other", first_token_s=None), record(status=502, key_id=None))
    assert roll_up() == 1
    assert (total().requests, total().client_errors, total().server_errors) == (3, 1, 1)
    assert (total().prompt_tokens, total().completion_tokens, total().first_tokens) == (30, 15, 2)
    assert (total().duration_ms, total().queue_ms, total().first_token_ms) == (4500, 30, 400)
    assert UsageRequest.objects.count() == 3
    by_model = dict(UsageDay.objects.filter(series__cube="model").values_list("series__model", "requests"))
    assert by_model == {"tiny": 2, "other": 1}
    assert roll_up() == 0


@pytest.mark.usefixtures("redis_server")
def test_many_records_come_in_batches_of_a_bounded_size(redis_server: redis.Redis) -> None:
    written(*(record() for _each in range(BATCH * 2 + 1)))
    entries: Any = redis_server.xrange("berth:usage")
    sizes = [len(json.loads(fields[b"records"])) for _id, fields in entries]
    assert sizes == [BATCH, BATCH, 1]
    roll_up()
    assert total().requests == BATCH * 2 + 1


@pytest.mark.usefixtures("redis_server")
def test_a_worker_killed_after_adding_and_before_deleting_adds_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written(record())

    class _Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise _Killed

    client = redis_client()
    monkeypatch.setattr(client, "xdel", killed)
    with pytest.raises(_Killed):
        roll_up()
    monkeypatch.undo()
    assert total().requests == 1
    assert client.xlen("berth:usage") == 1
    roll_up()
    assert (total().requests, UsageRequest.objects.count(), client.xlen("berth:usage")) == (1, 1, 0)


@pytest.mark.usefixtures("redis_server")
def test_a_worker_killed_while_adding_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written(record())

    def killed(_records: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(service, "add_up", killed)
    with pytest.raises(KeyboardInterrupt):
        roll_up()
    monkeypatch.undo()
    assert not UsageBatch.objects.exists()
    assert not UsageRequest.objects.exists()
    roll_up()
    assert total().requests == 1


@pytest.mark.usefixtures("redis_server")
def test_an_entry_written_twice_counts_once(redis_server: redis.Redis) -> None:
    written(record())
    entries: Any = redis_server.xrange("berth:usage")
    redis_server.xadd("berth:usage", entries[0][1])
    roll_up()
    assert total().requests == 1


@pytest.mark.usefixtures("redis_server")
def test_an_entry_that_cannot_be_read_is_left_out_and_named(
    redis_server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.xadd("berth:usage", {"version": "1", "batch": "a", "records": "[[1]]"})
    redis_server.xadd("berth:usage", {"version": "9", "batch": "b", "records": "[]"})
    redis_server.xadd("berth:usage", {"nothing": "1"})
    written(record())
    assert roll_up() == 4
    assert caplog.text.count("is left out") == 3
    assert total().requests == 1


@pytest.mark.usefixtures("redis_server")
def test_values_that_do_not_fit_are_made_to() -> None:
    written(
        record(
            request_id="x\0" * 500,
            model="m" * 900,
            config="half a pair: \ud800",
            prompt_tokens=10**15,
            duration_s=1e12,
            status=70_000,
        )
    )
    roll_up()
    kept = UsageRequest.objects.get()
    assert (kept.prompt_tokens, kept.config) == (2**31 - 1, "half a pair: ?")
    assert total().server_errors == 1


async def test_while_redis_is_away_records_wait(redis_server: redis.Redis) -> None:
    addresses = iter(["unix:///nowhere.sock"])
    meter = Meter(lambda: redis.asyncio.Redis.from_url(next(addresses)), flush_s=0.01)
    await meter.start()
    meter.record(record())
    await asyncio.sleep(0.1)
    assert len(meter._records) == 1
    await meter.stop()
    assert redis_server.xlen("berth:usage") == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(100, 599), st.integers(0, 50)), max_size=30)
)
def test_every_cube_has_the_same_sums(requests: list[tuple[int, int, int, int]]) -> None:
    UsageSeries.objects.all().delete()
    add_up(
        record(key_id=key, model=f"m{model}", status=status, prompt_tokens=tokens)
        for key, model, status, tokens in requests
    )
    expected = len(requests), sum(tokens for *_others, tokens in requests)
    for table in (UsageHour, UsageDay):
        for cube in UsageSeries.Cube:
            rows = table.objects.filter(series__cube=cube)
            assert (sum(row.requests for row in rows), sum(row.prompt_tokens for row in rows)) == expected


def test_percentiles_are_right_to_within_their_bucket() -> None:
    values = sorted(random.uniform(0.01, 8) for _each in range(2000))
    counts = [0] * (len(FIRST_TOKEN_BOUNDS_S) + 1)
    for value in values:
        counts[bucket_of(value, FIRST_TOKEN_BOUNDS_S)] += 1
    for share in (0.5, 0.95):
        true, told = values[int(share * 2000) - 1], percentile(counts, FIRST_TOKEN_BOUNDS_S, share)
        assert told is not None
        assert abs(bucket_of(told, FIRST_TOKEN_BOUNDS_S) - bucket_of(true, FIRST_TOKEN_BOUNDS_S)) <= 1
        assert told == pytest.approx(true, rel=0.3)
    assert percentile([0] * 16, FIRST_TOKEN_BOUNDS_S, 0.5) is None
    assert percentile([0] * 15 + [3], FIRST_TOKEN_BOUNDS_S, 0.5) == 60.0


def test_old_usage_goes_and_the_rest_stays(settings: Settings) -> None:
    settings.BERTH_USAGE_RAW_DAYS = 7
    now = timezone.now()
    for days in (0, 6, 8, 30, 36, 390, 402):
        add_up([record(at=(now - timedelta(days=days)).timestamp())])
        UsageRequest.objects.create(
            at=now - timedelta(days=days), request_id=str(days), caller="a", endpoint="chat", status=200
        )
    UsageBatch.objects.create(name="old")
    UsageBatch.objects.update(at=now - timedelta(days=8))
    assert delete_old_usage(now) > 0
    assert sorted(UsageRequest.objects.values_list("request_id", flat=True)) == ["0", "6"]
    assert UsageHour.objects.filter(series__cube="total").count() == 4
    assert UsageDay.objects.filter(series__cube="total").count() == 6
    assert not UsageBatch.objects.exists()
    assert delete_old_usage(now) == 0
    settings.BERTH_USAGE_DAYS = 35
    assert delete_old_usage(now) > 0
    assert UsageDay.objects.filter(series__cube="total").count() == 4


def test_much_old_usage_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "DELETED_AT_ONCE", 2)
    monkeypatch.setattr(service, "DELETED_A_RUN", 4)
    old = timezone.now() - timedelta(days=30)
    UsageRequest.objects.bulk_create(
        UsageRequest(at=old, request_id=str(number), caller="a", endpoint="chat", status=200) for number in range(7)
    )
    assert [delete_old_usage(), delete_old_usage(), delete_old_usage()] == [4, 3, 0]


def test_the_page_without_usage_says_what_it_is_for(signed_in: Client) -> None:
    shown = signed_in.get(PAGE).content.decode()
    assert "Nothing was used in this time." in shown
    assert '<svg class="usage-bars"' not in shown
    assert "Show all" in signed_in.get(f"{PAGE}?model=none").content.decode()


def test_the_page_shows_charts_and_a_table_that_narrows(signed_in: Client) -> None:
    made = create_key("notebook", actor=Actor.command_line())
    add_up([record(key_id=made.key.pk), record(status=500, caller="ops", key_id=None, model="other")])
    shown = signed_in.get(PAGE).content.decode()
    assert shown.count('class="usage-bars"') == 3
    assert "Answered 1" in shown
    assert "?span=7d&amp;by=key&amp;model=tiny" in shown
    by_key = signed_in.get(f"{PAGE}?by=key").content.decode()
    assert f"notebook (berth-{made.key.prefix}-…)" in by_key
    assert "without a key" in by_key
    narrowed = signed_in.get(f"{PAGE}?deployment=7&model=tiny").content.decode()
    assert "notebook" in narrowed
    assert "tiny_1 #7" in signed_in.get(f"{PAGE}?by=deployment").content.decode()


def test_htmx_gets_the_charts_alone(signed_in: Client) -> None:
    add_up([record()])
    part = signed_in.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section")
    assert "<html" not in part


@pytest.mark.parametrize(
    "asked", ["?span=x&by=y&key=z&deployment=-1", "?key=99999999999999999999", "?model=%00", "?model=' OR 1"]
)
def test_nonsense_in_the_address_is_not_asked_for(signed_in: Client, asked: str) -> None:
    assert signed_in.get(PAGE + asked).status_code == 200


def test_the_page_is_for_people_with_a_role_and_only_to_look_at(signed_in: Client) -> None:
    assert signed_in.post(PAGE).status_code == 405
    assert Client().get(PAGE).status_code == 302
    assert Client().get(f"{PAGE}usage.csv").status_code == 302


def test_the_file_has_a_line_for_each_group_and_is_harmless(signed_in: Client) -> None:
    add_up([record(caller="=cmd()"), record(caller="ann", status=404)])
    answer = signed_in.get(f"{PAGE}usage.csv?by=caller&span=24h")
    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    lines = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [(line["name"], line["requests"], line["client_errors"]) for line in lines] == [
        ("'=cmd()", "1", "0"),
        ("ann", "1", "1"),
    ]


def test_the_page_costs_the_same_however_much_was_used(signed_in: Client) -> None:
    add_up([record()])
    signed_in.get(PAGE)
    with CaptureQueriesContext(connection) as few:
        signed_in.get(f"{PAGE}?by=key&model=tiny")
    add_up(record(key_id=number, caller=str(number), deployment_id=number) for number in range(60))
    with CaptureQueriesContext(connection) as many:
        signed_in.get(f"{PAGE}?by=key&model=tiny")
    assert len(few) == len(many) <= 10


def test_a_day_belongs_to_the_time_zone_of_the_installation(settings: Settings) -> None:
    settings.TIME_ZONE = "Asia/Shanghai"
    add_up([record(at=datetime(2026, 3, 1, 20, 0, tzinfo=UTC).timestamp())])
    assert str(UsageDay.objects.get(series__cube="total").at) == "2026-03-02"


def test_sums_over_a_span_are_those_of_its_hours() -> None:
    now = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    # Seven days begin at midnight, 156 hours before noon of the seventh.
    for hours in (0, 23, 24, 156, 157):
        add_up([record(at=(now - timedelta(hours=hours)).timestamp())])
    found = {span: usage(UsageQuery.read({"span": span}), now).total.requests for span in ("24h", "7d", "30d")}
    assert found == {"24h": 2, "7d": 4, "30d": 5}


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (950, "950"), (1234, "1.23 k"), (45_600, "45.6 k"), (4_560_000, "4.56 M"), (2e12, "2000 G")],
)
def test_counts_have_three_digits(value: float, words: str) -> None:
    assert count_words(value) == words


def test_the_scale_ends_at_a_round_number() -> None:
    assert [round_up(value) for value in (0, 0.03, 1, 3, 7, 12, 4999, 5001)] == [1, 0.03, 1, 3, 8, 15, 5000, 6000]


@pytest.mark.slow
def test_the_page_stays_fast_over_months_of_many_keys_and_models() -> None:
    """A tenth of what ``python -m tests.bench.usage`` measures."""
    fill(Load(requests=1_000_000, days=30, keys=20, models=10), hours_kept_days=8)
    client = Client()
    client.force_login(make_person("ann", "viewer"), backend="django.contrib.auth.backends.ModelBackend")
    figures = measure(client.get, rounds=3)
    assert max(figure.cpu_ms for name, figure in figures.items() if "CSV" not in name) < 300, figures
    assert len(SUM_COLUMNS) == 42
