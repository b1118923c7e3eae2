"""Uploads wait in the database for whoever names them, and no longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments import tasks
from deployments.models import ContextArchive, Delivery, ImageBuild, ImageTransfer, Job, Node
from deployments.services.image_builds import KEPT_FOR, forget_unused_archives, keep_archive
from deployments.transfers.archives import UPLOADED
from tests.deployments.pushing import HOST, make_delivery, make_node

pytestmark = pytest.mark.django_db
DIGEST = "d" * 64


@pytest.fixture
def node() -> Node:
    return make_node()


@pytest.fixture
def delivery() -> Delivery:
    return make_delivery()


def upload(digest: str = DIGEST, *, data: bytes = b"x") -> None:
    """One that was uploaded long ago."""
    keep_archive(digest, data, actor=HOST)
    ContextArchive.objects.filter(digest=digest).update(uploaded_at=timezone.now() - 2 * KEPT_FOR)


def build(delivery: Delivery, node: Node) -> ImageBuild:
    return ImageBuild.objects.create(delivery=delivery, node=node, tag="x:1", context={"digest": DIGEST})


def load(delivery: Delivery, node: Node) -> ImageTransfer:
    return ImageTransfer.objects.create(kind="load", delivery=delivery, node=node, digest=f"{UPLOADED}{DIGEST}")


def test_only_what_nobody_names_goes_and_in_one_statement(
    delivery: Delivery, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    Delivery.objects.update(context={"kind": "archive", "digest": DIGEST})
    make_delivery("without files")
    upload()
    upload("e" * 64)
    with django_assert_num_queries(1):
        assert forget_unused_archives() == 1
    assert ContextArchive.objects.get().digest == DIGEST
    delivery.delete()
    assert forget_unused_archives() == 1


@pytest.mark.parametrize("ask", [build, load])
def test_a_live_build_or_load_keeps_its_upload_and_an_ended_one_does_not(
    delivery: Delivery, node: Node, ask: Callable[[Delivery, Node], Job]
) -> None:
    upload()
    job = ask(delivery, node)
    assert forget_unused_archives() == 0
    job.state = Job.State.DONE
    job.save()
    assert forget_unused_archives() == 1


def test_an_upload_is_not_forgotten_before_its_delivery_can_name_it() -> None:
    upload()
    # Somebody uploads the same bytes again: the row is theirs, and as new as any.
    keep_archive(DIGEST, b"x", actor=HOST)
    keep_archive("e" * 64, b"y", actor=HOST)
    assert forget_unused_archives() == 0
    assert ContextArchive.objects.count() == 2


def test_the_worker_forgets_each_hour_what_an_ended_load_left(delivery: Delivery, node: Node) -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["unused uploads"]
    assert (entry["task"], entry["schedule"]) == (tasks.forget_uploads.name, 3600)
    upload()
    job = load(delivery, node)
    job.state = Job.State.DONE
    job.save()
    tasks.forget_uploads()
    assert not ContextArchive.objects.exists()
