"""The page of a delivery's step Push: asking, refusals at their fields, history, pinning, downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from deployments.deliveries.pushes import step_state
from deployments.models import AuditEntry, Config, ContextArchive, Delivery, ImageBuild, ImageTransfer, Job, Node
from deployments.services.registries import delete_registry
from deployments.transfers.layers import LayerProgress, LayerState
from tests.deployments.deliveries import only_step
from tests.deployments.editing import make_config, signed_in
from tests.deployments.pushing import HOST, make_delivery, make_node, make_registry
from tests.deployments.test_archive_examining import archive

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(autouse=True)
def _own_data(settings: Settings, tmp_path: Path) -> None:
    settings.BERTH_DATA_DIR = tmp_path
    settings.BERTH_SECRETS_KEY_FILE = tmp_path / "secrets.keys"
    settings.BERTH_NODE_NAME = "gpu-01"


@pytest.fixture
def node() -> Node:
    return make_node()


@pytest.fixture
def delivery() -> Delivery:
    made = make_delivery()
    made.config = make_config("wanted")
    made.save()
    return made


@pytest.fixture
def editor() -> Client:
    return signed_in("ed", "editor")


def page_of(delivery: Delivery) -> str:
    return reverse("deployments:delivery_push", args=[delivery.pk])


def transfer(delivery: Delivery, node: Node, **columns: object) -> ImageTransfer:
    first = {
        "kind": "push",
        "state": Job.State.DONE,
        "image": "tiny:1",
        "repository": "127.0.0.1:5000/team/tiny",
        "tag": "1",
        "digest": DIGEST,
        "requested_by": "ed",
        "looked_at": timezone.now(),
    }
    return ImageTransfer.objects.create(delivery=delivery, node=node, **{**first, **columns})


def test_a_push_is_asked_for_and_shown(editor: Client, delivery: Delivery, node: Node) -> None:
    make_registry()
    asked = {"node": node.pk, "image": "tiny:1", "registry": "house", "path": "team/tiny", "tag": "1"}
    assert editor.post(page_of(delivery), asked).status_code == 303
    job = ImageTransfer.objects.get()
    assert (job.repository, job.state, job.requested_by) == ("127.0.0.1:5000/team/tiny", Job.State.PENDING, "ed")
    shown = editor.get(page_of(delivery)).content.decode()
    assert "127.0.0.1:5000/team/tiny:1" in shown
    assert reverse("deployments:transfer_cancel", args=[job.pk]) in shown
    assert editor.post(reverse("deployments:transfer_cancel", args=[job.pk])).status_code == 303
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED


def test_what_is_refused_stands_at_its_field(editor: Client, delivery: Delivery, node: Node) -> None:
    make_registry()
    asked = {"node": node.pk, "image": "tiny:1", "registry": "house", "path": "Team", "tag": "1"}
    answer = editor.post(page_of(delivery), asked)
    assert answer.status_code == 422
    assert 'id="push-path_error"' in answer.content.decode()
    load = editor.post(
        reverse("deployments:delivery_load", args=[delivery.pk]), {"node": node.pk, "path": "/etc/shadow"}
    )
    assert load.status_code == 422
    assert "BERTH_HOST_PATHS" in load.content.decode()
    assert not ImageTransfer.objects.exists()


def test_a_closed_delivery_is_not_pushed(editor: Client, delivery: Delivery, node: Node) -> None:
    Delivery.objects.update(closed_at=timezone.now())
    answer = editor.post(reverse("deployments:delivery_save", args=[delivery.pk]), {"node": node.pk, "image": "tiny:1"})
    assert answer.status_code == 409
    assert not ImageTransfer.objects.exists()


def test_the_live_part_shows_each_layer_and_takes_one_query_for_all(
    editor: Client,
    delivery: Delivery,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    layers = [
        LayerProgress(id="aaa", state=LayerState.HERE).to_json(),
        LayerProgress(id="bbb", state=LayerState.PUSHING, done_bytes=25, total_bytes=100).to_json(),
    ]
    running = {"state": Job.State.RUNNING, "digest": "", "layers": layers, "progress": {"done": 25, "total": 100}}
    for tag in ("1", "2", "3"):
        transfer(delivery, node, tag=tag, **running)
    only_step(monkeypatch, "push")
    # Session, person, their permissions (2), role; delivery and transfers; for the stepper its delivery, relations (2).
    with django_assert_num_queries(10):
        answer = editor.get(page_of(delivery), headers={"HX-Request": "true"})
    shown = answer.content.decode()
    assert "<html" not in shown
    assert "there already" in shown
    assert 'value="25" aria-label="bbb"' in shown


def test_the_step_is_out_of_date_once_its_registry_or_its_image_is_another(delivery: Delivery, node: Node) -> None:
    def state() -> tuple[str, str]:
        found = step_state(Delivery.objects.get(pk=delivery.pk))
        return found.state, found.sentence

    built = ImageBuild.objects.create(
        delivery=delivery, node=node, tag="x:1", image_id="sha256:1", state="done", ended_at=timezone.now()
    )
    now = timezone.now()
    transfer(delivery, node, registry=make_registry(), image_id="sha256:1", ended_at=now, looked_at=now, asked_at=now)
    name = "127.0.0.1:5000/team/tiny:1"
    assert state() == ("done", f"Pushed as {name}.")
    ImageBuild.objects.create(
        delivery=delivery, node=node, tag="x:2", image_id="sha256:2", state="done", ended_at=timezone.now()
    )
    assert state() == ("stale", f"A newer image was built after {name} was pushed.")
    # From the cache it is the same image.
    ImageBuild.objects.exclude(pk=built.pk).update(image_id="sha256:1")
    assert state()[0] == "done"
    delete_registry("house", actor=HOST)
    assert state() == (
        "stale",
        f"Pushed as {name}; its registry was removed from Berth, so that nobody can ask whether it is there.",
    )


def test_a_failure_shows_its_sentence_and_what_was_said(editor: Client, delivery: Delivery, node: Node) -> None:
    error = "The registry does not accept this name and password. (unauthorized: <b>no</b>)"
    transfer(delivery, node, state=Job.State.FAILED, digest="", error_code="wrong_password", error=error)
    shown = editor.get(page_of(delivery)).content.decode()
    assert "Change them on the page Registries." in shown
    assert "unauthorized: &lt;b&gt;no&lt;/b&gt;" in shown


def test_the_digest_is_pinned_by_a_button_that_then_says_so(editor: Client, delivery: Delivery, node: Node) -> None:
    job = transfer(delivery, node)
    assert "Pin into wanted" in editor.get(page_of(delivery)).content.decode()
    assert editor.post(reverse("deployments:transfer_pin", args=[job.pk])).status_code == 303
    assert Config.objects.get(name="wanted").image == f"127.0.0.1:5000/team/tiny@{DIGEST}"
    shown = editor.get(page_of(delivery)).content.decode()
    assert "Pin into wanted" not in shown
    assert "pinned" in shown


@pytest.mark.django_db(transaction=True)  # the end of a file that is streamed closes the connection
def test_an_archive_is_downloaded_where_it_lies_and_by_editors_only(
    editor: Client, delivery: Delivery, node: Node, tmp_path: Path
) -> None:
    job = transfer(delivery, node, kind="save", repository="", tag="")
    address = reverse("deployments:transfer_archive", args=[job.pk])
    assert editor.get(address).status_code == 404
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / f"{job.pk}.tar").write_bytes(b"the archive")
    answer = editor.get(address)
    assert b"".join(answer.streaming_content) == b"the archive"  # type: ignore[attr-defined]
    assert f"wanted-{job.pk}.tar" in answer.headers["Content-Disposition"]
    assert signed_in("ann", "operator").get(address).status_code == 403
    Node.objects.update(name="gpu-02")
    elsewhere = editor.get(address)
    assert elsewhere.status_code == 404
    assert "lies on gpu-02" in elsewhere.content.decode()


def test_an_operator_sees_the_history_and_no_form(delivery: Delivery, node: Node) -> None:
    job = transfer(delivery, node)
    operator = signed_in("ann", "operator")
    shown = operator.get(page_of(delivery)).content.decode()
    assert DIGEST in shown
    assert "needs the editor role" in shown
    assert "<form" not in shown.partition('id="transfers"')[2].partition("</main>")[0]
    for name in ("transfer_cancel", "transfer_pin"):
        assert operator.post(reverse(f"deployments:{name}", args=[job.pk])).status_code == 403
    for name in ("delivery_push", "delivery_save", "delivery_load"):
        assert operator.post(reverse(f"deployments:{name}", args=[delivery.pk])).status_code == 403


def test_only_who_may_add_a_registry_is_sent_to_do_so(editor: Client, delivery: Delivery) -> None:
    for client, may in ((editor, True), (signed_in("ann", "operator"), False)):
        shown = client.get(page_of(delivery), headers={"HX-Request": "true"}).content.decode()
        assert "There is no registry to push to yet." in shown
        assert (reverse("deployments:registry_new") in shown) == may


def test_an_archive_is_uploaded_or_named_and_never_both(editor: Client, delivery: Delivery, node: Node) -> None:
    address = reverse("deployments:delivery_load", args=[delivery.pk])

    def sent(data: bytes, path: str = "") -> Any:
        return editor.post(address, {"node": node.pk, "path": path, "archive": SimpleUploadedFile("m.tar", data)})

    assert "Name a file of the node, or upload one." in sent(archive(), "/srv/x.tar").content.decode()
    assert "Name a file of the node" in editor.post(address, {"node": node.pk, "path": ""}).content.decode()
    refused = sent(b"")
    assert refused.status_code == 422
    assert "This is not a whole archive of images." in refused.content.decode()
    assert sent(archive()).status_code == 303
    job = ImageTransfer.objects.get()
    assert (job.kind, job.path, job.requested_by) == ("load", "m.tar", "ed")
    entry = AuditEntry.objects.get(action="image.load")
    upload = ContextArchive.objects.get()
    assert (entry.target, entry.detail["sha256"], job.digest) == ("m.tar", upload.digest, f"sha256:{upload.digest}")


def test_an_archive_is_asked_for_and_audited(editor: Client, delivery: Delivery, node: Node) -> None:
    asked = {"node": node.pk, "image": "tiny:1"}
    assert editor.post(reverse("deployments:delivery_save", args=[delivery.pk]), asked).status_code == 303
    job = ImageTransfer.objects.get()
    assert (job.kind, job.image, job.state, job.requested_by) == ("save", "tiny:1", Job.State.PENDING, "ed")
    entry = AuditEntry.objects.get(action="image.save")
    assert (entry.target, entry.detail) == ("tiny:1", {"delivery": "wanted", "node": "gpu-01"})


def test_the_form_begins_with_the_built_image_and_the_registry_of_last_time(
    editor: Client, delivery: Delivery, node: Node
) -> None:
    def begins(**fields: str) -> None:
        shown = editor.get(page_of(delivery)).context["push_form"]
        assert {name: str(shown[name].value()) for name in fields} == fields

    # Where there is one node or one registry, nobody has to choose it.
    begins(node=str(node.pk), image="None", registry="None", path="wanted", tag="1")
    make_registry("other", address="127.0.0.1:5001")
    begins(registry="other")
    house = make_registry()
    begins(registry="None")
    make_build(delivery, node, tag="index.docker.io/team/wanted:4")
    begins(path="team/wanted", tag="4")
    make_build(delivery, node, tag="127.0.0.1:5000/berth/wanted:3")
    begins(node=str(node.pk), image="127.0.0.1:5000/berth/wanted:3", path="berth/wanted", tag="3")
    transfer(make_delivery("another"), node, registry=house)
    begins(registry="house", path="berth/wanted", tag="3")
    transfer(delivery, node, registry=house)
    begins(registry="house", path="team/tiny", tag="3", image="127.0.0.1:5000/berth/wanted:3")


def make_build(delivery: Delivery, node: Node, *, tag: str) -> None:
    ImageBuild.objects.create(
        delivery=delivery, node=node, tag=tag, state=Job.State.DONE, dockerfile="FROM scratch", requested_by="ed"
    )


def test_the_live_part_brings_the_stepper_along_and_stops_asking_at_the_end(
    editor: Client, delivery: Delivery, node: Node
) -> None:
    job = transfer(delivery, node, state=Job.State.RUNNING, digest="")
    going_on = editor.get(page_of(delivery), headers={"HX-Request": "true"})
    assert going_on.status_code == 200
    assert "every 2s" in going_on.content.decode()
    ImageTransfer.objects.filter(pk=job.pk).update(state=Job.State.FAILED, error="No.")
    ended = editor.get(page_of(delivery), headers={"HX-Request": "true"})
    assert ended.status_code == 286
    assert 'id="stepper" data-stepper hx-swap-oob="morph"' in ended.content.decode()
    assert "The push failed." in ended.content.decode()
