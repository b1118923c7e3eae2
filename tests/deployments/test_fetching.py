"""One worker for each image on each node, however many deployments wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from deployments import fetching
from deployments.exceptions import FetchCancelledError, FetchError
from deployments.fetching import MOST_AT_ONCE, request_fetch, run_fetch
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import Deployment, Fetch, Node
from deployments.progress import Progress
from deployments.runtimes import use_runtime
from deployments.runtimes.base import Cancelled, Report
from deployments.tasks import fetch_image
from tests.deployments.editing import make_run
from tests.deployments.hosts import BUNDLE, closing_connections, database_of_threads, pass_time, small_config
from tests.fakes.runtime import FakeRuntime

pytestmark = pytest.mark.django_db


class Fetcher(FakeRuntime):
    """A runtime whose fetch does what the test says."""

    def __init__(self) -> None:
        super().__init__("process", images=())
        self.work: Callable[[Report, Cancelled], None] = lambda report, cancelled: None
        self.fetched: list[str] = []

    def ensure_image(self, image: str, *, report: Report, cancelled: Cancelled) -> None:
        self.fetched.append(image)
        self.work(report, cancelled)


@pytest.fixture
def runtime() -> Iterator[Fetcher]:
    made = Fetcher()
    use_runtime("process", made)
    yield made
    use_runtime("process", None)


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(fetching, "hint_fetch", lambda pk, *, node: sent.append((f"fetch on {node}", pk)))
    monkeypatch.setattr(fetching, "hint_reconcile", lambda pk, *, node: sent.append((f"reconcile on {node}", pk)))
    monkeypatch.setattr(fetching, "REPORT_EVERY_S", 0.0)
    return sent


def waiting(name: str = "smollm2-135m") -> Deployment:
    """A deployment that waits for the bundle on the node."""
    node, _made = Node.objects.get_or_create(name="gpu-01")
    return make_run(small_config(name), Phase.PREPARING, node=node)


def asked(name: str = "smollm2-135m") -> Fetch:
    deployment = waiting(name)
    request_fetch(deployment)
    return Fetch.objects.get(node=deployment.node, image=deployment.spec["image"])


def test_a_fetch_is_asked_for_once_and_hinted_at_each_time(hints: list[tuple[str, int]]) -> None:
    deployment = waiting()
    request_fetch(deployment)
    request_fetch(deployment)
    row = Fetch.objects.get()
    assert (row.runtime, row.image, row.state) == ("process", BUNDLE, Fetch.State.PENDING)
    assert hints == [("fetch on gpu-01", row.pk)] * 2


def test_without_a_node_there_is_nothing_to_fetch_to() -> None:
    deployment = make_run(small_config(), Phase.QUEUED)
    with pytest.raises(ValueError, match="has none yet"):
        request_fetch(deployment)


def test_two_deployments_share_one_fetch_and_both_are_woken(runtime: Fetcher, hints: list[tuple[str, int]]) -> None:
    first, second = waiting("one"), waiting("two")
    request_fetch(first)
    request_fetch(second)
    row = Fetch.objects.get()
    hints.clear()
    fetch_image(row.pk)
    row.refresh_from_db()
    assert (row.state, row.claim_token, row.claim_expires_at) == (Fetch.State.DONE, "", None)
    assert runtime.fetched == [BUNDLE]
    assert sorted(hints) == [("reconcile on gpu-01", first.pk), ("reconcile on gpu-01", second.pk)]


def test_progress_is_written_while_the_claim_is_renewed(runtime: Fetcher) -> None:
    row = asked()
    seen: list[dict[str, object]] = []

    def work(report: Report, cancelled: Cancelled) -> None:
        for done in (10, 20):
            pass_time(20)
            report(Progress(step="weights", done=done, total=20))
            held = Fetch.objects.get(claim_expires_at__gt=Now() + timedelta(seconds=25))
            assert held.state == Fetch.State.RUNNING
            seen.append(held.progress)

    runtime.work = work
    run_fetch(row.pk)
    assert [each["done"] for each in seen] == [10, 20]


def test_progress_is_not_written_for_every_byte(runtime: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "REPORT_EVERY_S", 1000.0)
    monkeypatch.setattr("deployments.fetching.Watch._look", look := Counted(fetching.Watch._look))
    row = asked()

    def work(report: Report, cancelled: Cancelled) -> None:
        for done in range(1000):
            report(Progress(step="weights", done=done))

    runtime.work = work
    run_fetch(row.pk)
    row.refresh_from_db()
    assert look.calls == 1000
    assert row.progress == {"step": "weights", "done": 0, "unit": "B"}


class Counted:
    """A method that counts its calls."""

    def __init__(self, inner: Callable[..., None]) -> None:
        self.inner = inner
        self.calls = 0

    def __get__(self, owner: object, kind: type | None = None) -> Callable[[], None]:
        def call() -> None:
            self.calls += 1
            self.inner(owner)

        return call


@pytest.mark.parametrize(
    ("error", "code", "permanent"),
    [
        (FetchError("The hash differs.", code="hash_mismatch", permanent=True), "hash_mismatch", True),
        (FetchError("The index does not answer."), "fetch_failed", False),
        (OSError("No space left on device"), "no_disk_space", False),
        (OSError("The bundle cannot be read."), "fetch_failed", False),
    ],
)
def test_a_failure_is_kept_with_its_kind_and_words(
    runtime: Fetcher, hints: list[tuple[str, int]], error: Exception, code: str, permanent: bool
) -> None:
    row = asked()
    hints.clear()

    def work(report: Report, cancelled: Cancelled) -> None:
        raise error

    runtime.work = work
    run_fetch(row.pk)
    row.refresh_from_db()
    assert (row.state, row.error_code, row.permanent, row.error) == (Fetch.State.FAILED, code, permanent, str(error))
    assert (row.claim_token, row.claim_expires_at) == ("", None)
    assert [kind for kind, _ in hints] == ["reconcile on gpu-01"], "who waits learns of it at once"


def test_the_next_fetch_forgets_the_last_failure(runtime: Fetcher) -> None:
    row = asked()
    Fetch.objects.update(state=Fetch.State.FAILED, error="x", error_code="fetch_failed")
    run_fetch(row.pk)
    row.refresh_from_db()
    assert (row.state, row.error, row.error_code) == (Fetch.State.DONE, "", "")


@pytest.mark.parametrize("change", [{"desired": Desired.STOPPED}, {"phase": Phase.STOPPING}])
def test_a_fetch_that_nobody_wants_any_more_is_cancelled(runtime: Fetcher, change: dict[str, str]) -> None:
    row = asked()

    def work(report: Report, cancelled: Cancelled) -> None:
        assert not cancelled()
        Deployment.objects.update(**change)
        assert cancelled()
        raise FetchCancelledError("Nobody wants it.")

    runtime.work = work
    run_fetch(row.pk)
    row.refresh_from_db()
    assert (row.state, row.progress, row.error, row.claim_token) == (Fetch.State.PENDING, {}, "", "")


def test_a_fetch_goes_on_while_one_of_two_still_wants_it(runtime: Fetcher) -> None:
    row = asked("one")
    waiting("two")

    def work(report: Report, cancelled: Cancelled) -> None:
        Deployment.objects.filter(config__name="one").update(desired=Desired.STOPPED)
        assert not cancelled()

    runtime.work = work
    run_fetch(row.pk)
    row.refresh_from_db()
    assert row.state == Fetch.State.DONE


def test_a_fetch_that_somebody_works_on_is_left_to_them(runtime: Fetcher) -> None:
    row = asked()
    Fetch.objects.update(claim_token="other", claim_expires_at=Now() + timedelta(seconds=20))
    run_fetch(row.pk)
    assert runtime.fetched == []


def test_a_dead_workers_fetch_is_taken_over_when_its_claim_expires(runtime: Fetcher) -> None:
    row = asked()
    Fetch.objects.update(state=Fetch.State.RUNNING, claim_token="dead", claim_expires_at=Now() - timedelta(seconds=1))
    run_fetch(row.pk)
    row.refresh_from_db()
    assert row.state == Fetch.State.DONE


def test_who_lost_the_claim_stops_and_writes_nothing(runtime: Fetcher) -> None:
    row = asked()

    def work(report: Report, cancelled: Cancelled) -> None:
        Fetch.objects.update(claim_token="other", progress={"step": "theirs"})
        report(Progress(step="mine"))
        assert cancelled()
        raise FetchCancelledError("It is somebody else's.")

    runtime.work = work
    run_fetch(row.pk)
    row.refresh_from_db()
    assert (row.state, row.claim_token, row.progress) == (Fetch.State.RUNNING, "other", {"step": "theirs"})


def test_a_node_works_on_four_at_once_and_a_fifth_waits_its_turn(runtime: Fetcher) -> None:
    row = asked()
    assert row.node is not None
    other = Node.objects.create(name="gpu-02")
    busy = {"state": Fetch.State.RUNNING, "claim_token": "x", "claim_expires_at": Now() + timedelta(seconds=20)}
    for number in range(MOST_AT_ONCE):
        Fetch.objects.create(node=row.node, runtime="process", image=f"other-{number}", **busy)
        Fetch.objects.create(node=other, runtime="process", image=f"other-{number}", **busy)
    run_fetch(row.pk)
    row.refresh_from_db()
    assert (row.state, runtime.fetched) == (Fetch.State.PENDING, [])
    Fetch.objects.filter(node=row.node, image="other-0").update(claim_expires_at=None)
    run_fetch(row.pk)
    assert runtime.fetched == [BUNDLE]


@pytest.mark.django_db(transaction=True)
def test_of_several_workers_one_fetches(runtime: Fetcher, tmp_path: Path) -> None:
    row = asked()
    together = threading.Barrier(4)
    refused = threading.Semaphore(0)

    def until_the_others_were_refused(report: Report, cancelled: Cancelled) -> None:
        for _ in range(3):
            assert refused.acquire(timeout=10)

    def work() -> None:
        together.wait(10)
        run_fetch(row.pk)
        refused.release()

    runtime.work = until_the_others_were_refused
    with database_of_threads(tmp_path), ThreadPoolExecutor(4) as threads:
        for job in [threads.submit(closing_connections(work)) for _ in range(4)]:
            job.result(30)
        row.refresh_from_db()
    assert runtime.fetched == [BUNDLE]
    assert row.state == Fetch.State.DONE
