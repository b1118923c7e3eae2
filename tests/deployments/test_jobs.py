"""Jobs: one worker at a time, a dead worker's is begun again, cancelling, bounds, and what the sweep hints at."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from deployments import jobs
from deployments.actors import Actor
from deployments.exceptions import BuildError, InvalidInputError
from deployments.jobs import MOST_AT_ONCE, MOST_RUNS, Watch, cancel_job, carry_out, hint_due_jobs, request_job
from deployments.models import ImageBuild, Node
from deployments.progress import Progress
from tests.deployments.hosts import closing_connections, database_of_threads, until
from tests.deployments.image_builds import make_build, make_delivery, this_node

OPS = Actor(name="ops1", via="cli")
Hints = list[tuple[str, int, str]]


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> Hints:
    sent: Hints = []
    monkeypatch.setattr(jobs, "hint_job", lambda task, pk, *, node: sent.append((task, pk, node)))
    return sent


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REPORT_EVERY_S", 0)


def done(job: ImageBuild, work: Callable[[ImageBuild, Watch], None] = lambda job, watch: None) -> ImageBuild:
    carry_out(ImageBuild, job.pk, work)
    job.refresh_from_db()
    return job


def claim(job: ImageBuild, *, expires_in_s: float, runs: int = 1) -> None:
    ImageBuild.objects.filter(pk=job.pk).update(
        state="running", claim_token="another", claim_expires_at=Now() + timedelta(seconds=expires_in_s), runs=runs
    )


@pytest.mark.django_db(transaction=True)
def test_a_job_is_hinted_at_once_it_is_committed(hints: Hints) -> None:
    node, delivery = this_node(), make_delivery()
    job = request_job(ImageBuild(delivery=delivery, node=node, dockerfile="FROM a", tag="a:1", requested_by="ops1"))
    assert hints == [("deployments.tasks.build_image", job.pk, node.name)]


@pytest.mark.django_db
def test_work_ends_done_with_its_progress_and_what_it_wrote() -> None:
    def work(job: ImageBuild, watch: Watch) -> None:
        watch.report(Progress(step="one", done=1))
        assert ImageBuild.objects.get(pk=job.pk).state == "running"
        assert ImageBuild.objects.get(pk=job.pk).progress["step"] == "one"
        assert watch.write(image_id="sha256:1")

    job = done(make_build(), work)
    assert (job.state, job.image_id, job.runs, job.claim_token, job.error) == ("done", "sha256:1", 1, "", "")
    assert job.started_at is not None
    assert job.ended_at is not None
    again: list[int] = []
    done(job, lambda job, watch: again.append(1))
    assert again == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BuildError("It broke.", code="step_failed"), "step_failed", "It broke."),
        (InvalidInputError("No."), "refused", "No."),
        (OSError(28, "No space left on device"), "no_disk_space", "[Errno 28] No space left on device"),
        (ZeroDivisionError(), "job_failed", "ZeroDivisionError"),
    ],
)
def test_work_that_fails_keeps_the_sentence(error: Exception, code: str, said: str) -> None:
    def work(job: ImageBuild, watch: Watch) -> None:
        raise error

    job = done(make_build(), work)
    assert (job.state, job.error_code, job.error, job.claim_token) == ("failed", code, said, "")


@pytest.mark.django_db
def test_a_job_that_somebody_works_on_is_left_to_them() -> None:
    job = make_build()
    claim(job, expires_in_s=20)
    begun: list[int] = []
    done(job, lambda job, watch: begun.append(1))
    assert (begun, job.state, job.claim_token, job.runs) == ([], "running", "another", 1)


@pytest.mark.django_db
def test_a_dead_workers_job_is_begun_again_and_its_first_start_is_kept() -> None:
    job = make_build()
    claim(job, expires_in_s=-1)
    began = timezone.now() - timedelta(hours=1)
    ImageBuild.objects.filter(pk=job.pk).update(started_at=began)
    assert (done(job).state, job.runs, job.started_at) == ("done", 2, began)


@pytest.mark.django_db
def test_what_kills_its_worker_each_time_is_given_up() -> None:
    job = make_build()
    claim(job, expires_in_s=-1, runs=MOST_RUNS)
    begun: list[int] = []
    done(job, lambda job, watch: begun.append(1))
    assert (begun, job.state, job.error_code) == ([], "failed", "worker_died")
    assert f"ended in the middle of it {MOST_RUNS} times" in job.error


@pytest.mark.django_db
@pytest.mark.parametrize("fault", [None, OSError("still in use")])
def test_what_dead_workers_left_is_cleared_when_it_is_given_up(fault: Exception | None) -> None:
    job = make_build()
    cleared: list[int] = []

    def clear(dead: ImageBuild) -> None:
        cleared.append(dead.pk)
        if fault:
            raise fault

    for runs in (MOST_RUNS - 1, MOST_RUNS):
        assert cleared == []
        claim(job, expires_in_s=-1, runs=runs)
        carry_out(ImageBuild, job.pk, lambda job, watch: None, clear=clear)
    job.refresh_from_db()
    assert (job.state, job.error_code, cleared) == ("failed", "worker_died", [job.pk])


@pytest.mark.django_db
def test_a_worker_that_lost_its_claim_writes_nothing_and_gives_up() -> None:
    def work(job: ImageBuild, watch: Watch) -> None:
        ImageBuild.objects.filter(pk=job.pk).update(claim_token="another")
        assert not watch.write(image_id="sha256:mine")
        assert watch.cancelled()

    job = done(make_build(), work)
    assert (job.state, job.image_id, job.claim_token) == ("running", "", "another")


@pytest.mark.django_db
def test_working_renews_the_claim() -> None:
    def work(job: ImageBuild, watch: Watch) -> None:
        ImageBuild.objects.update(claim_expires_at=Now() + timedelta(seconds=1))
        watch.report(Progress())
        assert ImageBuild.objects.filter(claim_expires_at__gt=Now() + timedelta(seconds=20)).exists()

    assert done(make_build(), work).state == "done"


@pytest.mark.django_db
def test_a_job_that_nobody_has_begun_is_cancelled_at_once() -> None:
    job = make_build()
    assert cancel_job(job, actor=OPS)
    begun: list[int] = []
    done(job, lambda job, watch: begun.append(1))
    assert (begun, job.state, job.cancelled_by) == ([], "cancelled", "ops1")
    assert not cancel_job(job, actor=OPS)


@pytest.mark.django_db
def test_a_running_job_is_told_to_end_and_the_first_who_asked_is_named() -> None:
    def work(job: ImageBuild, watch: Watch) -> None:
        watch.check()
        assert cancel_job(job, actor=OPS)
        assert cancel_job(job, actor=Actor(name="ops2", via="cli"))
        watch.check()
        raise AssertionError("it went on")

    job = done(make_build(), work)
    assert (job.state, job.cancelled_by, job.error) == ("cancelled", "ops1", "")


@pytest.mark.django_db
def test_a_cancelled_job_whose_worker_died_is_ended_by_the_next_one() -> None:
    job = make_build()
    claim(job, expires_in_s=-1)
    cancel_job(job, actor=OPS)
    job.refresh_from_db()
    assert job.state == "running"
    assert done(job, lambda job, watch: watch.check()).state == "cancelled"


@pytest.mark.django_db
def test_a_node_does_only_so_much_at_once() -> None:
    others = [make_build() for _number in range(MOST_AT_ONCE)]
    for other in others:
        claim(other, expires_in_s=20)
    job = make_build()
    assert (done(job).state, job.runs) == ("pending", 0)
    claim(others[0], expires_in_s=-1)
    assert done(job).state == "done"


@pytest.mark.django_db
def test_the_sweep_hints_at_what_waits_and_at_what_a_dead_worker_left(hints: Hints) -> None:
    waits, dead, held, ended = (make_build() for _number in range(4))
    claim(dead, expires_in_s=-1)
    claim(held, expires_in_s=20)
    ImageBuild.objects.filter(pk=ended.pk).update(state="done")
    silent = Node.objects.create(name="silent", heartbeat_at=timezone.now() - timedelta(minutes=5))
    make_build(node=silent)
    hint_due_jobs()
    assert [pk for task, pk, _node in hints if task == ImageBuild.TASK] == [waits.pk, dead.pk]


@pytest.mark.django_db
def test_a_sweep_hints_at_so_many_only(hints: Hints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_HINTS", 2)
    made = [make_build().pk for _number in range(3)]
    hint_due_jobs()
    assert [pk for task, pk, _node in hints if task == ImageBuild.TASK] == made[:2]


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_does_the_job(tmp_path: Path) -> None:
    job, begun, together = make_build(), [], threading.Barrier(6)

    def work(job: ImageBuild, watch: Watch) -> None:
        begun.append(threading.get_ident())
        ImageBuild.objects.filter(pk=job.pk).update(size_bytes=F("runs"))

    def worker() -> None:
        together.wait(10)
        carry_out(ImageBuild, job.pk, work)

    with database_of_threads(tmp_path):
        threads = [threading.Thread(target=closing_connections(worker)) for _number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        until(lambda: ImageBuild.objects.get(pk=job.pk).state == "done", "the end of the job")
        job.refresh_from_db()
    assert len(begun) == 1
    assert (job.size_bytes, job.runs) == (1, 1)
