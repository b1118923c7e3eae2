"""The claim: one holder at a time, for a while, by the database's clock."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from deployments.lifecycle.claims import CLAIM_FOR, release_claim, renew_claim, take_claim
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import Deployment
from tests.deployments.editing import make_config, make_run
from tests.deployments.hosts import closing_connections, database_of_threads

pytestmark = pytest.mark.django_db


@pytest.fixture
def deployment() -> Deployment:
    return make_run(make_config(), Phase.QUEUED)


def taken(deployment: Deployment) -> str:
    token = take_claim(deployment.pk)
    assert token is not None
    return token


def expire(deployment: Deployment) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(claim_expires_at=Now() - timedelta(milliseconds=5))


def test_the_second_taker_gets_nothing(deployment: Deployment) -> None:
    token = taken(deployment)
    assert take_claim(deployment.pk) is None
    deployment.refresh_from_db()
    assert deployment.claim_token == token


def test_a_claim_lasts_fifteen_seconds_by_the_databases_clock(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: deployment.created_at + timedelta(days=1))
    taken(deployment)
    assert take_claim(deployment.pk) is None, "a host with a wrong clock takes nothing"
    lasting = Deployment.objects.filter(claim_expires_at__range=(Now(), Now() + CLAIM_FOR))
    assert lasting.exists()


def test_an_expired_claim_is_free_and_its_holder_has_lost_it(deployment: Deployment) -> None:
    first = taken(deployment)
    expire(deployment)
    second = taken(deployment)
    assert first != second
    assert not renew_claim(deployment.pk, token=first)
    deployment.refresh_from_db()
    assert not release_claim(deployment, token=first, after_s=1)
    deployment.refresh_from_db()
    assert deployment.claim_token == second


def test_an_expired_claim_that_nobody_took_is_renewed(deployment: Deployment) -> None:
    token = taken(deployment)
    expire(deployment)
    assert renew_claim(deployment.pk, token=token)
    assert take_claim(deployment.pk) is None


def test_a_released_claim_sets_the_next_look(deployment: Deployment) -> None:
    token = taken(deployment)
    assert release_claim(deployment, token=token, after_s=10)
    due_in_10_s = Deployment.objects.filter(
        next_check_at__range=(Now() + timedelta(seconds=8), Now() + timedelta(seconds=10))
    )
    assert due_in_10_s.exists()
    assert take_claim(deployment.pk) is not None


def test_the_end_needs_no_further_look(deployment: Deployment) -> None:
    assert release_claim(deployment, token=taken(deployment), after_s=None)
    deployment.refresh_from_db()
    assert (deployment.next_check_at, deployment.claim_expires_at, deployment.claim_token) == (None, None, "")


@pytest.mark.parametrize("wish", [{"desired": Desired.STOPPED}, {"generation": 2}])
def test_a_wish_made_meanwhile_is_due_at_once(deployment: Deployment, wish: dict[str, object]) -> None:
    token = taken(deployment)
    Deployment.objects.update(**wish)
    assert not release_claim(deployment, token=token, after_s=None)
    assert Deployment.objects.filter(next_check_at__lte=Now(), claim_token="", claim_expires_at=None).exists()


def test_nobody_can_claim_what_does_not_exist() -> None:
    assert take_claim(4711) is None


@pytest.mark.django_db(transaction=True)
def test_of_eight_threads_exactly_one_wins(tmp_path: Path) -> None:
    deployment = make_run(make_config(), Phase.QUEUED)
    together = threading.Barrier(8)

    def race() -> str | None:
        together.wait(10)
        return take_claim(deployment.pk)

    with database_of_threads(tmp_path), ThreadPoolExecutor(8) as threads:
        tokens = [job.result(20) for job in [threads.submit(closing_connections(race)) for _ in range(8)]]
        deployment.refresh_from_db()
    assert [token for token in tokens if token] == [deployment.claim_token]
