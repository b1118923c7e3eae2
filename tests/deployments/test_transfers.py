"""Pushes, saves and loads as jobs: by the real engine, to a real registry that wants a password."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
import pytest
from django.conf import settings as django_settings
from django.db.models.functions import Now
from django.urls import reverse
from pytest_django import Settings

from deployments import tasks
from deployments.actors import Actor
from deployments.deliveries.archives import MOST_UPLOAD_BYTES
from deployments.deliveries.pushes import step_state
from deployments.exceptions import ConflictError, FetchError, InvalidInputError, NotAllowedError
from deployments.models import AuditEntry, ContextArchive, Delivery, ImageTransfer, Job, Node
from deployments.progress import Progress
from deployments.registries.refusals import TransferError
from deployments.registries.stored import credentials_for
from deployments.runtimes.docker import DockerRuntime
from deployments.runtimes.docker.options import Reach
from deployments.services.image_builds import KEPT_FOR, forget_unused_archives
from deployments.services.registries import RegistryValues, check_registry, save_registry
from deployments.services.transfers import (
    cancel_transfer,
    pin_digest,
    request_load,
    request_load_upload,
    request_push,
    request_save,
)
from deployments.transfers import work
from deployments.transfers.layers import LayerProgress, LayerState
from deployments.transfers.looking import look_at_pushed
from deployments.transfers.work import run_transfer
from tests.deployments.editing import make_config, person, signed_in
from tests.deployments.pushing import HOST, SECRET, make_delivery, make_node, make_registry
from tests.deployments.test_archive_examining import add, archive
from tests.docker_engine import docker_client
from tests.docker_registry import MIB, PASSWORD, USER, Cut, Line, build_layers, registry

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("redis_server"),
    pytest.mark.xdist_group("docker-pull"),
]
LAYERS_MIB = (1, 6)
IMAGE = "berth-test/transfer-source:1"


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker_client()
    build_layers(client, IMAGE, mib=LAYERS_MIB)
    yield client
    for image in client.images.list(filters={"label": "berth-test-registry=1"}):
        for name in image.tags:
            if "team/" in name or name == IMAGE:
                client.images.remove(name, force=True)
    client.close()


@pytest.fixture(scope="module")
def port(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with registry(tmp_path_factory.mktemp("registry"), closed=True) as found:
        yield found


@pytest.fixture(autouse=True)
def _own_data(settings: Settings, tmp_path: Path) -> None:
    settings.BERTH_DATA_DIR = tmp_path
    settings.BERTH_SECRETS_KEY_FILE = tmp_path / "secrets.keys"


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "AGAIN_AFTER_S", (0.1, 0.1))


@pytest.fixture
def node() -> Node:
    return make_node()


def ask_push(node: Node, port: int, path: str, *, password: str = PASSWORD) -> ImageTransfer:
    make_registry(address=f"127.0.0.1:{port}", username=USER, password=password)
    return request_push(
        make_delivery(), node=node, image=IMAGE, image_id="", registry="house", path=path, tag="1", actor=HOST
    )


def state_of(job: ImageTransfer) -> str:
    return step_state(Delivery.objects.get(pk=job.delivery.pk)).state


def done(job: ImageTransfer) -> ImageTransfer:
    run_transfer(job.pk)
    return ImageTransfer.objects.select_related("delivery", "registry").get(pk=job.pk)


def test_a_push_ends_with_digest_size_and_layers_and_the_step_asks_the_registry(node: Node, port: int) -> None:
    job = done(ask_push(node, port, "team/whole"))
    assert (job.state, job.error) == (Job.State.DONE, "")
    assert job.digest.startswith("sha256:")
    assert (job.size_bytes or 0) >= sum(LAYERS_MIB) * MIB
    assert [layer["state"] for layer in job.layers] == [LayerState.PUSHED] * len(LAYERS_MIB)
    assert look_at_pushed() == 1
    assert state_of(job) == "done"
    assert look_at_pushed() == 0, "it is not asked all the time"


def test_a_digest_that_the_registry_lost_turns_the_step_red(node: Node, port: int) -> None:
    job = done(ask_push(node, port, "team/lost"))
    # The registry deletes nothing over HTTP unless it is told to at its start; another digest is as gone.
    ImageTransfer.objects.filter(pk=job.pk).update(digest="sha256:" + "0" * 64)
    look_at_pushed()
    assert state_of(job) == "failed"
    assert "not in the registry any more" in step_state(job.delivery).sentence
    page = signed_in("ed", "editor").get(reverse("deployments:delivery_push", args=[job.delivery.pk]))
    assert "is not in the registry any more" in page.content.decode()


def test_a_registry_that_falls_silent_leaves_the_step_unknown_and_never_gone(node: Node, port: int) -> None:
    job = done(ask_push(node, port, "team/silent"))
    assert job.registry is not None
    job.registry.address = "127.0.0.1:9"
    job.registry.save()
    ImageTransfer.objects.filter(pk=job.pk).update(repository="127.0.0.1:9/team/silent")
    look_at_pushed()
    assert state_of(job) == "stale"


def test_a_wrong_password_is_a_sentence_and_nowhere_to_be_read(
    node: Node, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    job = done(ask_push(node, port, "team/wrong", password=SECRET))
    assert (job.state, job.error_code, job.attempts) == (Job.State.FAILED, "wrong_password", 1)
    assert "does not accept this name and password" in job.error
    assert SECRET not in job.error + caplog.text
    assert state_of(job) == "failed"


def test_an_image_that_is_gone_is_a_sentence(node: Node, port: int) -> None:
    job = ask_push(node, port, "team/gone")
    ImageTransfer.objects.filter(pk=job.pk).update(image="berth-test/none:1")
    job = done(job)
    assert (job.state, job.error_code) == (Job.State.FAILED, "image_gone")
    assert "berth-test/none:1" in job.error


def test_a_push_that_breaks_off_in_the_middle_goes_on(node: Node, port: int) -> None:
    cut = Cut(port, after=3 * MIB, once=True)
    try:
        job = done(ask_push(node, cut.port, "team/cut"))
    finally:
        cut.close()
    assert (job.state, job.error) == (Job.State.DONE, "")
    assert cut.cuts == 1


def test_a_push_after_one_that_broke_off_sends_only_what_is_missing_and_says_so(
    node: Node, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Cut(port, after=3 * MIB)
    report = work._Layers.report

    def gives_up(layers: work._Layers, progress: Progress, found: Sequence[LayerProgress]) -> None:
        """The engine tries each layer five times, for a minute, before it says what this says at once."""
        report(layers, progress, found)
        if cut.cuts and any(each.state in (LayerState.PUSHED, LayerState.HERE) for each in found):
            raise TransferError.of("broke_off", said="unexpected EOF")

    try:
        with monkeypatch.context() as impatient:
            impatient.setattr(work._Layers, "report", gives_up)
            broken = done(ask_push(node, cut.port, "team/again"))
        assert (broken.state, broken.error_code, broken.attempts) == (Job.State.FAILED, "broke_off", 3)
        assert "push again to go on" in broken.error
        cut.mend()
        before = cut.passed_bytes
        wanted = {"image": IMAGE, "image_id": "", "registry": "house", "path": "team/again", "tag": "1"}
        again = done(request_push(broken.delivery, node=node, actor=HOST, **wanted))
    finally:
        cut.close()
    assert (again.state, again.error) == (Job.State.DONE, "")
    assert sorted(layer["state"] for layer in again.layers) == [LayerState.HERE, LayerState.PUSHED]
    assert cut.passed_bytes - before < (LAYERS_MIB[1] + 0.5) * MIB
    page = signed_in("ed", "editor").get(reverse("deployments:delivery_push", args=[broken.delivery.pk]))
    assert "1 layer of 2 was there already" in page.content.decode()


def test_a_registry_that_is_away_for_a_moment_is_tried_again(
    node: Node, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Cut(port, after=0)
    pauses: list[float] = []

    def mend(pause_s: float, watch: object) -> None:
        pauses.append(pause_s)
        away.mend()

    monkeypatch.setattr(work, "_wait", mend)
    try:
        job = done(ask_push(node, away.port, "team/away"))
    finally:
        away.close()
    assert (job.state, job.error, job.attempts) == (Job.State.DONE, "", 2)
    assert pauses == [0.1]


def test_a_line_that_stays_broken_is_given_up_after_a_few_attempts(node: Node, engine: docker.DockerClient) -> None:
    job = done(ask_push(node, 9, "team/never"))
    assert (job.state, job.error_code, job.attempts) == (Job.State.FAILED, "unreachable", 3)


def test_a_cancelled_push_ends_at_once(node: Node, port: int) -> None:
    silent = Line(port, rate=0)
    job = ask_push(node, silent.port, "team/cancelled")
    ImageTransfer.objects.filter(pk=job.pk).update(cancel_requested_at=Now())
    try:
        job = done(job)
    finally:
        silent.close()
    assert job.state == Job.State.CANCELLED
    assert job.digest == ""


def test_save_and_load_bring_the_image_to_another_engine(
    node: Node, engine: docker.DockerClient, settings: Settings, tmp_path: Path
) -> None:
    delivery = make_delivery()
    saved = done(request_save(delivery, node=node, image=IMAGE, image_id="", actor=HOST))
    assert (saved.state, saved.error) == (Job.State.DONE, "")
    assert Path(saved.path).stat().st_size == saved.size_bytes
    assert Path(saved.path).stat().st_mode & 0o077 == 0
    image_id = engine.images.get(IMAGE).id

    engine.images.remove(IMAGE, force=True)
    loaded = done(request_load(delivery, node=node, path=saved.path, actor=HOST))
    assert (loaded.state, loaded.error) == (Job.State.DONE, "")
    assert (loaded.image, loaded.image_id, loaded.digest) == (IMAGE, image_id, saved.digest)
    assert engine.images.get(IMAGE).id == image_id

    # The same file, carried elsewhere: only from below a folder that the node allows, and only whole.
    copy = tmp_path / "srv" / "copy.tar"
    copy.parent.mkdir()
    copy.write_bytes(Path(saved.path).read_bytes()[: 2 * MIB])
    with pytest.raises(InvalidInputError, match="BERTH_HOST_PATHS"):
        request_load(delivery, node=node, path=str(copy), actor=HOST)
    settings.BERTH_HOST_PATHS = (copy.parent,)
    cut = done(request_load(delivery, node=node, path=str(copy), actor=HOST))
    assert (cut.state, cut.error_code) == (Job.State.FAILED, "bad_archive")


def test_an_uploaded_archive_reaches_the_engine_of_any_node(node: Node, engine: docker.DockerClient) -> None:
    delivery = make_delivery()
    saved = done(request_save(delivery, node=node, image=IMAGE, image_id="", actor=HOST))
    data = gzip.compress(Path(saved.path).read_bytes(), compresslevel=1)
    image_id = engine.images.get(IMAGE).id
    engine.images.remove(IMAGE, force=True)
    asked = request_load_upload(delivery, node=node, data=data, name="C:\\up\\model.tar.gz", actor=HOST)
    assert asked.path == "model.tar.gz"
    loaded = done(asked)
    assert (loaded.state, loaded.error, loaded.image_id) == (Job.State.DONE, "", image_id)
    assert AuditEntry.objects.filter(action="image.load", target="model.tar.gz").exists()
    # What was uploaded is kept as long as a load waits for it, and not for long after.
    ContextArchive.objects.update(uploaded_at=Now() - 2 * KEPT_FOR)
    assert forget_unused_archives() == 1
    assert not ContextArchive.objects.exists()
    again = ImageTransfer.objects.create(
        kind="load", delivery=delivery, node=node, path="model.tar.gz", digest=asked.digest, requested_by="ed"
    )
    assert done(again).error_code == "no_upload"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a whole archive"),
        (b"no archive at all" * 100, "not a whole archive"),
        (archive(lambda tar: add(tar, "../x", b"")), "leads out of it"),
        (b"x" * (MOST_UPLOAD_BYTES + 1), "larger than 32.0 MB"),
    ],
    ids=["empty", "text", "outside", "large"],
)
def test_a_bad_upload_is_refused_at_its_field_and_nothing_is_kept(node: Node, data: bytes, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told) as refused:
        request_load_upload(make_delivery(), node=node, data=data, name="x.tar", actor=HOST)
    assert list(refused.value.fields) == ["archive"]
    assert not ContextArchive.objects.exists()
    assert not ImageTransfer.objects.exists()


def test_an_archive_takes_no_name_away_from_another_image(
    node: Node, engine: docker.DockerClient, settings: Settings, tmp_path: Path
) -> None:
    settings.BERTH_HOST_PATHS = (tmp_path,)
    (tmp_path / "evil.tar").write_bytes(archive(RepoTags=[IMAGE]))
    before = engine.images.get(IMAGE).id
    job = done(request_load(make_delivery(), node=node, path=str(tmp_path / "evil.tar"), actor=HOST))
    assert (job.state, job.error_code) == (Job.State.FAILED, "name_taken")
    assert engine.images.get(IMAGE).id == before


def test_a_link_out_of_the_allowed_folder_is_not_followed(node: Node, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "secret").write_bytes(archive())
    (tmp_path / "srv" / "link.tar").symlink_to(tmp_path / "secret")
    settings.BERTH_HOST_PATHS = (tmp_path / "srv",)
    with pytest.raises(InvalidInputError, match="not below an allowed folder"):
        request_load(make_delivery(), node=node, path=str(tmp_path / "srv" / "link.tar"), actor=HOST)


def test_the_digest_is_pinned_into_the_config_as_a_revision(node: Node, port: int) -> None:
    job = done(ask_push(node, port, "team/pinned"))
    with pytest.raises(ConflictError, match="no config yet"):
        pin_digest(job.pk, actor=HOST)
    job.delivery.config = make_config("wanted")
    job.delivery.save()
    revision = pin_digest(job.pk, actor=HOST)
    assert revision is not None
    assert revision.number == 2
    assert revision.values["image"] == f"127.0.0.1:{port}/team/pinned@{job.digest}"
    assert AuditEntry.objects.filter(action="config.save", target="wanted").exists()
    assert pin_digest(job.pk, actor=HOST) is None, "it may be repeated"


def test_another_node_pulls_what_is_pinned_with_the_registrys_password(
    node: Node, port: int, engine: docker.DockerClient, tmp_path: Path
) -> None:
    job = done(ask_push(node, port, "team/private"))
    engine.images.remove(f"{job.repository}:1")
    stranger = DockerRuntime(Reach(), logs=tmp_path)
    with pytest.raises(FetchError) as raised:
        stranger.ensure_image(job.pinned_image, report=lambda _: None, cancelled=lambda: False)
    assert raised.value.code == "registry_denied"
    runtime = DockerRuntime(Reach(), logs=tmp_path, credentials_for=credentials_for)
    runtime.ensure_image(job.pinned_image, report=lambda _: None, cancelled=lambda: False)
    assert runtime.has_image(job.pinned_image)
    engine.images.remove(job.pinned_image)


def test_operators_may_not_push_save_load_cancel_or_pin(node: Node) -> None:
    ann = Actor.person(person("ann", "operator"))
    make_registry()
    delivery = make_delivery()
    where = {"registry": "house", "path": "team/x", "tag": "1"}
    with pytest.raises(NotAllowedError, match="editor role"):
        request_push(delivery, node=node, image=IMAGE, image_id="", actor=ann, **where)
    with pytest.raises(NotAllowedError):
        request_save(delivery, node=node, image=IMAGE, image_id="", actor=ann)
    with pytest.raises(NotAllowedError):
        request_load(delivery, node=node, path="/srv/x", actor=ann)
    with pytest.raises(NotAllowedError):
        request_load_upload(delivery, node=node, data=archive(), name="x.tar", actor=ann)
    job = request_push(delivery, node=node, image=IMAGE, image_id="", actor=HOST, **where)
    with pytest.raises(NotAllowedError):
        cancel_transfer(job.pk, actor=ann)
    with pytest.raises(NotAllowedError):
        pin_digest(job.pk, actor=ann)
    with pytest.raises(ConflictError, match="already"):
        request_push(delivery, node=node, image=IMAGE, image_id="", actor=HOST, **where)
    assert cancel_transfer(job.pk, actor=HOST)
    assert list(AuditEntry.objects.filter(action__startswith="image.").values_list("action", flat=True)) == [
        "image.push_cancel",
        "image.push",
    ]


@pytest.mark.parametrize(
    ("path", "tag", "field"), [("Team/X", "1", "path"), ("../x", "1", "path"), ("x", "a b", "tag"), ("x", "", "tag")]
)
def test_a_name_that_no_registry_takes_is_refused_before_anything_starts(
    node: Node, path: str, tag: str, field: str
) -> None:
    make_registry()
    with pytest.raises(InvalidInputError) as raised:
        request_push(
            make_delivery(), node=node, image=IMAGE, image_id="", registry="house", path=path, tag=tag, actor=HOST
        )
    assert list(raised.value.fields) == [field]
    assert not ImageTransfer.objects.exists()


def test_the_check_says_what_the_registry_says(port: int) -> None:
    make_registry(address=f"127.0.0.1:{port}", username=USER, password=PASSWORD)
    assert check_registry("house", actor=HOST).check_code == ""
    for changes, code in (
        ({"password": "wrong"}, "wrong_password"),
        ({"username": "", "password": ""}, "wrong_password"),
        ({"address": "127.0.0.1:9"}, "unreachable"),
        ({"insecure": False}, "no_tls"),
    ):
        asked = {"address": f"127.0.0.1:{port}", "username": USER, "password": PASSWORD, "insecure": True, **changes}
        save_registry("house", RegistryValues(**asked), actor=HOST)  # type: ignore[arg-type]
        assert check_registry("house", actor=HOST).check_code == code, changes


def test_the_worker_knows_the_task_that_a_transfer_names() -> None:
    assert tasks.transfer_image.name == ImageTransfer.TASK
    assert django_settings.CELERY_BEAT_SCHEDULE["pushed images"]["task"] == tasks.look_at_pushed_images.name
